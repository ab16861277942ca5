"""Files of torch.save are read without running what is in them, whoever wrote them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tr3d_checkpoints import save

from sr3d_core.torch_file import TorchFileError, Unread, read_torch_file

FORMATS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


class Command:
    """Makes a file when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@FORMATS
def test_tensors_and_plain_values_are_what_was_written(tmp_path: Path, legacy: bool) -> None:
    weights = OrderedDict(half=torch.arange(6.0).half().reshape(2, 3), view=torch.ones(4, 4)[1:3])
    content = {"state_dict": weights, "meta": {"epoch": 12, "CLASSES": ("a", "b"), "none": None}}
    read = read_torch_file(save(tmp_path / "a.pth", content, legacy))
    assert read["meta"] == content["meta"]
    for name, tensor in weights.items():
        assert torch.equal(read["state_dict"][name], tensor)
        assert read["state_dict"][name].dtype == tensor.dtype


@FORMATS
def test_numbers_of_numpy_are_left_out_and_the_rest_is_read(tmp_path: Path, legacy: bool) -> None:
    content = {"meta": {"lr": np.float64(0.001), "map": np.arange(3)}, "w": torch.ones(2)}
    read = read_torch_file(save(tmp_path / "a.pth", content, legacy))
    assert isinstance(read["meta"]["lr"], Unread)
    assert isinstance(read["meta"]["map"], Unread)
    assert torch.equal(read["w"], torch.ones(2))


@FORMATS
def test_objects_of_training_programs_need_not_be_installed(
    tmp_path: Path, legacy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("mmengine.history")
    kind = type("HistoryBuffer", (dict,), {"__module__": module.__name__})
    module.HistoryBuffer = kind  # type: ignore[attr-defined]
    log = kind()
    log.values = np.ones(3)
    with monkeypatch.context() as installed:
        installed.setitem(sys.modules, "mmengine", ModuleType("mmengine"))
        installed.setitem(sys.modules, module.__name__, module)
        path = save(tmp_path / "a.pth", {"w": torch.ones(2), "hub": {"loss": log}}, legacy)
    read = read_torch_file(path)
    assert isinstance(read["hub"]["loss"], Unread)
    assert not hasattr(read["hub"]["loss"], "values")


@FORMATS
@pytest.mark.parametrize(
    "function", [os.system, exec, subprocess.call, Path.touch, eval], ids=lambda one: one.__name__
)
def test_what_would_run_a_command_is_refused_and_not_run(
    tmp_path: Path, legacy: bool, function: Any
) -> None:
    victim = tmp_path / "victim"
    commands = {os.system: f"touch {victim}", subprocess.call: ["touch", str(victim)]}
    argument = commands.get(function, f"open({str(victim)!r}, 'w').close()")
    argument = victim if function is Path.touch else argument
    path = save(tmp_path / "a.pth", {"w": torch.ones(2), "x": Command(function, argument)}, legacy)
    with pytest.raises(TorchFileError, match=r"a\.pth: .*nothing of it was run"):
        read_torch_file(path)
    assert not victim.exists()
    torch.load(path, weights_only=False)  # it does harm where it is run
    assert victim.exists()


def test_functions_of_tolerated_packages_are_not_run_either(tmp_path: Path) -> None:
    victim = tmp_path / "victim.pth"
    path = save(tmp_path / "a.pth", {"x": Command(torch.save, {}, str(victim))})
    assert isinstance(read_torch_file(path)["x"], Unread)
    assert not victim.exists()


def test_a_plain_pickle_that_runs_something_is_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    for protocol in (0, 2, 4):
        path = tmp_path / f"{protocol}.pth"
        path.write_bytes(pickle.dumps(Command(os.system, f"touch {victim}"), protocol))
        with pytest.raises(TorchFileError, match=path.name):
            read_torch_file(path)
    assert not victim.exists()


@pytest.mark.parametrize("size", [0, 1, 10, 400])
@FORMATS
def test_a_file_cut_short_is_refused_by_its_name(tmp_path: Path, legacy: bool, size: int) -> None:
    path = save(tmp_path / "a.pth", {"w": torch.ones(200)}, legacy)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(TorchFileError, match=r"a\.pth: .*expected a checkpoint"):
        read_torch_file(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    text, archive, missing = tmp_path / "a.txt", tmp_path / "a.zip", tmp_path / "nowhere.pth"
    text.write_text("these are not weights")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("notes.txt", "nor these")
    for path in (text, archive, missing):
        with pytest.raises(TorchFileError, match=path.name):
            read_torch_file(path)


def test_code_of_torchscript_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", {"w": torch.ones(2)})
    with zipfile.ZipFile(path, "a") as archive:  # what torch tells TorchScript by
        archive.writestr("a/code/__torch__.py", "raise SystemExit")
        archive.writestr("a/constants.pkl", pickle.dumps(()))
    with pytest.raises(TorchFileError, match="TorchScript"):
        read_torch_file(path)
