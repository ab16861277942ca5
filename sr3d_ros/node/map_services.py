"""The services of what is remembered: the map of objects, and the scene; all answer at once.

~/find_objects  sr3d_ros/FindObjects   which objects are where
~/save_map      std_srvs/Trigger       write the map to `map.file`
~/load_map      std_srvs/Trigger       go on with the map in `map.file`
~/clear_map     std_srvs/Trigger       forget all objects
~/reset_scene   std_srvs/Trigger       forget the clouds that `memory.*` keeps
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from sr3d_ros.messages.found_objects import found_objects, query_of
from sr3d_ros.messages.parts import fill_header
from sr3d_ros.node.frames import FrameProcessor

_NO_MODEL = "the node is not configured; configure it first"
_NO_FILE = "map.file is empty: set it to the path of the map"


class MapServices:
    """Serves the map of the `FrameProcessor` that there is, if there is one."""

    def __init__(self, node: Node, processor: Callable[[], FrameProcessor | None]) -> None:
        from sr3d_ros.srv import FindObjects

        self._processor = processor
        self._log = node.get_logger()
        node.create_service(FindObjects, "~/find_objects", self._on_find)
        for name, work in (
            ("save_map", _save),
            ("load_map", _load),
            ("clear_map", _clear),
            ("reset_scene", _reset_scene),
        ):
            node.create_service(Trigger, f"~/{name}", self._answering(work))

    def _on_find(self, request: Any, response: Any) -> Any:
        processor = self._processor()
        if processor is None:
            response.message = _NO_MODEL
            return response
        try:
            objects, frame, newest_ns = processor.mapping.objects(query_of(request))
        except ValueError as error:
            response.message = str(error)
            return response
        fill_header(response.header, newest_ns, frame)
        response.objects = found_objects(objects, newest_ns)
        response.success, response.message = True, f"{len(objects)} objects"
        return response

    def _answering(self, work: Callable[[FrameProcessor], str]) -> Callable[[Any, Any], Any]:
        """A service that says what was done, or why it could not be."""

        def answer(_: Any, response: Any) -> Any:
            processor = self._processor()
            try:
                if processor is None:
                    raise ValueError(_NO_MODEL)
                response.message, response.success = work(processor), True
                self._log.info(response.message)
            except (ValueError, OSError) as error:
                response.message, response.success = str(error), False
                self._log.error(response.message)
            return response

        return answer


def _save(processor: FrameProcessor) -> str:
    path = _path(processor)
    return f"saved {processor.mapping.save(path)} objects to {path}"


def _load(processor: FrameProcessor) -> str:
    path = _path(processor)
    number = processor.mapping.load(path, processor.model.detector.classes)
    return f"loaded {number} objects of {path}"


def _clear(processor: FrameProcessor) -> str:
    return f"forgot {processor.mapping.clear()} objects"


def _reset_scene(processor: FrameProcessor) -> str:
    return f"forgot {processor.forget_scene()} points"


def _path(processor: FrameProcessor) -> str:
    if not processor.map_file:
        raise ValueError(_NO_FILE)
    return processor.map_file
