"""Does everything that detection needs work on this machine? One small function per question.

`setting` is how the one who asks sets what is checked: "--device" in a terminal, "model.device"
on a robot; remedies name it.
Nothing but the standard library is imported before a check runs, so that each of them can say
what is missing.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from sr3d_core.machine.extras import EXTRAS, distribution_of, how_to_install
from sr3d_core.machine.findings import Finding, fail, ok, warn

if TYPE_CHECKING:
    from sr3d_core.detector import Detector
    from sr3d_core.structures import Images, PointCloud

OLDEST_PYTHON = (3, 10)
SLOW_MS = 1000.0
"""A robot that sees less than once a second walks into what it should see."""
_PACKAGES = ("numpy", "pydantic", "safetensors", "jaxtyping", "PyYAML")


def check_python() -> Finding:
    """The interpreter, and whether it is new enough."""
    text = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return fail("python", text, "use Python 3.10 or newer")
    if "CONDA_PREFIX" in os.environ and "ROS_DISTRO" in os.environ:
        return warn("python", f"{text}, in conda", "ROS needs the system's Python: deactivate it")
    return ok("python", text)


def check_torch() -> Finding:
    """Torch and its threads."""
    remedy = f"install it for this interpreter: {sys.executable} -m pip install torch"
    try:
        import torch
    except ImportError as error:
        return fail("torch", f"does not import ({error})", remedy)
    return ok("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")


def check_packages() -> Finding:
    """The small packages that detection needs."""
    found, missing = [], []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        return fail(
            "packages",
            f"missing: {', '.join(missing)}",
            f"install them for this interpreter: {sys.executable} -m pip install "
            + " ".join(missing),
        )
    return ok("packages", ", ".join(found))


def check_extras() -> Finding:
    """What single commands need on top."""
    found = []
    for package in EXTRAS:
        try:
            found.append(f"{package} {version(distribution_of(package))}")
        except PackageNotFoundError:
            found.append(f"no {package} ({how_to_install(package)})")
    return ok("extras", ", ".join(found))


def check_gpu(device: str, setting: str = "--device") -> Finding:
    """Whether the device that is asked for is there, and whether a GPU lies idle."""
    import torch

    from sr3d_core.detector import choose_device

    try:
        chosen = choose_device(device)
    except ValueError as error:
        return fail(
            "gpu",
            str(error),
            f"set {setting} to auto or cpu, or install the driver and a torch with CUDA",
        )
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if chosen.type == "cuda":
        return ok("gpu", f"{names[chosen.index or 0]}, asked for: {device}")
    if names:
        return warn("gpu", f"{', '.join(names)} is not used", f"set {setting} to auto")
    return ok("gpu", f"none, the network runs on the CPU; asked for: {device}")


def check_engine(device: str, backend: str = "auto", setting: str = "--backend") -> Finding:
    """Which engine of sparse convolution is taken on this device."""
    from sr3d_core.detector import choose_device
    from sr3d_core.sparse.engine import engine_for

    try:
        chosen = choose_device(device)
    except ValueError:
        return warn("engine", "unknown without the device", "see gpu")
    try:
        engine = engine_for(backend, chosen)
    except ValueError as error:
        return fail("engine", str(error), f"set {setting} to auto")
    text = f"{engine.name} on {chosen}"
    if chosen.type == "cpu" and engine.name == "torch":
        return warn("engine", text, "numba is several times faster: pip install numba")
    return ok("engine", text)


def check_engines(device: str) -> Finding:
    """Which engines run on this device, and why the others do not."""
    from sr3d_core.detector import choose_device
    from sr3d_core.sparse.engine import engine_for
    from sr3d_core.sparse.engine_list import ENGINES

    try:
        chosen = choose_device(device)
    except ValueError:
        return warn("engines", "unknown without the device", "see gpu")
    running, others = [], []
    for name in ENGINES:
        try:
            engine_for(name, chosen)
            running.append(name)
        except ValueError as error:
            others.append(f"\n    not {name}: {error}")
    return ok("engines", f"{', '.join(running)} run on {chosen}{''.join(others)}")


def check_weights(weights: str, setting: str = "--weights") -> Finding:
    """Whether the weights file is there, whole and ours."""
    from sr3d_core.checkpoint import CheckpointError, read_manifest

    try:
        manifest = read_manifest(weights)
    except CheckpointError as error:
        remedy = f"set {setting} to the path of a weights file, or to default"
        return fail("weights", str(error), remedy)
    return ok("weights", f"{weights}: sound, {len(manifest.classes)} classes")


def check_inference(
    load: Callable[[], Detector],
    cloud: PointCloud | None = None,
    relief: str = "close other programs, or use a GPU",
) -> Finding:
    """One detection in a cloud that is z up, or in a made-up floor, timed after a first one.

    Weights of color images look at a black one. `relief` is what to do where it takes too long.
    """
    from sr3d_core.detector import black_image

    try:
        detector = load()
    except (ValueError, OSError) as error:
        return fail("inference", f"not possible: {error}", "see weights, gpu and engine")
    seen: PointCloud | Images
    if detector.takes_images:
        seen, what = black_image(), "a black image"
    elif cloud is not None and len(cloud) > 0:
        seen, what = cloud, f"{len(cloud):,} points"
    else:
        seen = made_up_floor()
        what = f"{len(seen):,} made-up points"
    detector.detect(seen)
    started = time.perf_counter()
    found = detector.detect(seen)
    elapsed_ms = 1e3 * (time.perf_counter() - started)
    text = f"{elapsed_ms:.0f} ms for {what} on {detector.device}"
    text += f", {len(found)} boxes"
    if elapsed_ms > SLOW_MS:
        return warn("inference", text, relief)
    return ok("inference", text)


def made_up_floor() -> PointCloud:
    """20,000 points of a floor of 5 x 5 m, the same every time."""
    import torch

    from sr3d_core.structures import PointCloud

    floor = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0))
    return PointCloud.single(floor * torch.tensor([5.0, 5.0, 0.02]), None)
