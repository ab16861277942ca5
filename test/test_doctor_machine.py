"""What both doctors ask of the machine: weights, GPU, engine; remedies name what can be typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cli_harness import save_untrained, sr3d
from doctor_harness import assert_failed

from sr3d_core.machine import checks


def test_missing_weights_are_found() -> None:
    finding = checks.check_weights("/nowhere/x.safetensors")
    assert_failed(finding, "/nowhere/x.safetensors: no such weights file", "set --weights to")


def test_damaged_weights_are_found(tmp_path: Path) -> None:
    path = Path(save_untrained(tmp_path))
    data = bytearray(path.read_bytes())
    data[-5] ^= 0xFF
    path.write_bytes(data)
    assert_failed(checks.check_weights(str(path)), "was changed or damaged", "weights")


def test_a_gpu_that_is_asked_for_and_not_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert_failed(checks.check_gpu("cuda"), "sees no GPU", "set --device to auto or cpu")


def test_a_missing_device_is_one_failure_not_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert checks.check_engine("cuda").status == "warn"


def test_a_gpu_that_is_not_used_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    assert checks.check_gpu("cpu").status == "warn"
    assert checks.check_gpu("auto").text == "GPU 0, asked for: auto"


def test_an_engine_that_does_not_exist_is_found() -> None:
    assert_failed(
        checks.check_engine("cpu", "abacus"), "'abacus' is unknown", "set --backend to auto"
    )


def test_a_robots_remedies_name_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu = checks.check_gpu("cuda", "model.device")
    assert_failed(gpu, "sees no GPU", "set model.device to auto or cpu")
    assert "--" not in gpu.text + gpu.remedy
    engine = checks.check_engine("cpu", "abacus", "model.backend")
    assert_failed(engine, "'abacus' is unknown", "set model.backend to auto")
    weights = checks.check_weights("/nowhere", "model.weights")
    assert_failed(weights, "no such weights file", "set model.weights to")


@pytest.mark.slow
def test_the_doctor_of_the_terminal_writes_json(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    result = sr3d("doctor", "--weights", "/nowhere.safetensors", "--json", path)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("not well: 2 failures")
    record = json.loads(path.read_text())
    assert not record["ok"]
    statuses = {finding["name"]: finding["status"] for finding in record["findings"]}
    assert statuses["weights"] == statuses["inference"] == "fail"
    assert statuses["torch"] == "ok"
