"""Whether the bytes of a recorded type are those of the installed one.

Bytes are published as they were recorded. Where a package changed a message since, subscribers
would read wrong numbers from them, and nobody would notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from itertools import zip_longest
from typing import Any

from sr3d_ros.bag.storage.channel import Channel, types_of

_IDL_NAMES = {
    **{"bool": "boolean", "float32": "float", "float64": "double"},
    **{"byte": "octet", "char": "uint8"},
}
"""What rclpy calls basic types."""
_OF_EMPTY = "structure_needs_at_least_one_member"
_INNER = re.compile(r"(\w+)/(\w+)")
_Field = tuple[str, str]  # its path in the message, its type as rclpy writes it


def installed_type(type_name: str) -> Any:
    """The class of a type such as "sensor_msgs/msg/Image"; None where it is not installed."""
    package, _, name = type_name.partition("/msg/")
    try:
        return getattr(import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def difference(channel: Channel, installed: Any) -> str:
    """The first field in which a recorded type is not the installed one; "" = none is known.

    Old recordings say nothing about types that are not of ROS itself.
    """
    try:
        store = types_of(channel)
        if channel.type_name not in store.fielddefs:
            return ""
        recorded = list(_recorded(store, channel.type_name))
    except Exception as error:  # of the reader of definitions
        return f"its definition cannot be understood ({error})"
    for ours, theirs in zip_longest(recorded, _installed(installed)):
        if ours != theirs:
            return f"recorded {_text(ours)}, installed {_text(theirs)}"
    return ""


def _text(field: _Field | None) -> str:
    return "no more fields" if field is None else f"{field[0]} {field[1]}"


def _recorded(store: Any, name: str, path: str = "") -> Iterator[_Field]:
    for field, (node, about) in store.fielddefs[name][1]:
        if field == _OF_EMPTY:
            continue
        kind = _kind(node, about)
        yield path + field, kind
        inner = _INNER.search(kind)
        if inner:
            yield from _recorded(store, f"{inner[1]}/msg/{inner[2]}", f"{path}{field}.")


def _kind(node: Any, about: Any) -> str:
    """A type of rosbags as rclpy writes it."""
    from rosbags.interfaces import Nodetype

    if node == Nodetype.NAME:
        return str(about).replace("/msg/", "/")
    if node == Nodetype.BASE:
        name, most = about
        return _IDL_NAMES.get(name, name) + (f"<{most}>" if most else "")
    element, count = about
    if node == Nodetype.ARRAY:
        return f"{_kind(*element)}[{count}]"
    return f"sequence<{_kind(*element)}, {count}>" if count else f"sequence<{_kind(*element)}>"


def _installed(kind: Any, path: str = "") -> Iterator[_Field]:
    for field, text in kind.get_fields_and_field_types().items():
        yield path + field, text
        inner = _INNER.search(text)
        if inner:
            nested = installed_type(f"{inner[1]}/msg/{inner[2]}")
            yield from _installed(nested, f"{path}{field}.")
