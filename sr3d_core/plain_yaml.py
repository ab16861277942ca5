"""YAML files as plain values: no objects, and no key twice, as the second would silently win."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sr3d_core.plain_text import read_text


class YamlError(ValueError):
    """A file that cannot be read, or is no YAML; the text names it."""


class _UniqueKeys(yaml.SafeLoader):
    """Plain values only, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the base class does it, after looking for repeated keys."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, expected: str) -> Any:
    """What a file holds, None where it is empty; raises `YamlError` with what was expected."""
    try:
        return yaml.load(read_text(path), Loader=_UniqueKeys)
    except OSError as error:
        raise YamlError(
            f"{path}: cannot be read ({error.strerror}); expected {expected}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())
        raise YamlError(f"{path}: not YAML ({words}); expected {expected}") from error


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a tree with their dotted keys."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
