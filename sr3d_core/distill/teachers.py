"""What the teacher says of a step's scenes: features on voxels, boxes and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sr3d_core.checkpoint import CheckpointError, load_any
from sr3d_core.detector import Postprocess
from sr3d_core.distill.settings import Teacher
from sr3d_core.distill.taught_boxes import LEAST_SCORE
from sr3d_core.model.camera_network import CameraOutput, CameraSR3D
from sr3d_core.model.chances import calibrated
from sr3d_core.model.network import SR3D, LevelOutput, decoded
from sr3d_core.sparse.engine_list import Backend
from sr3d_core.sparse.tensor import SparseTensor
from sr3d_core.structures import Batch, Detections, Predictions, Targets

_KINDS = ("clouds", "images")
_LOOKED_AT = 0.05  # boxes with a lower score cannot tell whether the teacher is right


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What a network makes of a step's scenes, up to what its head says."""

    levels: dict[str, SparseTensor]  # lift, fine, coarse
    outputs: tuple[LevelOutput, LevelOutput]  # fine, coarse
    seen: CameraOutput | None = None  # what a network of images makes of these besides


class TeacherNetwork:
    """A network that teaches: always in evaluation mode, without gradient."""

    def __init__(self, settings: Teacher, device: torch.device, backend: Backend) -> None:
        """Raises CheckpointError where the weights are none of this kind of teacher."""
        network, self.manifest = load_any(settings.weights)
        self._check(settings, network)
        network.backend = backend
        if isinstance(network, CameraSR3D):
            network.sees_depth = settings.kind == "oracle_lift"
        self.network: nn.Module = network.to(device).eval().requires_grad_(requires_grad=False)
        self._postprocess = Postprocess(score_threshold=_LOOKED_AT)
        self._sure = Postprocess(score_threshold=LEAST_SCORE, one_class=True)

    def _check(self, settings: Teacher, network: nn.Module) -> None:
        takes_images = isinstance(network, CameraSR3D)
        if takes_images == (settings.kind == "points"):
            raise CheckpointError(
                f"teacher.weights {settings.weights}: of {_KINDS[takes_images]}; expected weights "
                f"of {_KINDS[not takes_images]} (--teacher), as teacher.kind is {settings.kind}, "
                "or another kind"
            )
        camera = self.manifest.camera
        if camera is not None and (camera.input == "depth") != (settings.kind == "depth_image"):
            raise CheckpointError(
                f"teacher.weights {settings.weights}: looks at {camera.input}, expected a teacher "
                f"of kind {settings.kind}: a student that was trained so (student.camera.input), "
                "or another teacher.kind"
            )

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Taught:
        """What it says of a batch whose cloud and images show the same."""
        if isinstance(self.network, SR3D):
            fine, middle, coarse = self.network.backbone(self.network.voxels(batch.cloud))
            levels = self.network.neck((fine, middle, coarse))
            outputs = tuple(
                LevelOutput(x.coords, x.stride, *self.network.head(x.features)) for x in levels
            )
            return _taught(fine, levels, outputs)
        assert isinstance(self.network, CameraSR3D)
        assert batch.images is not None
        return taught_by_images(self.network.raw(batch.images))

    @torch.no_grad()
    def detections(self, said: Taught, num_scenes: int) -> list[Detections]:
        """Its boxes, scene by scene, with the scores of its detector."""
        predictions = self._scored(said)
        return [self._postprocess(predictions.of_scene(scene)) for scene in range(num_scenes)]

    @torch.no_grad()
    def taken_as_true(self, said: Taught, scenes: Sequence[int]) -> list[Targets]:
        """What counts as true in scenes of which nothing is labelled, as in recordings.

        Boxes that it scores `LEAST_SCORE` or more, by the scores of its detector; one for each
        object.
        """
        predictions = self._scored(said)
        found = [self._sure(predictions.of_scene(scene)) for scene in scenes]
        return [Targets(each.boxes, each.labels) for each in found]

    def predictions(self, said: Taught) -> Predictions:
        """Its boxes and the network's own scores at all anchor points, which students learn."""
        return decoded(said.outputs, self.manifest.architecture, is_training=False)

    def _scored(self, said: Taught) -> Predictions:
        """The same with the scores that its detector gives: chances, where it is calibrated."""
        own = self.predictions(said)
        return calibrated(own, self.manifest.classes, self.manifest.calibration)


def taught_by_images(output: CameraOutput) -> Taught:
    """What a network of images makes of a step's scenes."""
    return _taught(output.lifted, output.features, output.levels, output)


def _taught(
    lifted: SparseTensor, levels: Any, outputs: Any, seen: CameraOutput | None = None
) -> Taught:
    """The parts by their names, in full precision."""
    names = ("lift", "fine", "coarse")
    full = (each.replaced(each.features.float()) for each in (lifted, *levels))
    return Taught(dict(zip(names, full, strict=True)), outputs, seen)
