"""Scenes that are learnt from without their labels, beside labelled ones.

What is in them is said by the teacher, step by step, as it looks at them anyway
(`teachers.TeacherNetwork.taken_as_true`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sr3d_core.data.sources import Scenes
from sr3d_core.structures import Boxes3D, Sample, Targets


class AndUnlabelled:
    """Labelled scenes, then others whose labels are left out."""

    def __init__(self, labelled: Scenes, unlabelled: Scenes) -> None:
        self._labelled, self._unlabelled = labelled, unlabelled
        self.classes = tuple(labelled.classes)
        self.names = [
            *getattr(labelled, "names", ()),
            *(f"{name}, without labels" for name in getattr(unlabelled, "names", ())),
        ]

    @property
    def files(self) -> list[Path]:
        """All that they are read from, as far as that is known."""
        return [path for each in (self._labelled, self._unlabelled) for path in _files_of(each)]

    def __len__(self) -> int:
        return len(self._labelled) + len(self._unlabelled)

    def __getitem__(self, index: int) -> Sample:
        if index < len(self._labelled):
            return self._labelled[index]
        sample = self._unlabelled[index - len(self._labelled)]
        none = Targets(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64))
        return replace(sample, targets=none, is_labelled=False)


def _files_of(scenes: Scenes) -> Sequence[Path]:
    return getattr(scenes, "files", ())
