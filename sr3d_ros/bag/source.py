"""Which topics of a recording to detect in: clouds, depth images, or color images alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from sr3d_ros.assembler import (
    CAMERA_INFO,
    COLOR,
    DEPTH,
    DEPTH_TYPES,
    POINTS,
    FrameAssembler,
    type_of,
)
from sr3d_ros.bag.alternatives import advice_on_sources, first_message
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import Bag, Source
from sr3d_ros.parameters.file import NODE
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.compressed_depth import TRANSPORT
from sr3d_ros.sensors.depth_image import has_depth
from sr3d_ros.sensors.organized_color import holds_image
from sr3d_ros.sensors.ros_names import (
    CLOUD_TYPE,
    COMPRESSED_IMAGE_TYPE,
    IMAGE_TYPE,
    IMU_TYPE,
    INFO_TYPE,
    full_name,
)

_NUM_LOOKED_AT = 10
"""Clouds that are asked whether they hold an image: the first ones may be empty."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics that somebody asked for, None = choose; and the node whose work is done."""

    topic: str | None = None
    """Point clouds or depth images; chosen where the bag has one topic of clouds."""
    info: str | None = None
    """CameraInfo of the depth images, or of color images alone; chosen: the one beside them."""
    color: str | None = None
    """Color images for the depth images, chosen: none; or alone, chosen: the only ones, else the
    colors of organized clouds, whose topic may be named too."""
    imu: str | None = None
    """IMU, where it says which way is up; chosen where the bag has one."""
    tf_namespace: str | None = None
    """Of the transforms; chosen: none, or the only one that there is."""
    node: str = NODE
    """The detector's name, with its namespace: what relative names of topics begin with."""


def kind_of(
    bag: Bag, wanted: Topics, parameters: Parameters, *, has_camera: bool = False
) -> Parameters:
    """Parameters with the kind of input that the topic asked for has.

    `has_camera`: who asks can fall back to color images, so that `input.kind` auto stays.
    """
    if parameters.kind == "rgb":
        return _of_images(bag, wanted, parameters)
    is_auto = parameters.kind == "auto" and has_camera
    if wanted.topic is None and not is_auto:
        _require_one_input(bag, parameters)
        return parameters
    values: dict[str, object] = {}
    if wanted.topic is not None:
        found = [name for name, kind in DEPTH_TYPES.items() if wanted.topic in _names(bag, kind)]
        main = "depth" if found else "cloud"
        values["input.preferred" if is_auto else "input.kind"] = main
        for name in found:
            values["input.depth_transport"] = name
    parameters = parameters.with_values(values)
    return _of_images(bag, replace(wanted, topic=None), parameters) if is_auto else parameters


@dataclass(frozen=True, slots=True)
class ColorTopics:
    """Where color images come from."""

    image: str
    info: str
    of_clouds: bool = False
    """Whether they are those of organized clouds, of which `image` is then the topic."""

    @property
    def is_rectified(self) -> bool:
        """Whether images are undistorted already: image_proc calls their topics image_rect..."""
        if self.of_clouds:
            return True
        parts = self.image.split("/")
        return any(part.startswith("image_rect") for part in parts)


def color_topics(bag: Bag, color: str | None, info: str | None) -> ColorTopics:
    """The topics of color images that are meant; raises ReplayError that lists what there is."""
    images = [*_names(bag, IMAGE_TYPE), *_names(bag, COMPRESSED_IMAGE_TYPE)]
    infos = _names(bag, INFO_TYPE)
    if color is None:
        # Of a raw topic and its compressed one, the raw one is meant.
        plain = _color_images(bag)
        candidates = [name for name in plain if name.removesuffix("/compressed") == name] or plain
        if len(candidates) != 1:
            raise ReplayError(
                f"{bag.path}: {len(candidates)} topics of color images, expected one: "
                f"{', '.join(candidates) or 'none'}; "
                + ("name it with --color" if candidates else "record the camera's image as well")
            )
        color = candidates[0]
    if color not in images:
        raise ReplayError(
            f"{bag.path}: --color {color} is not among the topics of images with messages: "
            f"{', '.join(images) or 'none'}"
        )
    beside = color.removesuffix("/compressed").rpartition("/")[0] + "/camera_info"
    info = info or (beside if beside in infos or len(infos) != 1 else infos[0])
    if info not in infos:
        raise ReplayError(
            f"{bag.path}: no CameraInfo of {color} on {info}; expected "
            + (
                f"one of {', '.join(infos)}; name it with --camera-info"
                if infos
                else "its intrinsics: there is no CameraInfo in it; record that topic as well"
            )
        )
    return ColorTopics(color, info)


