"""SR3D: 3D object detection in indoor point clouds.

>>> from sr3d_core import Detector
>>> detector = Detector.from_checkpoint("default")
>>> found = detector(xyz)  # (N, 3) metres, z up
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sr3d_core.detector import Detector
    from sr3d_core.memory.map_settings import ObjectMapSettings
    from sr3d_core.memory.object_map import ObjectMap
    from sr3d_core.memory.scene import SceneMemory
    from sr3d_core.memory.settings import MemorySettings
    from sr3d_core.structures import Boxes3D, Detections

__all__ = [
    "Boxes3D",
    "Detections",
    "Detector",
    "MemorySettings",
    "ObjectMap",
    "ObjectMapSettings",
    "SceneMemory",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: what is not needed is not loaded."""
    if name == "Detector":
        from sr3d_core.detector import Detector

        return Detector
    if name in ("Boxes3D", "Detections"):
        from sr3d_core import structures

        return getattr(structures, name)
    if name == "ObjectMap":
        from sr3d_core.memory.object_map import ObjectMap

        return ObjectMap
    if name == "ObjectMapSettings":
        from sr3d_core.memory.map_settings import ObjectMapSettings

        return ObjectMapSettings
    if name == "SceneMemory":
        from sr3d_core.memory.scene import SceneMemory

        return SceneMemory
    if name == "MemorySettings":
        from sr3d_core.memory.settings import MemorySettings

        return MemorySettings
    raise AttributeError(f"module 'sr3d_core' has no attribute {name!r}")
