"""An engine is chosen as asked; one that is missing or does not start says what to do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import get_args, get_type_hints

import pytest
import torch

from sr3d_core.config import Network
from sr3d_core.detector import Detector
from sr3d_core.sparse import engine as engines
from sr3d_core.sparse.engine import engine_for
from sr3d_core.sparse.engine_list import BACKENDS, ENGINES
from sr3d_ros.parameters.record import specifications

BACKEND_FILES = Path(engines.__file__).parent / "backends"
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_auto_is_numba_on_a_cpu() -> None:
    pytest.importorskip("numba")
    assert engine_for("auto", CPU).name == "numba"


def test_auto_is_triton_on_a_gpu() -> None:
    pytest.importorskip("triton")
    assert engine_for("auto", GPU).name == "triton"


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'fast'.*numba"):
        engine_for("fast", CPU)


def test_numba_does_not_run_on_a_gpu() -> None:
    with pytest.raises(ValueError, match=r"not on cuda; .*auto"):
        engine_for("numba", GPU)


def test_torchsparse_does_not_run_on_a_cpu() -> None:
    with pytest.raises(ValueError, match="runs on a GPU, not on cpu; use auto or torch"):
        engine_for("torchsparse", CPU)


def test_configuration_and_node_offer_every_engine() -> None:
    assert get_args(get_type_hints(Network)["backend"]) == BACKENDS == ("auto", *ENGINES)
    (parameter,) = (each for each in specifications() if each.name == "model.backend")
    assert parameter.choices == BACKENDS


@pytest.mark.parametrize("name", ENGINES)
def test_every_listed_engine_is_where_the_list_says(name: str) -> None:
    """Read, not imported: the packages of most engines are optional."""
    module, _, engine = ENGINES[name].place.rpartition(".")
    path = BACKEND_FILES / f"{module.replace('.', '/')}.py"
    assert engine in {
        node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)
    }
    assert set(ENGINES[name].devices) <= {"cpu", "cuda"}


def test_a_new_engine_is_one_entry_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "mine", replace(ENGINES["torch"], devices=("cpu",)))
    monkeypatch.setattr(engines, "BACKENDS", ("auto", *ENGINES))
    assert engine_for("mine", CPU).name == "torch"
    with pytest.raises(ValueError, match="backend 'mine' runs on a CPU"):
        engine_for("mine", GPU)


def test_the_list_of_engines_needs_no_torch() -> None:
    code = "import sys, sr3d_core.sparse.engine_list; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_detector_takes_its_engine_by_name() -> None:
    detector = Detector.from_checkpoint(device="cpu", backend="torch")
    assert detector.network.backend == "torch"
    with pytest.raises(ValueError, match="backend 'fast' is unknown"):
        Detector.from_checkpoint(device="cpu", backend="fast")


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    engines._engine.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    yield
    engines._engine.cache_clear()


@pytest.mark.usefixtures("without_packages")
@pytest.mark.parametrize(("device", "missing"), [(CPU, "numba"), (GPU, "triton")])
def test_where_the_fast_engine_is_missing_torch_takes_over_and_says_so_once(
    device: torch.device, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert engine_for("auto", device).name == "torch"
    assert engine_for("auto", device).name == "torch"
    assert len(caplog.messages) == 1
    assert f"needs the package {missing}" in caplog.messages[0]


@pytest.mark.usefixtures("without_packages")
@pytest.mark.parametrize(
    ("backend", "advice"),
    [
        ("numba", "pip install numba"),
        ("triton", "pip install triton"),
        ("spconv", "pip install spconv"),
        ("torchsparse", "build 2.1 from github"),
    ],
)
def test_asking_for_a_missing_engine_says_what_to_install(backend: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        engine_for(backend, CPU if backend in ("numba", "spconv") else GPU)


def test_an_engine_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    engines._engine.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "torchsparse", None)
    with pytest.raises(ValueError, match="does not start: ModuleNotFoundError"):
        engine_for("torchsparse", GPU)


def test_a_torchsparse_that_multiplies_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stand-in: torchsparse needs a GPU to be imported."""
    package, functional = ModuleType("torchsparse"), ModuleType("torchsparse.nn.functional")
    package.SparseTensor = lambda coords, feats: SimpleNamespace(feats=feats)  # type: ignore
    functional.conv3d = lambda x, weight, kernel_size: x  # type: ignore[attr-defined]
    nn_module = ModuleType("torchsparse.nn")
    nn_module.functional = functional  # type: ignore[attr-defined]
    for module in (package, nn_module, functional):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    name = "sr3d_core.sparse.backends.torchsparse"
    monkeypatch.delitem(sys.modules, name, raising=False)
    adapter = import_module(name)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(RuntimeError, match="differs from the torch engine"):
        adapter.TorchsparseEngine("cpu")
