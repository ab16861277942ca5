"""How unsure a student is of where the middle of an object is: a depth and its deviation.

Two channels at the cell of the image that shows the middle of the object's box, learnt as the
middle and the deviation of a Laplace distribution: MonoSTL's own source of need (its code, after
MonoDLE and GUPNet). They say how unsure this depth is, not the one that places boxes, which comes
of the bins: so they serve learning alone, and are no part of the student.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn

from sr3d_core.distill.cells import shown_of
from sr3d_core.distill.objects import Objects
from sr3d_core.model.camera_network import CameraArchitecture, CameraOutput, branch
from sr3d_core.model.image import STRIDE
from sr3d_core.supervision.distill.depth import laplace_loss
from sr3d_core.training.processes import ALONE, Processes


class CentreDepth(nn.Module):
    """The two channels: of canonical depth and of its deviation, logarithms both."""

    def __init__(self, camera: CameraArchitecture, processes: Processes = ALONE) -> None:
        super().__init__()
        self._processes, self._bins = processes, camera.depth
        self.branch = branch(camera.channels, 2)

    def forward(
        self, output: CameraOutput, objects: Objects
    ) -> tuple[Float[Tensor, " K"], Float[Tensor, ""]]:
        """The deviation of each object in metres, without gradient, and the term to learn it by.

        The term is the mean over objects whose middle is in the image, whatever stands before it;
        0 without. The deviation of the others is that of their pixels.
        """
        shown = shown_of(output.images, objects.boxes, objects.scene)
        taken = shown.has_centre.nonzero()[:, 0]
        scene = objects.scene[taken]
        column, row = ((shown.centre[taken] + 0.5) / STRIDE).floor().long().T
        said = self.branch(output.cells.float())[scene, :, row, column]
        # As bins are, so that what is learnt with one camera holds for another
        scale = output.images.intrinsics[scene, 0, 0].float() / self._bins.canonical_focal_px
        usual_m = math.sqrt(self._bins.near_m * self._bins.far_m)
        depth_m = scale * usual_m * said[:, 0].exp()
        log_std = scale.log() + said[:, 1]
        error = laplace_loss(depth_m, shown.depth_m[taken].float(), log_std)
        std_m = objects.std_m.clone()
        std_m[taken] = log_std.detach().exp().to(std_m.dtype)
        return std_m, error.sum() / max(self._processes.total(len(taken)), 1)
