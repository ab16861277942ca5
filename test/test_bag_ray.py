"""Many recordings on a Ray cluster of two nodes, which is started here; one of them is killed.

All of it speaks to this machine's own address and to nobody else.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_harness import save_untrained
from small_bags import without_times, write_bag
from typer.testing import CliRunner
from worker_jobs import work

from sr3d_ros.bag.commands import app
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.many.on_ray import RayWorkers, require_same, what_is_seen
from sr3d_ros.bag.many.schedule import Lost, run_all

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # of Ray, which is not ours to mend
]

HERE = Path(__file__).resolve().parent
MEMORY = 80 * 1024 * 1024  # of a node for objects; ours are a few bytes


def patiently(start: Callable[[], Any]) -> Any:
    """Start a node; Ray gives up after 30 s, which a starved machine may need."""
    for _ in range(2):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return start()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without CPUs and two nodes with one each."""
    from ray.cluster_utils import Cluster

    common = {"object_store_memory": MEMORY, "include_dashboard": False}
    head = {"num_cpus": 0, **common}
    folder = tempfile.mkdtemp(prefix="r")  # not pytest's: names of sockets must be short
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_health_check_timeout_ms", "300000")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parent), str(HERE)]))  # of workers
        started = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        try:
            for _ in range(2):
                patiently(lambda: started.add_node(wait=False, num_cpus=1, **common))
            started.wait_for_nodes(timeout=300)
            yield started
        finally:
            started.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def test_a_cluster_gives_what_one_recording_alone_gives(cluster: Any, tmp_path: Path) -> None:
    weights = save_untrained(tmp_path)
    bags = [write_bag(tmp_path / name, "mcap") for name in ("monday", "tuesday")]
    bad = tmp_path / "broken.mcap"
    bad.write_bytes(b"no recording")
    settings = ["--weights", weights, "--score", "0"]
    out, alone = tmp_path / "found", tmp_path / "alone.json"
    named = [str(path) for path in (bags[0], bad, bags[1])]
    command = ["detect", *named, "--out-dir", str(out), "--ray", cluster.address, *settings]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1, result.output
    assert sum(str(bad) in line for line in result.output.splitlines() if "error" in line) == 1
    summary = json.loads((out / "summary.json").read_text())
    assert [entry["bag"] for entry in summary["recordings"]] == named
    assert sorted(path.name for path in out.iterdir()) == [
        *("monday.json", "summary.json", "tuesday.json")
    ]
    for bag in bags:
        result = CliRunner().invoke(app, ["detect", str(bag), "--json", str(alone), *settings])
        assert result.exit_code == 0, result.output
        assert without_times(out / f"{bag.name}.json") == without_times(alone)


def test_what_no_node_can_do_is_refused(cluster: Any, tmp_path: Path) -> None:
    values = {"model.num_threads": 64}
    with (
        pytest.raises(ReplayError, match="num_threads"),
        RayWorkers(work, cluster.address, values, 1, [tmp_path]),
    ):
        pass


def test_what_a_killed_node_had_is_done_again(cluster: Any, tmp_path: Path) -> None:
    """Both nodes are busy when one of them is killed; the other one does all the rest."""
    go = tmp_path / "go"
    marks = [tmp_path / str(number) for number in range(4)]
    messages = [{"ends": "when", "go": str(go), "mark": str(mark)} for mark in marks]
    final, lost = dict[int, Any](), list[int]()
    with RayWorkers(work, cluster.address, {}, 4, [tmp_path]) as workers:
        is_killed = False
        for ended in run_all(4, lambda number, _: messages[number], workers):
            if not is_killed and sum(mark.exists() for mark in marks) == 2:
                cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
                is_killed = True
            if ended is not None and isinstance(ended.answer, Lost):
                assert not ended.is_final
                lost.append(ended.number)
                go.touch()
            elif ended is not None:
                final[ended.number] = ended
    assert len(lost) == 1, final
    assert sorted(final) == [0, 1, 2, 3]
    assert all(ended.answer["num_frames"] == 3 for ended in final.values())
    assert [final[number].attempt for number in range(4)] == [
        2 if number in lost else 1 for number in range(4)
    ]


def test_other_files_on_a_node_are_named(tmp_path: Path) -> None:
    """What is seen is compared: where a node sees less, the first path that differs is named."""
    bag = tmp_path / "drive"
    bag.mkdir()
    (bag / "drive.mcap").write_bytes(b"1234")
    here = what_is_seen([str(bag)])
    assert here[str(bag)] == 4
    require_same("node", here, dict(here))
    shutil.rmtree(bag)
    with pytest.raises(ReplayError, match="drive: nothing there, 4 here"):
        require_same("node", here, what_is_seen([str(bag)]))
    with pytest.raises(ReplayError, match=r"release of sr3d: 0\.0 there"):
        require_same("node", here, {**here, "release of sr3d": "0.0"})


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_an_address_where_no_cluster_is_is_refused(tmp_path: Path, address: str) -> None:
    command = ["detect", "a", "--out-dir", str(tmp_path / "out"), "--ray", address]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert address in result.output
    assert len(result.output.strip().splitlines()) == 1
