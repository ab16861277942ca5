"""The list of engines: their names, where they run and what they need.

A new engine is its file under backends/ and one entry here; the command line, configurations and
the node offer what stands here. Nothing heavy is imported, neither torch nor an engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

Precision = Literal["float32", "bfloat16", "auto"]
"""What convolutions of a training multiply; auto: bfloat16 where an engine says it is faster."""


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """Where an engine is found, where it runs, and how to get what it needs."""

    place: str  # module under backends/ and class
    devices: tuple[str, ...]
    install: str = ""
    package: str = ""  # that it needs


ENGINES = {
    "torch": EngineEntry("native.TorchEngine", ("cpu", "cuda")),
    "numba": EngineEntry("numba_cpu.engine.NumbaEngine", ("cpu",), "pip install numba", "numba"),
    "int8": EngineEntry(
        "numba_cpu.byte_engine.ByteEngine", ("cpu",), "pip install numba", "numba"
    ),
    "triton": EngineEntry(
        "triton_cuda.engine.TritonEngine",
        ("cuda",),
        "pip install triton (Linux; torch's CUDA builds bring it)",
        "triton",
    ),
    "torchsparse": EngineEntry(
        "torchsparse.TorchsparseEngine",
        ("cuda",),
        "build 2.1 from github.com/mit-han-lab/torchsparse (it is on no registry)",
        "torchsparse",
    ),
    "spconv": EngineEntry(
        "spconv.SpconvEngine",
        ("cpu", "cuda"),
        "pip install spconv for a CPU, spconv-cu126 or the like for CUDA (x86-64 Linux)",
        "spconv",
    ),
}
"""All engines, present or not. `int8` is numba with products of bytes at inference, on an x86 CPU
with VNNI."""

FASTEST = {"cpu": "numba", "cuda": "triton"}
"""What `auto` means on each kind of device; torch alone where that is not installed."""

BACKENDS: tuple[str, ...] = ("auto", *ENGINES)
"""What a user may ask for."""

if TYPE_CHECKING:
    Backend = str
else:
    Backend = Literal[BACKENDS]
