"""Other layouts through the commands: looked at, counted, written as a folder, trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_harness import assert_one_line_error, save_untrained, sr3d
from foreign_layouts import Known, info_v1, room, write_bin, write_v1

from sr3d_core.cli.train import validated_where_possible
from sr3d_core.config import load_config
from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.data.folder import FolderDataset, FolderSource
from sr3d_core.data.inspection import inspect_before_training, inspect_scenes
from sr3d_core.data.prepare import prepare
from sr3d_core.data.readers.infos import InfosSource
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.data.scene_figures import scene_figures
from sr3d_core.presets import preset_path

NAMES = ("chair", "table", "sofa", "door")
SCENES = (("chair", "table", "sofa"), ("chair", "chair"), ())


@pytest.fixture
def infos(tmp_path: Path) -> Path:
    """Infos of ScanNet with a training and a validation split; floors at z = -1.4."""
    root = tmp_path / "infos"
    scenes = [room(f"scene000{i}_00", SCENES[i], i, False, floor_z=-1.4) for i in range(3)]
    write_split(root, "train", scenes[:2])
    write_split(root, "val", scenes[2:])
    return root


def write_split(root: Path, split: str, scenes: list[Known]) -> None:
    for known in scenes:
        write_bin(root / f"points/{known.name}.bin", known.table)
    found = [info_v1(each, [NAMES.index(name) for name in each.classes]) for each in scenes]
    write_v1(root / f"scannet_infos_{split}.pkl", NAMES, found, "1.1")


def test_a_prepared_folder_holds_the_same_scenes(infos: Path, tmp_path: Path) -> None:
    source, out = InfosSource(path=infos), tmp_path / "folder"
    for split, num in (("train", 2), ("val", 1)):
        made = prepare(source, out, split)
        assert (made.num_new, made.num_there, made.left_out) == (num, 0, [])
        assert made.notes == source.open(split).notes
        before, after = source.open(split), FolderSource(path=out).open(split)
        assert before.names == after.names
        assert before.classes == after.classes
        for index in range(num):
            one, other = before[index], after[index]
            assert torch.equal(one.cloud.xyz, other.cloud.xyz)
            torch.testing.assert_close(one.cloud.features, other.cloud.features)
            assert torch.equal(one.targets.labels, other.targets.labels)
            assert torch.equal(one.targets.boxes.array, other.targets.boxes.array)
    again = prepare(source, out, "train")
    assert (again.num_new, again.num_there) == (0, 2)
    with pytest.raises(DatasetError, match=r"made of infos:.*expected infos:.*align=no"):
        prepare(InfosSource(path=infos, align="no"), out, "train")


def test_boxes_that_come_twice_are_written_once_and_told(tmp_path: Path) -> None:
    known = room("scene0000_00", ("chair",), 0, False)
    twice = Known(
        known.name, ("chair", "chair"), known.boxes.repeat(2, axis=0), known.xyz, known.rgb
    )
    write_split(tmp_path / "infos", "train", [twice])
    made = prepare(InfosSource(path=tmp_path / "infos"), tmp_path / "out", "train")
    assert made.left_out == ["scene0000_00: 1 boxes that came twice"]
    assert len(FolderSource(path=tmp_path / "out").open("train")[0].targets) == 1


def test_boxes_of_classes_that_are_not_read_are_told(infos: Path, tmp_path: Path) -> None:
    known = room("scene0000_00", ("chair", "zebra", "zebra"), 0, False)
    labels = [0, 1, 1]
    write_bin(infos / "points/scene0000_00.bin", known.table)
    names = ("chair", "zebra")
    write_v1(infos / "scannet_infos_train.pkl", names, [info_v1(known, labels)], "1.1")
    source, said = InfosSource(path=infos), "2 boxes of other classes are left out (zebra 2)"
    assert said in inspect_before_training(source)
    assert said in prepare(source, tmp_path / "out", "train").notes


class _Elsewhere(FolderSource):
    """A source whose scenes have a name that leads out of the folder."""

    def open(
        self, split: str, classes: Sequence[str] | None = None, num: int | None = None
    ) -> FolderDataset:
        scenes = super().open(split, classes, num)
        scenes._clouds = {"../../lounge": scenes._clouds[scenes.names[0]]}
        scenes.names = ["../../lounge"]
        return scenes


def test_a_name_does_not_lead_out_of_the_folder(infos: Path, tmp_path: Path) -> None:
    prepare(InfosSource(path=infos), tmp_path / "one", "train", num=1)
    with pytest.raises(DatasetError, match=r"scene '../../lounge', expected a name without"):
        prepare(_Elsewhere(path=tmp_path / "one"), tmp_path / "sub/sub/two", "train")
    assert not list(tmp_path.rglob("lounge*"))


def test_rooms_and_ignored_boxes_are_prepared_too(tmp_path: Path) -> None:
    source = RoomsSource(sensors=("frame",))
    prepare(source, tmp_path / "out", "val", num=2)
    before, after = source.open("val", num=2), FolderSource(path=tmp_path / "out").open("val")
    for index in range(2):
        one, other = before[index].targets, after[index].targets
        assert torch.equal(one.labels, other.labels)
        assert (one.ignored is None) == (other.ignored is None)
        if one.ignored is not None and other.ignored is not None:
            assert torch.equal(one.ignored.labels, other.ignored.labels)


def test_a_folder_with_something_else_is_left_alone(infos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(DatasetError, match="not empty"):
        prepare(InfosSource(path=infos), tmp_path / "out", "train")


def test_commands_say_how_files_were_read(infos: Path, tmp_path: Path) -> None:
    data = f"infos:{infos}"
    looked = sr3d("data", "inspect", data)
    assert looked.exit_code == 0, looked.output
    assert "read as: scannet, infos of version 1.1" in looked.stderr
    out = tmp_path / "figures.json"
    counted = sr3d("data", "stats", data, "--json", out)
    assert counted.exit_code == 0, counted.output
    assert "floor lies at about z = -1.4" in counted.stderr
    figures = json.loads(out.read_text())
    assert figures["num_scenes"] == 2
    assert figures["classes"]["chair"]["num_boxes"] == 3
    assert figures["classes"]["chair"]["num_scenes"] == 2
    assert figures["classes"]["bed"]["dx_m"]["median"] is None
    made = sr3d("data", "prepare", data, tmp_path / "folder")
    assert made.exit_code == 0, made.output
    assert "2 scenes of train written" in made.stderr
    weights = save_untrained(tmp_path, ("chair", "table"))
    scored = sr3d("eval", "--data", data, "--split", "train", "--weights", weights)
    assert scored.exit_code == 0, scored.output
    assert "read as: scannet" in scored.stderr


def test_commands_refuse_in_one_line(infos: Path, tmp_path: Path) -> None:
    (infos / "scannet_infos_train.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    for command in (
        ("data", "inspect", f"infos:{infos}"),
        ("data", "stats", f"infos:{infos}"),
        ("data", "prepare", f"infos:{infos}", tmp_path / "out"),
        ("train", "--data", f"infos:{infos}", "--out", tmp_path / "run"),
    ):
        assert_one_line_error(sr3d(*command), "scannet_infos_train.pkl", "os.system")
    assert_one_line_error(sr3d("data", "stats", "infos:nowhere,yaw=up"), "yaw=up")


@pytest.mark.slow
def test_a_training_on_another_layout(infos: Path, tmp_path: Path) -> None:
    config = tmp_path / "short.yaml"
    config.write_text(
        "network: {preset: lite}\nschedule: {num_steps: 1, batch_size: 1, warmup_steps: 0}\n"
    )
    result = sr3d("train", config, "--data", f"infos:{infos}", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert f"--data infos:{infos}" in result.stderr
    assert f"path: {infos}" in (tmp_path / "run" / "config.yaml").read_text()
    assert (tmp_path / "run" / "weights.safetensors").is_file()


@pytest.mark.parametrize("has_val", [True, False])
def test_a_preset_validates_on_another_layout_where_that_has_a_split_for_it(
    infos: Path, has_val: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if not has_val:
        (infos / "scannet_infos_val.pkl").unlink()
    preset = load_config(preset_path("own_data"))
    config = validated_where_possible(replace(preset, data=InfosSource(path=infos)))
    assert config.schedule.validate_steps == (preset.schedule.validate_steps if has_val else 0)
    assert ("not validated" in capsys.readouterr().err) != has_val


def test_inspections_tell_what_is_left_out(infos: Path) -> None:
    known = room("scene0000_00", ("chair", "table"), 0, False)
    known.boxes[1, 5] = 0.0
    write_split(infos, "train", [known])
    found = inspect_scenes(InfosSource(path=infos).open("train"))
    assert found.faults == []
    assert "1 boxes are left out, the first" in found.warnings[0]
    told = inspect_before_training(InfosSource(path=infos))
    assert told[0].startswith("scannet, infos of version 1.1")


def test_faults_of_another_layout_name_the_command_that_tells_all(infos: Path) -> None:
    known = room("scene0000_00", ("chair",), 0, False)
    known.boxes[0, 0] = 500.0
    write_split(infos, "train", [known])
    with pytest.raises(DatasetError, match=r"boxes\[0\]\.center.*sr3d data inspect infos:"):
        inspect_before_training(InfosSource(path=infos))


def test_figures_of_known_scenes(infos: Path) -> None:
    scenes = InfosSource(path=infos).open("train")
    figures = scene_figures(scenes)
    known = [room(f"scene000{i}_00", SCENES[i], i, False, floor_z=-1.4) for i in range(2)]
    assert figures.points.median == np.median([len(each.xyz) for each in known])
    assert figures.boxes.median == 2.5
    chairs = np.concatenate(
        [each.boxes[np.array(each.classes) == "chair"] for each in known if each.classes]
    )
    assert figures.classes["chair"].dx_m.median == pytest.approx(np.median(chairs[:, 3]))
    assert figures.classes["chair"].points.median == pytest.approx(60, abs=2)
    assert figures.classes["chair"].num_turned == 0
    mean = np.mean([each.rgb.mean(axis=0) for each in known], axis=0) / 255
    np.testing.assert_allclose(figures.color_mean, mean, atol=1e-3)
    remarks = figures.remarks()
    assert any("no box of cabinet, bed" in remark for remark in remarks)
    assert any("no box is turned" in remark for remark in remarks)


def test_figures_of_no_boxes(infos: Path) -> None:
    figures = scene_figures(InfosSource(path=infos).open("val"))
    assert figures.boxes.median == 0
    assert json.loads(json.dumps(figures.to_dict()))["classes"]["chair"]["dx_m"]["median"] is None