def color_topics_of(bag: Bag, clouds: str, color: str | None, info: str | None) -> ColorTopics:
    """As `color_topics`; where nothing is asked for and no image is there, those of clouds.

    `color` may be the topic of the clouds. Raises ReplayError.
    """
    if color is not None and color in _names(bag, CLOUD_TYPE):
        if color != clouds:
            raise ReplayError(
                f"{bag.path}: --color {color} are clouds, and frames are those of {clouds}; "
                f"expected the same: --topic {color}, or --color with a topic of images"
            )
        if info is not None:
            raise ReplayError(
                f"{bag.path}: --camera-info {info} with --color {color}, which are clouds: their "
                "camera is found by their points; leave it out"
            )
        return ColorTopics(clouds, "", of_clouds=True)
    is_chosen = color is None and info is None and not _color_images(bag)
    if is_chosen and clouds in _clouds_with_images(bag):
        return ColorTopics(clouds, "", of_clouds=True)
    return color_topics(bag, color, info)


def _alone(bag: Bag, wanted: Topics) -> ColorTopics:
    """The color images that are detected in without depth: where there are none, of clouds."""
    if wanted.color in _names(bag, CLOUD_TYPE):
        return color_topics_of(bag, str(wanted.color), wanted.color, wanted.info)
    held = _clouds_with_images(bag) if wanted.color is None and not _color_images(bag) else []
    if len(held) > 1:
        raise ReplayError(
            f"{bag.path}: no topic of color images, and {len(held)} of organized clouds with "
            f"colors, expected one: {', '.join(held)}; name it with --color"
        )
    return color_topics_of(bag, held[0] if held else "", wanted.color, wanted.info)


def _beside_depth(bag: Bag, wanted: Topics) -> ColorTopics:
    """The color images that step in for depth."""
    if wanted.color in _names(bag, CLOUD_TYPE):
        raise ReplayError(
            f"{bag.path}: --color {wanted.color} are clouds, whose colors are gone once depth has "
            "died; expected a topic of images, or --input rgb"
        )
    return color_topics(bag, wanted.color, wanted.info)


def _color_images(bag: Bag) -> list[str]:
    """The topics of images, raw or compressed, that are not of depth."""
    return [
        name
        for name in (*_names(bag, IMAGE_TYPE), *_names(bag, COMPRESSED_IMAGE_TYPE))
        if "depth" not in name.lower() or not has_depth(first_message(bag, name))
    ]


def _clouds_with_images(bag: Bag) -> list[str]:
    """The topics of clouds of which one of the first is organized and has colors."""
    return [
        name
        for name in _names(bag, CLOUD_TYPE)
        if any(holds_image(cloud) for _, _, cloud in islice(bag.messages(name), _NUM_LOOKED_AT))
    ]


def _of_images(bag: Bag, wanted: Topics, parameters: Parameters) -> Parameters:
    """Parameters for the color images that are meant, with how they are sent and seen."""
    if wanted.topic is not None:
        raise ReplayError(
            f"{bag.path}: --topic {wanted.topic} is of clouds or depth images, and color images "
            "are detected in (input.kind rgb); name theirs with --color, or say --input cloud"
        )
    topics = _alone(bag, wanted) if parameters.kind == "rgb" else _beside_depth(bag, wanted)
    is_plain = topics.of_clouds or topics.image in _names(bag, IMAGE_TYPE)
    values = {"input.color_transport": "raw" if is_plain else "compressed"}
    rectified = {"input.rectified": True} if topics.is_rectified else {}
    return parameters.with_values({**values, **rectified})


def _require_one_input(bag: Bag, parameters: Parameters) -> None:
    if parameters.kind == "auto":
        raise ReplayError(
            f"{bag.path}: input.kind is auto, which `sr3d bag detect` alone does as the robot; "
            "say --input cloud, depth or rgb"
        )


