"""Scenes that a study scores several times: read once where they fit, else each time."""

from __future__ import annotations

import pytest
import torch

from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets
from sr3d_core.study.kept_scenes import KeptScenes

BYTES_PER_SCENE = 100 * (3 * 4 + 3 * 4 + 8)


class Counted:
    """Three scenes of 100 points that know how often each was read."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.reads = [0, 0, 0]

    def __len__(self) -> int:
        return len(self.reads)

    def __getitem__(self, index: int) -> Sample:
        self.reads[index] += 1
        cloud = PointCloud(
            torch.full((100, 3), float(index)), torch.zeros(100, 3), torch.zeros(100).long()
        )
        none = Boxes3D(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0))
        return Sample(cloud, Targets(none, torch.zeros(0).long()), f"scene {index}")


@pytest.mark.parametrize(("num_fitting", "reads"), [(3, [1, 1, 1]), (2, [1, 1, 3]), (0, [3] * 3)])
def test_scenes_are_read_once_as_far_as_they_fit(num_fitting: int, reads: list[int]) -> None:
    opened: list[Counted] = []

    def open_scenes(data: str, split: str, num: int, classes: tuple[str, ...]) -> Counted:
        opened.append(Counted(classes))
        return opened[-1]

    kept = KeptScenes(open_scenes, most_bytes=num_fitting * BYTES_PER_SCENE)
    for _ in range(3):
        scenes = kept("here", "val", 3, ("chair",))
        assert scenes.classes == ("chair",)
        assert [scenes[i].name for i in range(len(scenes))] == ["scene 0", "scene 1", "scene 2"]
    assert [each.reads for each in opened] == [reads]


def test_other_classes_are_other_scenes_and_share_the_room() -> None:
    opened = {("chair",): Counted(("chair",)), ("table",): Counted(("table",))}
    kept = KeptScenes(
        lambda data, split, num, classes: opened[classes], most_bytes=4 * BYTES_PER_SCENE
    )
    for classes, reads in ((("chair",), [1, 1, 1]), (("table",), [1, 2, 2])):
        for _ in range(2):
            scenes = kept("here", "val", 3, classes)
            for index in range(3):
                assert scenes[index].cloud.xyz[0, 0] == index
        assert opened[classes].reads == reads
