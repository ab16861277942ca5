"""Threads of an engine give what one thread gives, whoever else is at work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, get_ident

import pytest
import torch
from engine_cases import NAMES, OUTPUT_TOLERANCE, assert_near, compiled_engine_on_cpu, voxels
from torch import Tensor, nn

from sr3d_core.sparse.backends.numba_cpu import threads
from sr3d_core.sparse.engine import Engine
from sr3d_core.sparse.layers import Conv3d, GenerativeUpConv3d
from sr3d_core.sparse.tensor import MapCache, SparseTensor


@pytest.fixture(params=NAMES)
def compiled_engine(request: pytest.FixtureRequest) -> Engine:
    return compiled_engine_on_cpu(request.param)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_two_threads_give_exactly_what_one_gives(compiled_engine: Engine) -> None:
    layer = Conv3d(64, 64, kernel=3)

    def run() -> list[Tensor]:
        x = voxels(compiled_engine, 64, num=3000)
        y = layer(x).features
        return [y, *torch.autograd.grad(y.square().sum(), [x.features, layer.kernel])]

    found = run()
    torch.set_num_threads(1)
    # torch's own products, which make spconv's weight gradients, add up in another order.
    tolerance = 0.0 if compiled_engine.name == "numba" else OUTPUT_TOLERANCE
    for each, expected in zip(found, run(), strict=True):
        assert_near(each, expected, tolerance)


@pytest.mark.usefixtures("two_threads")
def test_several_callers_at_once_do_not_disturb_each_other(compiled_engine: Engine) -> None:
    layer = Conv3d(64, 64, kernel=3)

    def run(seed: int) -> Tensor:
        with torch.no_grad():
            return layer(voxels(compiled_engine, 64, num=3000, seed=seed)).features

    expected = [run(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as callers:
        for _ in range(3):
            for found, wanted in zip(callers.map(run, range(4)), expected, strict=True):
                assert torch.equal(found, wanted)


@pytest.mark.usefixtures("two_threads")
def test_two_threads_build_the_maps_that_one_builds() -> None:
    engine = compiled_engine_on_cpu("numba")
    layers = nn.Sequential(
        Conv3d(4, 4, kernel=2, stride=2), Conv3d(4, 4, kernel=3), GenerativeUpConv3d(4, 4)
    )
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(0, 60, (40_000, 3), generator=generator)
    coords = torch.cat([torch.zeros(len(cells), 1, dtype=torch.int64), cells], 1).unique(dim=0)
    features = torch.randn(len(coords), 4, generator=generator)

    def run() -> SparseTensor:
        with torch.no_grad():
            y: SparseTensor = layers(SparseTensor(coords, features, 1, MapCache(engine)))
        return y

    found = run()
    torch.set_num_threads(1)
    expected = run()
    assert torch.equal(found.coords, expected.coords)
    assert torch.equal(found.features, expected.features)


@pytest.mark.usefixtures("two_threads")
def test_a_thread_that_wakes_too_late_is_not_waited_for() -> None:
    block = Event()
    threads.share(lambda counter: None, 2)  # the other thread exists
    others = threads._workers(os.getpid(), 1)
    busy = others.submit(block.wait)
    done: list[int] = []
    threads.share(lambda counter: done.append(len(counter)), 2)  # returns although it is busy
    block.set()
    assert busy.result()
    assert done == [1]


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_another_thread_is_raised() -> None:
    caller, is_raised = get_ident(), Event()

    def work(counter: object) -> None:
        if get_ident() == caller:
            assert is_raised.wait(60)
        else:
            is_raised.set()
            raise ValueError("from the other thread")

    with pytest.raises(ValueError, match="from the other thread"):
        threads.share(work, 2)
