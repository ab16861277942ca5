"""Packages that single commands need, and the extra of pyproject.toml that brings each."""

from __future__ import annotations

EXTRAS = {
    "matplotlib": "viz",
    "accelerate": "train",
    "tensorboard": "train",
    "rosbags": "bag",
    "PIL": "bag",
    "ray": "ray",
    "av": "video",
    "rerun": "rerun",
    "open3d": "open3d",
    "bpy": "infinigen",
    "trimesh": "furniture",
    "timm": "camera",
}


_DISTRIBUTIONS = {"PIL": "pillow", "rerun": "rerun-sdk"}
"""What pip calls those that are imported by another name."""


def distribution_of(package: str) -> str:
    """What pip calls a package of the list."""
    return _DISTRIBUTIONS.get(package, package)


def how_to_install(package: str) -> str:
    """The command that installs a package of the list."""
    return f"in sr3d's folder: pip install '.[{EXTRAS[package]}]'"
