"""Workers that are tasks of a Ray cluster: the work is split by recording.

Each node must see recordings, weights and the folder of results at the same path and have the same
release of sr3d, which is looked at before anything is started. What is said to workers and what
they answer are JSON values; Ray itself moves them with pickle: the cluster must be trusted.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.many.job import Answer
from sr3d_ros.bag.many.processes import Work
from sr3d_ros.bag.many.schedule import Lost

_WAIT_S = 1.0
_ANSWER_S = 20.0
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_START_S = 300.0
"""How long a node may take to say what it sees; its first worker starts Python."""


class RayWorkers:
    """Tasks of the cluster at an address, as many as it has room for; `num` are there at most.

    `local` is a cluster of this machine alone, which is started and ends with this. `values` are
    the parameters: each recording gets `model.num_threads` CPUs (0 = 1), and a GPU where
    `model.device` is cuda. `paths` are what all nodes must see. Entering it raises `ReplayError`
    where no cluster answers or a node cannot work.
    """

    num_clouds = 0  # nobody says before a recording is done

    def __init__(
        self, work: Work, address: str, values: Mapping[str, Any], num: int, paths: Sequence[Path]
    ) -> None:
        self.num = num
        self._work, self._address, self._paths = work, address, [str(path) for path in paths]
        self._cpus = int(values.get("model.num_threads") or 1)
        self._gpus = int(str(values.get("model.device", "")).startswith("cuda"))
        self._numbers: dict[Any, int] = {}  # of jobs that are under way, by what stands for them

    def __enter__(self) -> RayWorkers:
        self._ray = _connected(self._address)
        try:
            nodes = self._nodes()
            self._require_same_files(nodes)
        except BaseException:
            self._ray.shutdown()
            raise
        self._task = self._ray.remote(self._work).options(
            num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0
        )
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._numbers:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()

    def start(self, number: int, message: Mapping[str, Any]) -> None:
        """Hand a job to the cluster, which begins it where there is room."""
        self._numbers[self._task.remote(dict(message))] = number

    def wait(self) -> Sequence[tuple[int, Answer | Lost]]:
        """The jobs that ended; none where that takes longer than a moment."""
        ended, _ = self._ray.wait(list(self._numbers), timeout=_WAIT_S)
        return [(self._numbers.pop(each), self._answer(each)) for each in ended]

    def _answer(self, reference: Any) -> Answer | Lost:
        try:
            answer: Answer = self._ray.get(reference)
            return answer
        except self._ray.exceptions.RayTaskError as error:  # the worker could not even begin
            return {"error": _last_line(error)}
        except self._ray.exceptions.RayError as error:
            return Lost(f"its worker was lost ({type(error).__name__})")

    def _nodes(self) -> dict[str, str]:
        """Names of the nodes that may get a recording, by their ids."""
        nodes = {
            node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            for node in self._ray.nodes()
            if node["Alive"]
            and node["Resources"].get("CPU", 0) >= self._cpus
            and node["Resources"].get("GPU", 0) >= self._gpus
        }
        if not nodes:
            there = self._ray.cluster_resources()
            raise ReplayError(
                f"--ray {self._address}: no node has {self._cpus} CPUs and {self._gpus} GPUs for "
                f"a recording; all have {there.get('CPU', 0):g} and {there.get('GPU', 0):g}; "
                "change model.num_threads or --device"
            )
        return nodes

    def _require_same_files(self, nodes: Mapping[str, str]) -> None:
        """Raise `ReplayError` where a node sees other files than this, or runs another sr3d."""
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        look = self._ray.remote(what_is_seen)
        asked = [
            look.options(num_cpus=0, scheduling_strategy=strategy(node, soft=False)).remote(
                self._paths
            )
            for node in nodes
        ]
        here = what_is_seen(self._paths)
        for reference, name in zip(asked, nodes.values(), strict=True):
            where = f"--ray {self._address}: node {name}"
            try:
                there = self._ray.get(reference, timeout=_START_S)
            except self._ray.exceptions.RayError as error:
                raise ReplayError(
                    f"{where} cannot work ({_last_line(error)}); expected this release of sr3d "
                    "with the extras bag and ray in its Python"
                ) from error
            require_same(where, here, there)


def what_is_seen(paths: Sequence[str]) -> dict[str, Any]:
    """Bytes of files and folders by path, None = nothing there, and the release of sr3d."""
    import rosbags  # noqa: F401  a node without it cannot work

    from sr3d_ros import __version__

    return {**{path: _num_bytes(Path(path)) for path in paths}, "release of sr3d": __version__}


def _num_bytes(path: Path) -> int | None:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else None


def require_same(where: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """Raise `ReplayError` that names what of `what_is_seen` is another on a node."""
    differing = [name for name in here if here[name] != there[name]]
    if not differing:
        return
    name = differing[0]
    found = "nothing" if there[name] is None else there[name]
    raise ReplayError(
        f"{where}: {name}: {found} there, {here[name]} here (bytes, or a release), and so for "
        f"{len(differing)} of {len(here)}; all nodes must see the same files at the same paths: "
        "share the folder, or copy it there"
    )


def _connected(address: str) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    import ray.util.scheduling_strategies

    alone: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        _require_answer(address)
    except OSError as error:
        raise ReplayError(
            f"--ray {address}: no cluster answers there ({_last_line(error)}); expected local, or "
            "the HOST:PORT that `ray start --head` printed"
        ) from error
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(alone if address == "local" else {}),
        )
    except (OSError, RuntimeError, ValueError, AssertionError, ImportError) as error:
        raise ReplayError(
            f"--ray {address}: Ray cannot use it ({_last_line(error)}); expected local, or the "
            "HOST:PORT that `ray start --head` printed. Where that said that token authentication "
            "is enabled, set RAY_AUTH_MODE=token here too, with its token in ~/.ray/auth_token"
        ) from error
    return ray


def _require_answer(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray would go on asking for minutes."""
    from ray.util import get_node_ip_address

    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if host in _THIS_MACHINE and not address.startswith("ray://"):
        host = get_node_ip_address()  # where Ray will look
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), _ANSWER_S).close()


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
