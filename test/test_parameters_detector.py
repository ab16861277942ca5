"""Which boxes are reported: per-class rules act before boxes suppress each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sr3d_core.checkpoint import Manifest, save_checkpoint
from sr3d_core.detector import Postprocess
from sr3d_core.model.camera_network import CameraArchitecture, CameraSR3D
from sr3d_core.model.network import LITE, SR3D
from sr3d_core.structures import Boxes3D, Detections, Predictions
from sr3d_ros.parameters.detector import (
    general_threshold,
    load_camera,
    load_detector,
    postprocess_for,
    weights_of,
)
from sr3d_ros.parameters.record import Parameters

CLASSES = ("chair", "table", "desk")


def predictions(*rows: tuple[float, tuple[float, float, float]]) -> Predictions:
    """Unit cubes at x, each with a score for every class."""
    boxes = Boxes3D.from_array(torch.tensor([[x, 0, 0, 1, 1, 1, 0] for x, _ in rows]))
    scores = torch.tensor([scores for _, scores in rows])
    zeros = torch.zeros(len(rows), dtype=torch.int64)
    return Predictions(boxes.center, boxes, scores.logit(), zeros, zeros)


def names(found: Detections) -> list[str]:
    return [CLASSES[label] for label in found.labels.tolist()]


DESK_OR_TABLE = predictions((0.0, (0.01, 0.5, 0.8)), (3.0, (0.4, 0.02, 0.02)))


def reported(values: dict[str, object], of: Predictions = DESK_OR_TABLE) -> list[str]:
    return names(postprocess_for(Parameters.from_values(values), CLASSES)(of))


def test_without_rules_an_object_is_reported_once_under_its_best_class() -> None:
    assert reported({}) == ["desk", "chair"]


def test_a_disabled_class_does_not_hide_another() -> None:
    assert reported({"classes.desk.enabled": False}) == ["table", "chair"]


def test_a_class_may_ask_for_more_than_the_others() -> None:
    assert reported({"classes.desk.score_threshold": 0.9}) == ["table", "chair"]


def test_a_class_may_ask_for_less_than_the_others() -> None:
    given = {"output.score_threshold": 0.7, "classes.chair.score_threshold": 0.3}
    assert reported(given) == ["desk", "chair"]


def test_a_class_threshold_of_zero_is_the_general_one() -> None:
    given = {"output.score_threshold": 0.7, "classes.chair.score_threshold": 0.0}
    assert reported(given) == ["desk"]


def test_all_classes_disabled_finds_nothing() -> None:
    given = {f"classes.{name}.enabled": False for name in CLASSES}
    assert reported({**given, "output.score_threshold": 0.0}) == []


def test_at_most_so_many_detections_are_reported() -> None:
    assert reported({"output.max_detections": 1}) == ["desk"]


def test_overlap_decides_when_two_boxes_are_one_object() -> None:
    apart = predictions((0.0, (0.8, 0.1, 0.1)), (0.5, (0.7, 0.1, 0.1)))  # IoU 1/3
    assert len(reported({"output.nms_iou": 0.3}, apart)) == 1
    assert len(reported({"output.nms_iou": 0.4}, apart)) == 2


def test_what_is_said_about_classes_that_the_model_lacks_has_no_effect() -> None:
    given = {"classes.lamp.enabled": False, "classes.chair.score_threshold": 0.5}
    chosen = postprocess_for(Parameters.from_values(given), ("bed", "chair", "desk"))
    assert chosen.class_thresholds == (0.3, 0.5, 0.3)


@pytest.mark.parametrize(("given", "limit"), [(0, None), (7, 7)])
def test_no_limit_of_detections_is_zero(given: int, limit: int | None) -> None:
    parameters = Parameters.from_values({"output.max_detections": given})
    assert postprocess_for(parameters, ("bed",)).max_detections == limit


def test_a_negative_class_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"postprocess\.class_thresholds"):
        Postprocess(class_thresholds=(0.3, -1.0))


def test_refinement_is_on_until_a_parameter_says_otherwise() -> None:
    assert postprocess_for(Parameters(), CLASSES).refine
    off = Parameters.from_values({"output.refine": False})
    assert not postprocess_for(off, CLASSES).refine


def test_boxes_of_images_have_a_threshold_of_their_own_and_rules_of_classes_before_it() -> None:
    given = {"output.rgb_score_threshold": 0.6, "classes.table.score_threshold": 0.1}
    parameters = Parameters.from_values(given)
    of_images = postprocess_for(parameters, CLASSES, of_images=True)
    assert of_images.class_thresholds == (0.6, 0.1, 0.6)
    assert postprocess_for(parameters, CLASSES).class_thresholds == (0.3, 0.1, 0.3)
    assert general_threshold(parameters) == 0.3
    assert general_threshold(parameters.with_values({"input.kind": "rgb"})) == 0.6


# --- loading ------------------------------------------------------------------------------------

LAYERS = {"widths": (8, 8, 8, 8), "depths": (1, 1, 1, 1), "neck_channels": 8}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Untrained weights of clouds, of images with the same classes, and with others."""
    folder, small = tmp_path_factory.mktemp("weights"), replace(LITE, num_classes=3, **LAYERS)
    camera = CameraArchitecture(size=(64, 48), channels=8)
    of_clouds = Manifest(architecture=small, classes=CLASSES)
    made = {
        "clouds": (SR3D(small), of_clouds),
        "images": (CameraSR3D(small, camera), replace(of_clouds, camera=camera)),
        "others": (
            CameraSR3D(small, camera),
            replace(of_clouds, camera=camera, classes=("bed", *CLASSES[1:])),
        ),
    }
    for name, (network, manifest) in made.items():
        save_checkpoint(folder / name, network, manifest)
    return {name: str(folder / name) for name in made}


def test_the_kind_of_input_says_which_weights_are_loaded(files: dict[str, str]) -> None:
    both = Parameters(weights=files["clouds"], camera_weights=files["images"])
    for kind, of_images in (("cloud", False), ("depth", False), ("auto", False), ("rgb", True)):
        parameters = both.with_values({"input.kind": kind})
        detector = load_detector(parameters)
        assert detector.takes_images == of_images
        assert weights_of(parameters) == files["images" if of_images else "clouds"]
        camera = load_camera(parameters, detector.classes, load_detector)
        assert (camera is not None) == (kind == "auto")
        assert camera is None or camera.takes_images


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"weights": "images"}, r"model.weights .*of color images, expected those of clouds"),
        ({"kind": "rgb", "camera_weights": "clouds"}, r"model.camera_weights .*of clouds, exp"),
        ({"kind": "rgb", "camera_weights": "none"}, r"none.*set model.camera_weights to weights"),
    ],
)
def test_weights_for_another_kind_of_input_are_refused_with_what_to_set(
    given: dict[str, str], text: str, files: dict[str, str]
) -> None:
    named = {name: files.get(value, value) for name, value in given.items()}
    with pytest.raises(ValueError, match=text):
        load_detector(Parameters(**named))  # type: ignore[arg-type]


def test_two_detectors_have_the_same_classes_or_are_refused(files: dict[str, str]) -> None:
    parameters = Parameters(kind="auto", weights=files["clouds"], camera_weights=files["others"])
    with pytest.raises(ValueError, match=r"knows bed, table, desk, .*expected the same classes"):
        load_camera(parameters, load_detector(parameters).classes, load_detector)
