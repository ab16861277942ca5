"""sr3d_ros and sr3d_core are installed apart on a robot; where they differ, both are named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import sr3d_core
import sr3d_ros
from sr3d_ros.doctor.main import check_versions
from sr3d_ros.versions import installed, require_one_version


def test_one_version_starts_and_the_doctor_names_both_folders() -> None:
    require_one_version()
    finding = check_versions()
    assert finding.status == "ok"
    for module in (sr3d_core, sr3d_ros):
        assert str(Path(str(module.__file__)).parent) in finding.text
        assert module.__version__ in finding.text


def test_two_versions_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sr3d_core, "__version__", "0.0.7")
    with pytest.raises(SystemExit) as stopped:
        require_one_version()
    text = str(stopped.value.code)  # a text is printed, the exit status is 1
    assert "sr3d_core 0.0.7" in text
    assert f"sr3d_ros {sr3d_ros.__version__}" in text
    assert "\n" not in text
    assert check_versions().status == "fail"


def test_a_copy_from_before_versions_were_compared_is_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(sr3d_core, "__version__")
    assert not installed()[1]


def test_a_missing_core_is_named_with_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sr3d_core", None)
    text, is_one_version = installed()
    assert not is_one_version
    assert "sr3d_core" in text
    assert sys.executable in text