def choose_source(bag: Bag, wanted: Topics, parameters: Parameters) -> Source:
    """The topics to use; raises `ReplayError` that lists what the bag has.

    Further clouds (`input.extra_topics`) are those of the parameters.
    """
    imu = _topic(bag, IMU_TYPE, wanted.imu, "--imu") if parameters.up == "imu" else ""
    if parameters.kind == "rgb":
        topics = _alone(bag, wanted)
        if topics.of_clouds:
            return Source({COLOR: topics.image}, imu, has_cloud_images=True)
        return Source({COLOR: topics.image, CAMERA_INFO: topics.info}, imu)
    if parameters.kind == "auto":
        return _with_camera(bag, wanted, parameters)
    if parameters.kind == "depth":
        return Source(_depth_topics(bag, wanted, type_of(DEPTH, parameters)), imu)
    for option, topic in (("--camera-info", wanted.info), ("--color", wanted.color)):
        if topic is not None:
            raise ReplayError(
                f"{bag.path}: {option} {topic} belongs to a depth image, but a point cloud is "
                "detected in: name the depth image with --topic, or leave this out"
            )
    inputs = FrameAssembler(parameters).topics
    inputs[POINTS] = cloud_topic(bag, wanted.topic)
    for name in inputs:
        if name != POINTS:
            extra = full_name(inputs[name], wanted.node)
            inputs[name] = _topic(bag, CLOUD_TYPE, extra, "input.extra_topics")
    return Source(inputs, imu)


def _with_camera(bag: Bag, wanted: Topics, parameters: Parameters) -> Source:
    """What `input.preferred` says, and color images to step in; both with one CameraInfo."""
    is_depth = parameters.preferred == "depth"
    color = _beside_depth(bag, wanted)
    kept = wanted if is_depth else replace(wanted, info=None, color=None)
    main = choose_source(bag, kept, replace(parameters, kind=parameters.preferred))
    # As on the node, whose ~/input/camera_info is of depth images where there are some.
    beside = {} if is_depth else {CAMERA_INFO: color.info}
    return Source({**main.inputs, COLOR: color.image, **beside}, main.imu)


def _depth_topics(bag: Bag, wanted: Topics, kind: str) -> dict[str, str]:
    depth = _topic(bag, kind, wanted.topic, "--topic")
    # Of which the compressed one is a part.
    image = depth.removesuffix(f"/{TRANSPORT}").removesuffix("/compressed")
    beside = image.rpartition("/")[0] + "/camera_info"
    info = _topic(bag, INFO_TYPE, wanted.info or beside, "--camera-info")
    topics = {DEPTH: depth, CAMERA_INFO: info}
    if wanted.color:
        is_plain = wanted.color in _names(bag, IMAGE_TYPE)
        kind = IMAGE_TYPE if is_plain else COMPRESSED_IMAGE_TYPE
        topics[COLOR] = _topic(bag, kind, wanted.color, "--color")
    return topics


def cloud_topic(bag: Bag, wanted: str | None) -> str:
    """The point cloud topic `wanted`, or the only one that has messages."""
    clouds = [t for t in bag.topics if t.type_name == CLOUD_TYPE and t.num_messages > 0]
    names = [topic.topic for topic in clouds]
    if wanted is not None and wanted in names:
        return wanted
    listing = ", ".join(f"{t.topic} ({t.num_messages} clouds)" for t in clouds) or "none"
    instead = advice_on_sources(bag)
    if wanted is not None:
        kind = next((t.type_name for t in bag.topics if t.topic == wanted), None)
        found = f"holds {kind}" if kind else "is not in this bag"
        raise ReplayError(
            f"{bag.path}: topic '{wanted}' {found}, expected a PointCloud2 topic with "
            f"messages; point cloud topics: {listing}{'; ' * bool(instead)}{instead}"
        )
    if len(names) != 1:
        advice = "choose one with --topic" if names else instead or "record a PointCloud2 topic"
        raise ReplayError(
            f"{bag.path}: {len(names)} point cloud topics, expected one: {listing}; {advice}"
        )
    return names[0]


def _names(bag: Bag, kind: str) -> Sequence[str]:
    return [t.topic for t in bag.topics if t.type_name == kind and t.num_messages > 0]


def _topic(bag: Bag, kind: str, wanted: str | None, option: str) -> str:
    """The topic of a type that was asked for, or the only one."""
    names = _names(bag, kind)
    if wanted in names or (wanted is None and len(names) == 1):
        return wanted or names[0]
    found = f"'{wanted}' is not among" if wanted else "expected one of"
    raise ReplayError(
        f"{bag.path}: {option}: {found} the topics of {kind} with messages: "
        f"{', '.join(names) or 'none'}; name one with {option}"
    )
