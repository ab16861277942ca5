"""A study file whose variants are each trained with several sizes of the labelled data.

`sizes` names settings that all variants are trained with in turn: `scratch` and `dos` at `"5"` and
`"10"` become `scratch_5`, `dos_5`, `scratch_10` and `dos_10`, and those of one size are compared
with each other.
"""

from __future__ import annotations

from typing import Any

from sr3d_core.study.processes import StudyError


def crossed(tree: dict[str, Any]) -> dict[str, Any]:
    """The same study with a variant for each variant and size; as it is where it has no sizes."""
    if "sizes" not in tree:
        return tree
    rest = dict(tree)
    sizes = _named_settings("sizes", rest.pop("sizes"))
    variants = _named_settings("variants", rest.get("variants"))
    first = next(iter(variants))
    pairs = [(name, size) for size in sizes for name in variants]
    rest["variants"] = {
        f"{name}_{size}": {
            **variants[name],
            **sizes[size],
            **_searched(rest, name, variants[name]),
        }
        for name, size in pairs
    }
    rest["baselines"] = {f"{name}_{size}": f"{first}_{size}" for name, size in pairs}
    if "seeds_of" in rest:
        rest["seeds_of"] = {
            f"{name}_{size}": num for name, num in rest["seeds_of"].items() for size in sizes
        }
    if "against" in rest:
        rest["against"] = {
            f"{name}_{size}": [f"{other}_{size}" for other in others]
            for name, others in rest["against"].items()
            for size in sizes
        }
    return rest


def _named_settings(key: str, found: Any) -> dict[str, dict[str, Any]]:
    if isinstance(found, dict) and found and all(isinstance(v, dict) for v in found.values()):
        return {str(name): own for name, own in found.items()}
    raise StudyError(f"{key}: expected names with settings below each, found {found!r}")


def _searched(tree: dict[str, Any], name: str, own: dict[str, Any]) -> dict[str, Any]:
    """The variant whose search a variant's settings are from: of one size, for all sizes."""
    search = tree.get("search")
    if not isinstance(search, dict):
        return {}
    return {"searched_as": f"{own.get('searched_as', name)}_{search.get('size')}"}
