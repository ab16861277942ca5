"""Do sr3d_ros and sr3d_core belong together? On a robot colcon installs the one, pip the other.

Asked before anything else is imported: with another version, imports may fail. So this file needs
the standard library alone.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

REMEDY = (
    f"in the folder of the workspace: {sys.executable} -m pip install ./src/sr3d; "
    "rm -r build/sr3d_ros install/sr3d_ros; colcon build --packages-select sr3d_ros"
)


def installed() -> tuple[str, bool]:
    """Version and folder of both packages, and whether they are there in one version."""
    versions, texts = [], []
    for package in ("sr3d_ros", "sr3d_core"):
        try:
            module = import_module(package)
        except ModuleNotFoundError:
            return f"{package} is not installed for {sys.executable}", False
        versions.append(getattr(module, "__version__", "of unknown version"))
        texts.append(f"{package} {versions[-1]} in {Path(str(module.__file__)).parent}")
    return ", ".join(texts), len(set(versions)) == 1


def require_one_version() -> None:
    """End the program with one line where the two do not belong together."""
    text, is_one_version = installed()
    if not is_one_version:
        sys.exit(f"cannot start: {text}; {REMEDY}")
