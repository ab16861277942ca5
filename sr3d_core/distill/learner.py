"""The camera student in training: beside true boxes and depth it learns from its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sr3d_core.checkpoint import CheckpointError, Manifest, load_any
from sr3d_core.detector import Detector
from sr3d_core.distill.cell_objects import cell_objects_term
from sr3d_core.distill.cells import CellTerms
from sr3d_core.distill.centre import CentreDepth
from sr3d_core.distill.objects import Objects, objects_of
from sr3d_core.distill.settings import CameraConfig
from sr3d_core.distill.teachers import Taught, TeacherNetwork, taught_by_images
from sr3d_core.distill.term_settings import Level
from sr3d_core.distill.terms import Distillation, depth_term, rows_of
from sr3d_core.evaluate_images import lift_to_true_depth
from sr3d_core.geometry.turns import Turn
from sr3d_core.model.camera_network import (
    CameraArchitecture,
    CameraOutput,
    CameraSR3D,
    CellOutput,
)
from sr3d_core.model.network import decoded
from sr3d_core.structures import Batch, Images, Losses
from sr3d_core.supervision.distill.conflict import agreement
from sr3d_core.training.errors import TrainingError
from sr3d_core.training.learner import Learner

_OWN = "student."
"""What begins the names of the tensors that are shipped."""


@dataclass(frozen=True, slots=True)
class TaughtObject:
    """A labelled object, and whether its teacher asks the same of the student as its label."""

    label: str
    std_m: float  # of the student's depth; NaN where no pixel shows it
    need: float  # 0..1
    trust: float  # 0..1
    cosine: float  # of both gradients at the lifted voxels, below 0 is a conflict; NaN without any


class Lesson(nn.Module):
    """What learns together: the student, and what compares it with its teacher."""

    def __init__(
        self, student: CameraSR3D, distillation: Distillation, centre: CentreDepth | None
    ) -> None:
        super().__init__()
        self.student, self.distillation, self.centre = student, distillation, centre


class CameraLearner(Learner):
    """A student in training, of a `CameraConfig`; the teacher is no part of what is saved."""

    _config: CameraConfig

    def _built(self) -> nn.Module:
        config, device = self._config, self._processes.device
        config.check_first_steps()
        self._teacher = TeacherNetwork(config.teacher, device, config.network.backend)
        architecture = self._architecture
        student = CameraSR3D(architecture, config.student.camera)
        student.backend, student.sees_depth = config.network.backend, config.student.sees_depth
        lift, neck = architecture.widths[1], architecture.neck_channels
        own: dict[Level, int] = {"lift": lift, "fine": neck, "coarse": neck}
        levels = () if config.compares_cells else config.distill.feature.levels
        widths = {name: (own[name], own[name]) for name in levels}
        cells = self._cell_terms(student) if config.compares_cells else None
        voxel_size_m = architecture.voxel_size_m
        terms = Distillation(
            config.distill,
            widths,
            voxel_size_m,
            self._processes,
            cells,
            has_adapter=config.has_adapter,
        )
        has_centre = config.distill.is_asked and config.distill.uncertainty.source == "centre"
        centre = CentreDepth(student.camera, self._processes) if has_centre else None
        return Lesson(student, terms, centre)

    def _cell_terms(self, student: CameraSR3D) -> CellTerms:
        """Those between the student and a teacher that looks at the same pixels."""
        config, network = self._config, self._teacher.network
        assert isinstance(network, CameraSR3D)
        if network.camera.size != student.camera.size:
            raise TrainingError(
                f"{config.teacher.weights}: sees images of {network.camera.size} pixels, the "
                f"student of {student.camera.size}; expected the same: their cells are compared"
            )
        widths = student.image.widths, network.image.widths
        return CellTerms(*widths, config.has_adapter, self._processes)

    @property
    def student(self) -> CameraSR3D:
        """The network that is shipped."""
        student: CameraSR3D = self.network.student
        return student

    def start(self) -> str:
        """Begin from a student, or from the teacher's later stages and an image network's file."""
        settings = self._config.student
        self._check_classes()
        if settings.weights is not None and settings.taken == "all":
            return self._start_from(settings.weights)
        remarks = []
        if settings.weights is not None:
            remarks.append(self._take_cells_from(settings.weights))
        if settings.from_teacher:
            self.student.start_from(self._teacher.network)
        else:
            remarks.append(
                "the student's later stages start afresh: student.from_teacher is false"
            )
        if settings.image_weights is not None:
            remarks.append(filled(self.student.image.stages, settings.image_weights))
        return "; ".join(remarks)

    def _check_classes(self) -> None:
        found = self._teacher.manifest.classes
        if found != self._classes:
            raise TrainingError(
                f"{self._config.teacher.weights}: its classes are {', '.join(found)}, those of "
                f"the data {', '.join(self._classes)}; expected the same in both"
            )

    def _take_cells_from(self, weights: str) -> str:
        network, _ = self._alike(weights)
        afresh = self.student.take_cells_from(network)
        but = f", but for {' and '.join(afresh)}, which are built otherwise" if afresh else ""
        return f"taken from {weights}: the image network and what it says of cells{but}"

    def _start_from(self, weights: str) -> str:
        network, manifest = self._alike(weights)
        own, found = self._config.student.camera, manifest.camera
        if manifest.classes != self._classes:
            raise TrainingError(
                f"{weights}: a student of the classes {', '.join(manifest.classes)}, and the data "
                f"has {', '.join(self._classes)}; expected the same, or student.taken: image, "
                "which leaves its later stages"
            )
        if manifest.architecture != self._architecture:
            raise TrainingError(
                f"{weights}: its later stages are built otherwise than those of the teacher "
                f"{self._config.teacher.weights}; expected the same: let the one teach that "
                "taught it, or take its image network alone, student.taken: image"
            )
        self.student.load_state_dict(network.state_dict())
        taken = f"taken from {weights}: all that it learns with"
        if own == found:
            return taken
        return (
            f"{taken}; it lifts otherwise than there: student.camera.lift {own.lift}, "
            f"minimum_probability {own.minimum_probability:g}"
        )

    def _alike(self, weights: str) -> tuple[CameraSR3D, Manifest]:
        """A student that makes voxels of images as this one does."""
        network, manifest = load_any(weights)
        own, found = self._config.student.camera, manifest.camera
        is_alike = found is not None and lifted_as(own, found) == own
        if not isinstance(network, CameraSR3D) or not is_alike:
            raise TrainingError(
                f"{weights}: no student of this student.camera; expected one that was trained "
                "alike: leave student.camera as it was, but for lift and minimum_probability"
            )
        return network, manifest

    def _losses(self, batch: Batch, turn: Turn | None, step: int) -> Losses:
        if batch.images is None:
            raise TrainingError(
                f"scenes {', '.join(batch.names)} have no color image; expected data with images, "
                "such as `data: {name: rooms, images: true}`"
            )
        config = self._config
        if step < config.depth.first_steps:
            return self._cells_alone(batch, batch.images)
        is_taught = config.distill.is_asked or config.unlabelled is not None
        with self._arithmetic():
            output = self.student.raw(batch.images)
            said = self._teacher(batch) if is_taught else None
        own = decoded(output.levels, self._architecture, is_training=True)
        batch = self._labelled(batch, said)
        losses = self._and_of_cells(self._boxes_of(own, batch, turn), output, batch)
        if said is None or not config.distill.is_asked:
            return losses
        objects, centre = self._objects(output, batch, said)
        terms = self.network.distillation(
            taught_by_images(output), said, self._teacher.predictions(said), own, objects
        )
        return replace(losses, **terms, centre=centre)

    def _cells_alone(self, batch: Batch, images: Images) -> Losses:
        """What the student lacks of cells; nothing is said of boxes."""
        with self._arithmetic():
            output = self.student.of_cells(images)
        none = output.depth_logits.new_zeros(())
        return self._and_of_cells(Losses(none, none, 0), output, batch, batch.unlabelled)

    def _and_of_cells(
        self, losses: Losses, output: CellOutput, batch: Batch, unlabelled: Sequence[int] = ()
    ) -> Losses:
        """With the terms of depth, and of what cells show where the student tells that."""
        config, targets = self._config, batch.targets
        depth = depth_term(output, targets, config.depth, self._processes)
        if output.objects is None:
            return replace(losses, depth=depth)
        shown = cell_objects_term(output, targets, unlabelled, self._processes)
        return replace(losses, depth=depth, cell_objects=config.cell_objects.weight * shown)

    def _objects(
        self, output: CameraOutput, batch: Batch, said: Taught
    ) -> tuple[Objects, Tensor | None]:
        """The objects of a step; what is learnt of the depth of their centres, where asked for."""
        found = self._teacher.detections(said, len(batch.targets))
        trust = self._config.distill.trust
        objects = objects_of(output, batch.targets, found, trust, batch.unlabelled)
        if self.network.centre is None:
            return objects, None
        std_m, term = self.network.centre(output, objects)
        return replace(objects, std_m=std_m), term

    def _labelled(self, batch: Batch, said: Taught | None) -> Batch:
        """The batch with what the teacher finds where nothing is labelled."""
        if said is None or not batch.unlabelled:
            return batch
        targets = list(batch.targets)
        found = self._teacher.taken_as_true(said, batch.unlabelled)
        for scene, of_scene in zip(batch.unlabelled, found, strict=True):
            targets[scene] = of_scene
        return replace(batch, targets=tuple(targets))

    @property
    def reference_m(self) -> float:
        """The deviation of depth from which on an object is in need; 0 where none was seen."""
        fixed = self._config.distill.fixed_reference_m
        distillation: Distillation = self.network.distillation
        return float(distillation.reference_m) if fixed is None else fixed

    def objects(self, batch: Batch) -> list[TaughtObject]:
        """What the labels and the teacher ask of the student for each object; nothing is learnt.

        As in use: norms work by the statistics that were followed.
        """
        if batch.images is None:
            raise TrainingError(f"scenes {', '.join(batch.names)} have no color image")
        lesson = self.network.eval()
        output = lesson.student.raw(batch.images)
        own = decoded(output.levels, self._architecture, is_training=True)
        said = self._teacher(batch)
        objects, _ = self._objects(output, batch, said)
        student = taught_by_images(output)
        of_labels = self._boxes_of(own, batch, None).total
        of_teacher = lesson.distillation.features_of_all(student, said, objects)
        asked = _gradient(of_labels, output.lifted.features)
        imitated = _gradient(of_teacher, output.lifted.features)
        _, is_inside = rows_of(output.lifted, objects, self._architecture.voxel_size_m)
        rows = zip(
            objects.labels.tolist(),
            objects.std_m.tolist(),
            lesson.distillation.needs(objects).tolist(),
            objects.trust.tolist(),
            agreement(asked, imitated, is_inside).tolist(),
            strict=True,
        )
        return [TaughtObject(self._classes[label], *figures) for label, *figures in rows]

    def detector(self, step: int) -> Detector:
        """That of the student, which sees the true depth where it learns with it."""
        detector = super().detector(step)
        if self._config.student.sees_depth:
            lift_to_true_depth(detector)
        return detector

    def _in_use(self) -> dict[str, Tensor]:
        state = super()._in_use()
        return {
            name.removeprefix(_OWN): tensor
            for name, tensor in state.items()
            if name.startswith(_OWN)
        }

    def _manifest(self, step: int) -> Manifest:
        return replace(super()._manifest(step), camera=self._config.student.camera)


def lifted_as(like: CameraArchitecture, camera: CameraArchitecture) -> CameraArchitecture:
    """The same network, which lifts its cells as another one does: no weight is of that."""
    return replace(camera, lift=like.lift, minimum_probability=like.minimum_probability)


def _gradient(term: Tensor, features: Tensor) -> Tensor:
    """What a term asks of features; zero where it does not depend on them."""
    if not term.requires_grad:
        return torch.zeros_like(features)
    (found,) = torch.autograd.grad(term, features, retain_graph=True, allow_unused=True)
    return torch.zeros_like(features) if found is None else found


def _bare(name: str) -> str:
    """What whole networks of timm and those of features call alike: stages.0 and stages_0."""
    return name.replace(".", "_")


def filled(stages: nn.Module, path: Any) -> str:
    """Take the tensors of a file that fit an image network; in words what did not."""
    try:
        given = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); expected the .safetensors of an image network"
        ) from error
    shapes = {name: tensor.shape for name, tensor in stages.state_dict().items()}
    own = {_bare(name.removeprefix("network.")): name for name in shapes}
    fitting = {
        own[_bare(name)]: tensor
        for name, tensor in given.items()
        if shapes.get(own.get(_bare(name), "")) == tensor.shape
    }
    if 2 * len(fitting) < len(own):
        raise CheckpointError(
            f"{path}: {len(fitting)} of {len(own)} tensors fit this image network; expected most "
            "of them: name the network that the file is of, such as "
            "student.camera.image: timm:resnet18"
        )
    stages.load_state_dict(fitting, strict=False)
    return f"{len(fitting)} of {len(own)} tensors of the image network are from {path}"
