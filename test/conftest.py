"""What all tests share: the worked examples, the real data folder, small clouds."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch

CHECKED = ("sparse", "model", "supervision", "geometry.camera", "geometry.distortion")
"""Parts whose annotated shapes and types are checked at every call while the tests run."""

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton is imported

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # So a shell starts what runs in its background, and processes that tests start inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

THREADS = 1  # small tensors; several test processes may run beside each other
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))  # for processes that tests start

jaxtyping.install_import_hook([f"sr3d_core.{part}" for part in CHECKED], "type_checks.check")
torch.set_num_threads(THREADS)


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """A test that lets its subject choose the number of threads leaves the next one's alone:
    trainings are the same to the last bit only where it is the same."""
    yield
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def worked() -> dict[str, Any]:
    """The worked examples of the method, by name."""
    path = Path(__file__).parent / "worked_examples.json"
    return json.loads(path.read_text())["examples"]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real clouds and bags; skips where SR3D_REAL_DATA is unset."""
    folder = os.environ.get("SR3D_REAL_DATA")
    if not folder:
        pytest.skip("SR3D_REAL_DATA is not set")
    return Path(folder).resolve()
