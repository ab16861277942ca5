"""JSON files that grow are whole after every item, whatever ends the program then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sr3d_core.growing_json import growing_list, growing_object

ITEMS = [
    {"file": "a", "detections": [{"class": "chair", "size": [1, 2, 3]}]},
    {"file": "b", "detections": []},
    {"file": "c"},
]


def test_a_growing_list_is_whole_after_every_item(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("an older, longer file" * 1000)
    with growing_list(path) as growing:
        for num in range(4):
            assert path.read_text() == json.dumps(ITEMS[:num], indent=1) + "\n"
            if num < 3:
                growing.add(ITEMS[num])


def test_what_ends_a_growing_list_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "list.json"

    def interrupted() -> None:
        with growing_list(path) as growing:
            growing.add(ITEMS[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert json.loads(path.read_text()) == ITEMS[:1]


def test_an_item_that_does_not_fit_on_the_disk_is_taken_back(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "list.json"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with growing_list(path) as growing:
        growing.add(ITEMS[0])
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
        try:
            with pytest.raises(OSError, match="large"):
                growing.add(ITEMS[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert json.loads(path.read_text()) == ITEMS[:1]
        growing.add(ITEMS[2])
    assert json.loads(path.read_text()) == [ITEMS[0], ITEMS[2]]


def test_a_pipe_gets_the_whole_list() -> None:
    code = (
        "from pathlib import Path; from sr3d_core.growing_json import growing_list\n"
        "with growing_list(Path('/dev/stdout')) as growing:\n"
        "    growing.add({'a': 1}); growing.add({'b': 2})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
    assert json.loads(done.stdout) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("num", [0, 1, 3])
def test_a_growing_object_is_what_json_writes_with_its_list_and_its_rest(
    tmp_path: Path, num: int
) -> None:
    path, head, rest = tmp_path / "a.json", {"bag": "a\nb", "classes": ["x"]}, {"num": 7, "by": {}}
    with growing_object(path, head, "frames") as growing:
        for index in range(num):
            assert json.loads(path.read_text()) == {**head, "frames": ITEMS[:index]}
            growing.add(ITEMS[index])
        expected = {**head, "frames": ITEMS[:num]}
        assert path.read_text() == json.dumps(expected, indent=1) + "\n"
        growing.end(rest)
    assert path.read_text() == json.dumps({**expected, **rest}, indent=1) + "\n"
