"""Covariances in messages: axes, order, and what zeros mean."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sample_boxes import CLASSES, OPTICAL_FROM_LEVEL, TWO, found

from sr3d_core.checkpoint import ClassSpread
from sr3d_core.structures import Detections
from sr3d_ros.messages.covariance import pose_covariances

CHAIR = {"chair": ClassSpread(center_m=(0.1, 0.2, 0.3), yaw_rad=0.4, num_boxes=50)}


def covariance_of(yaw: float, output_from_gravity: np.ndarray) -> np.ndarray:
    box = found((0.5, 0, [1, 2, 3, 1, 1, 1, yaw]))
    return pose_covariances(box, CLASSES, CHAIR, output_from_gravity)[0]


def test_a_box_along_the_axes_has_its_spread_on_the_diagonal() -> None:
    expected = np.diag([0.01, 0.04, 0.09, 0.0, 0.0, 0.16])
    np.testing.assert_allclose(covariance_of(0.0, np.eye(4)), expected, atol=1e-12)


def test_a_quarter_turn_exchanges_x_and_y() -> None:
    diagonal = np.diag(covariance_of(math.pi / 2, np.eye(4)))
    np.testing.assert_allclose(diagonal, [0.04, 0.01, 0.09, 0, 0, 0.16], atol=1e-8)


def test_in_an_optical_frame_the_height_is_y_and_the_yaw_turns_about_y() -> None:
    diagonal = np.diag(covariance_of(0.0, OPTICAL_FROM_LEVEL))
    np.testing.assert_allclose(diagonal, [0.04, 0.09, 0.01, 0, 0.16, 0], atol=1e-12)


def test_samples_drawn_in_the_box_have_the_covariance_that_is_sent() -> None:
    rng = np.random.default_rng(0)
    errors = rng.normal(0, (0.1, 0.2, 0.3), (200_000, 3))
    cosine, sine = math.cos(0.7), math.sin(0.7)
    turned = errors @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    placed = turned @ OPTICAL_FROM_LEVEL[:3, :3].T
    sent = covariance_of(0.7, OPTICAL_FROM_LEVEL)
    np.testing.assert_allclose(np.cov(placed.T), sent[:3, :3], atol=1e-3)


def test_a_class_of_unknown_spread_has_zeros() -> None:
    both = pose_covariances(TWO, CLASSES, CHAIR, np.eye(4))
    assert both[0].any()
    assert not both[1].any()


@pytest.mark.parametrize("yaw", [-3.0, 0.3, 2.0])
def test_covariances_are_symmetric_and_not_negative(yaw: float) -> None:
    covariance = covariance_of(yaw, OPTICAL_FROM_LEVEL)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-15)
    assert np.linalg.eigvalsh(covariance).min() > -1e-12


def test_no_detections_have_no_covariances() -> None:
    assert pose_covariances(Detections.empty(), CLASSES, CHAIR, np.eye(4)).shape == (0, 6, 6)


def test_what_a_track_grew_by_is_added_to_its_centre_in_every_direction() -> None:
    both, added = pose_covariances(TWO, CLASSES, CHAIR, OPTICAL_FROM_LEVEL), np.array([0.25, 1.0])
    more = pose_covariances(TWO, CLASSES, CHAIR, OPTICAL_FROM_LEVEL, added) - both
    np.testing.assert_allclose(more[0], np.diag([0.25, 0.25, 0.25, 0, 0, 0]), atol=1e-12)
    assert not more[1].any()  # what is unknown stays unknown


def test_a_covariance_is_the_same_whichever_side_of_a_box_is_written_first() -> None:
    """Some networks write either side first, and a refined box has the shorter one first."""
    short_first = found((0.5, 0, [1, 2, 3, 0.2, 1, 2, 0.3]))
    long_first = found((0.5, 0, [1, 2, 3, 1, 0.2, 2, 0.3 + math.pi / 2]))
    sent = [
        pose_covariances(each, CLASSES, CHAIR, OPTICAL_FROM_LEVEL)
        for each in (short_first, long_first)
    ]
    np.testing.assert_allclose(sent[1], sent[0], atol=1e-7)


def seen_by_camera(std_m: float, row: int = 0) -> Detections:
    """A chair (0) or a night stand (1) at (3, 4, 1), of which an image says how deep it is."""
    box = found((0.5, row, [3, 4, 1, 0.5, 0.5, 0.5, 0.0]))
    return replace(box, depth_std_m=torch.tensor([std_m]))


CAMERA_AT = np.array([0.0, 0.0, 1.0])


def test_a_box_of_an_image_errs_along_the_line_of_sight_besides() -> None:
    """The ray is (0.6, 0.8, 0), and 0.5^2 of it [[.09, .12], [.12, .16]]; the class adds the
    squares of 0.1, 0.2, 0.3."""
    seen = seen_by_camera(0.5)
    sent = pose_covariances(seen, CLASSES, CHAIR, np.eye(4), camera_at=CAMERA_AT)[0]
    expected = [[0.10, 0.12, 0.0], [0.12, 0.20, 0.0], [0.0, 0.0, 0.09]]
    np.testing.assert_allclose(sent[:3, :3], expected, atol=1e-9)
    np.testing.assert_allclose(np.diag(sent)[3:], [0, 0, 0.16], atol=1e-12)
    # right is -y, down is -z, forward is x
    optical = pose_covariances(seen, CLASSES, CHAIR, OPTICAL_FROM_LEVEL, camera_at=CAMERA_AT)[0]
    expected = [[0.20, 0.0, -0.12], [0.0, 0.09, 0.0], [-0.12, 0.0, 0.10]]
    np.testing.assert_allclose(optical[:3, :3], expected, atol=1e-9)


def test_of_a_class_of_unknown_spread_the_image_says_all() -> None:
    """Along the ray 0.5 m, across it 0.1 m, in every direction alike; any yaw."""
    seen = seen_by_camera(0.5, row=1)
    sent = pose_covariances(seen, CLASSES, CHAIR, np.eye(4), camera_at=CAMERA_AT)[0]
    values, axes = np.linalg.eigh(sent[:3, :3])
    np.testing.assert_allclose(values, [0.01, 0.01, 0.25], atol=1e-9)
    np.testing.assert_allclose(np.abs(axes[:, 2]), [0.6, 0.8, 0.0], atol=1e-6)
    np.testing.assert_allclose(np.diag(sent)[3:], [0, 0, math.pi**2 / 48], atol=1e-12)


def test_what_an_image_does_not_tell_is_unknown_as_a_whole() -> None:
    sent = pose_covariances(
        seen_by_camera(math.nan), CLASSES, CHAIR, np.eye(4), camera_at=CAMERA_AT
    )
    assert not sent.any()
    with pytest.raises(ValueError, match="camera_at"):
        pose_covariances(seen_by_camera(0.5), CLASSES, CHAIR, np.eye(4))


def test_the_place_of_a_camera_changes_nothing_for_boxes_of_clouds() -> None:
    without = pose_covariances(TWO, CLASSES, CHAIR, OPTICAL_FROM_LEVEL)
    with_it = pose_covariances(TWO, CLASSES, CHAIR, OPTICAL_FROM_LEVEL, camera_at=CAMERA_AT)
    assert np.array_equal(without, with_it)
