"""What is wrong with a tree of values that people wrote, in words."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sr3d_core.model.network import Architecture

_LONGEST = 120  # of what was found, characters


def sentences(error: ValidationError, kind: type[Any]) -> str:
    """Every mistake of a tree of values for a dataclass, with the key it was found at."""
    return "; ".join(_sentence(each, kind) for each in error.errors())


def _sentence(mistake: Any, kind: type[Any]) -> str:
    if "error" in mistake.get("ctx", {}):  # raised by the part itself, which names its key
        return str(mistake["ctx"]["error"])
    where = ".".join(map(str, mistake["loc"])) or "top level"
    if mistake["type"] == "unexpected_keyword_argument":
        known = _known_keys(kind)
        alike = difflib.get_close_matches(str(mistake["loc"][-1]), known, n=2, cutoff=0.4)
        return f"{where}: unknown key; did you mean {' or '.join(alike) or 'another file'}?"
    if mistake["type"] == "union_tag_not_found":
        return f"{where}: has no {mistake['ctx']['discriminator']}, expected the one of its kind"
    if mistake["type"] == "union_tag_invalid":
        key, found = (mistake["ctx"][name].strip("'") for name in ("discriminator", "tag"))
        return f"{where}.{key} is {found}, expected one of {mistake['ctx']['expected_tags']}"
    return f"{where}: {mistake['msg']}, found {_in_short(mistake['input'])}"


def _in_short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _known_keys(kind: type[Any]) -> list[str]:
    """Every key that such a tree may have, at any depth."""
    parts = TypeAdapter(kind).json_schema().get("$defs", {}).values()
    keys = {key for part in parts for key in part.get("properties", {})}
    keys |= {entry.name for entry in fields(kind)} | {entry.name for entry in fields(Architecture)}
    return sorted(keys)
