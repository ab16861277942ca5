"""What classes of public data sets are called there, by number and by name, and what here.

A class has one name everywhere in this package: lower case, underscores. ScanNet's numbers are
those of NYU-40; what most programs call its garbage bins, 39, is there all other furniture.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

SCANNET_BY_NYU40: dict[int, str] = {
    **{3: "cabinet", 4: "bed", 5: "chair", 6: "sofa", 7: "table", 8: "door", 9: "window"},
    **{10: "bookshelf", 11: "picture", 12: "counter", 14: "desk", 16: "curtain"},
    **{24: "refrigerator", 28: "shower_curtain", 33: "toilet", 34: "sink", 36: "bathtub"},
    39: "garbage_bin",
}
"""The 18 classes of ScanNet's detection benchmark, in their usual order."""

SCANNET = tuple(SCANNET_BY_NYU40.values())
SUNRGBD = (
    *("bed", "table", "sofa", "chair", "toilet", "desk", "dresser", "night_stand"),
    *("bookshelf", "bathtub"),
)
S3DIS = ("table", "chair", "sofa", "bookcase", "board")
ARKITSCENES = (
    *("cabinet", "refrigerator", "shelf", "stove", "bed", "sink", "washer", "toilet", "bathtub"),
    *("oven", "dishwasher", "fireplace", "stool", "chair", "table", "tv_monitor", "sofa"),
)
MULTISCAN = (
    *("door", "table", "chair", "cabinet", "window", "sofa", "microwave", "pillow", "tv_monitor"),
    *("curtain", "garbage_bin", "suitcase", "sink", "backpack", "bed", "refrigerator", "toilet"),
)

_FOREIGN = {
    **dict.fromkeys(("garbagebin", "trash_can", "trash_bin", "trashcan"), "garbage_bin"),
    **dict.fromkeys(("showercurtrain", "showercurtain", "shower_curtrain"), "shower_curtain"),
    **{"nightstand": "night_stand", "fridge": "refrigerator"},
}


def our_name(name: str) -> str:
    """What a class is called here: `Night Stand`, `nightstand` and `night_stand` are one."""
    return known_as(name) or _plain(name)


def known_as(name: str) -> str | None:
    """What a class is called here that goes by another word elsewhere; None for all others."""
    return _FOREIGN.get(_plain(name))


ClassNames = Annotated[
    tuple[str, ...], AfterValidator(lambda names: tuple(our_name(name) for name in names))
]
"""Classes that a configuration or a command asks for, however they are spelled there."""


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())
