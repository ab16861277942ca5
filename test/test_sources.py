"""The list of readers: names, paths, and what configurations make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sr3d_core.config import parse_config
from sr3d_core.data.folder import DatasetError, FolderSource
from sr3d_core.data.readers.infos import InfosSource
from sr3d_core.data.readers.scannet import ScanNetSource
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.data.sources import READERS, SceneSource, data_argument, source_of


def test_rooms_go_by_their_name_and_everything_else_is_a_folder() -> None:
    assert source_of("rooms") == RoomsSource()
    assert source_of("./rooms") == FolderSource(path=Path("rooms"))
    assert source_of("folder:my/rooms") == FolderSource(path=Path("my/rooms"))


def test_a_path_for_a_reader_that_takes_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--data rooms:here: .*expected rooms alone"):
        source_of("rooms:here")


@pytest.mark.parametrize("name", READERS)
def test_configurations_choose_among_the_readers_by_name(name: str) -> None:
    source: SceneSource = parse_config({"data": {"name": name}}).data
    assert isinstance(source, READERS[name])
    assert source.name == name


def test_rooms_open_with_the_classes_and_the_number_asked_for() -> None:
    scenes = RoomsSource().open("val", ("bed", "spoon"), num=3)
    assert (len(scenes), scenes.classes) == (3, ("bed", "spoon"))
    assert (len(RoomsSource().open("train")), len(RoomsSource().open("val"))) == (4000, 300)


def test_unknown_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'test', expected one of train, val, sample"):
        RoomsSource().open("test")
    (tmp_path / "classes.txt").write_text("chair\n")
    with pytest.raises(DatasetError, match=r"test\.txt"):
        FolderSource(path=tmp_path).open("test")


def test_settings_follow_the_path() -> None:
    source = source_of("infos:data/sun,2024,yaw=clockwise,dataset=sunrgbd")
    assert source == InfosSource(path=Path("data/sun,2024"), yaw="clockwise", dataset="sunrgbd")
    lamps = source_of("scannet:scans,classes=lamp+chair")
    assert lamps == ScanNetSource(path=Path("scans"), classes=("lamp", "chair"))


@pytest.mark.parametrize(
    "data", ["infos:data/sun,dataset=sunrgbd,yaw=clockwise", "rooms", "my/rooms", "scannet:scans"]
)
def test_a_source_says_how_it_is_named(data: str) -> None:
    assert data_argument(source_of(data)) == data
    assert source_of(data_argument(source_of(data))) == source_of(data)


@pytest.mark.parametrize("name", ["scannet", "rooms", "folder", "infos:a"])
def test_a_folder_that_is_called_as_a_reader_is_named_apart_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = FolderSource(path=Path(name))
    assert source_of(data_argument(folder)) == folder
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    (Path(name) / "classes.txt").write_text("chair\n")
    assert source_of(data_argument(folder)) == folder
    if ":" not in name:
        with pytest.raises(ValueError, match=f"folder:{name}.*{name}: for the reader"):
            source_of(name)
        assert source_of(f"{name}:") == READERS[name]()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("infos:data,yaw=left", r"--data infos:data,yaw=left: yaw=left.*'clockwise'"),
        ("infos:data,sign=1", "no setting 'sign', expected one of path, dataset, yaw"),
        ("infos:data,val_area=five", "val_area=five"),
        ("infos:data,name=rooms", "no setting 'name'"),
        ("rooms:,num_train=0", "num_train 0.*at least 1"),
    ],
)
def test_settings_that_a_reader_does_not_take_are_refused(data: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        source_of(data)
