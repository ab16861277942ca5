"""Find or make the ROS 2 environments of the tests, and run a Python command in each of them.

    .venv/bin/python make/ros_environment.py kilted,jazzy -m pytest test/ros
    .venv/bin/python make/ros_environment.py --at-once kilted,jazzy -m pytest test/ros

The first argument names the distributions; the command runs on one after the other, until it
fails. With `--at-once` it runs on all of them at the same time, for tests, which wait more than
they work: what it prints on the first is shown as it comes, on the others when it has ended.

1. Where a ROS 2 installation is sourced whose rclpy this interpreter can import, it is used as it
   is, once, instead of all of them; only the messages of `sr3d_ros` are compiled, unless a
   colcon workspace already provides them.
2. Otherwise `.venv-kilted` and `.venv-jazzy` are made from pip wheels (ros_kilted.txt,
   ros_jazzy.txt), and the message packages of test/interfaces are compiled into them. Digests
   in them make the second run immediate. tf2_ros and diagnostic_updater have no wheels: the
   modules of test/ros/stand_ins are on the path instead.
3. Where neither exists (no wheels for this machine or Python), one line says so: nothing is run.

These environments are apart from the interpreter that runs this script because the wheels replace
whatever Python starts in their environment by one with other library paths. Torch and the rest
are not installed twice: a `.pth` file appends this interpreter's site-packages to the path,
behind the environment's own, so that nothing there can hide a ROS package.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTIONS = ("kilted", "jazzy")
NOT_FIRST = "SR3D_NOT_FIRST"
"""Set where tests run on another distribution at once: what needs no repetition is left to it."""
AT_ONCE = "--at-once"
INTERFACES = ROOT / "test" / "interfaces"
STAND_INS = ROOT / "test" / "ros" / "stand_ins"
"""Packages that package.xml requires and that have no wheel."""
REQUIRED = {
    **{name: name for name in ("vision_msgs", "tf2_msgs", "diagnostic_updater")},
    "tf2_ros": "tf2_ros_py",
}
"""Python modules that a small installation of ROS may lack, and the packages that bring them."""
WHEEL_PYTHONS = ((3, 10), (3, 13))
BUILDERS_HEADERS = (
    (re.compile(r"/opt/python/cp\d+-cp\d+/include/python3\.\d+"), "python"),
    (re.compile(r"/opt/python/[^;\"\s]*/numpy/_?core/include"), "numpy"),
)
"""The headers of the machine that built the wheels, as their CMake files name them."""


@dataclass(frozen=True)
class Wheels:
    """A distribution from pip wheels and the environment that is made of them."""

    distribution: str
    folder: Path = ROOT

    @property
    def venv(self) -> Path:
        """The environment's folder."""
        return self.folder / f".venv-{self.distribution}"

    @property
    def requirements(self) -> Path:
        """The exact versions of its packages."""
        return ROOT / "make" / f"ros_{self.distribution}.txt"


def main(arguments: list[str]) -> int:
    """Run `python ARGUMENTS` where rclpy works; the exit status is the first that is not 0."""
    is_at_once = arguments[0] == AT_ONCE
    distributions, *command = arguments[is_at_once:]
    wanted = [Wheels(name) for name in distributions.split(",")]
    if "ROS_DISTRO" in os.environ and is_importable("rclpy"):
        return start_python(*sourced_installation(), command).wait()
    if (reason := why_no_wheels()) is not None:
        print(f"ROS tests skipped: no ROS 2 installation is sourced, and {reason}")
        return 0
    if is_at_once:
        return run_at_once(wanted, command)
    for wheels in wanted:
        environment = wheels_environment(wheels)
        print(f"on ROS 2 {wheels.distribution}:", flush=True)
        if status := start_python(*environment, command).wait():
            return status
    return 0


def run_at_once(wanted: list[Wheels], command: list[str]) -> int:
    """The first exit status that is not 0; what is printed on each distribution stays together."""
    environments = [wheels_environment(wheels) for wheels in wanted]
    for _, variables in environments[1:]:
        variables[NOT_FIRST] = "1"
    with contextlib.ExitStack() as stack:
        outputs = [None, *(stack.enter_context(tempfile.TemporaryFile()) for _ in wanted[1:])]
        processes = [
            stack.enter_context(start_python(*environment, command, output))
            for environment, output in zip(environments, outputs, strict=True)
        ]
        statuses = []
        for wheels, process, output in zip(wanted, processes, outputs, strict=True):
            print(f"on ROS 2 {wheels.distribution}:", flush=True)
            statuses.append(process.wait())
            if output is not None:
                output.seek(0)
                print(output.read().decode(errors="replace"), end="", flush=True)
    return next(filter(None, statuses), 0)


def start_python(
    python: Path,
    environment: dict[str, str],
    command: list[str],
    output: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """A Python command on a ROS domain of its own, on this machine alone.

    The modules of the checkout come first, also for a script of another folder and its children.
    """
    paths = [str(ROOT), environment.get("PYTHONPATH")]
    if environment.get("ROS_DISTRO") == "humble":
        environment["ROS_LOCALHOST_ONLY"] = "1"  # newer ones know the range and warn of this
    environment.update(
        PYTHONPATH=os.pathsep.join(filter(None, paths)),
        ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
        ROS_DOMAIN_ID=os.environ.get("ROS_DOMAIN_ID", str(secrets.randbelow(102))),
        ROS_PYTHON_CHECK_FIELDS="1",
    )
    return subprocess.Popen(
        [str(python), *command], cwd=ROOT, env=environment, stdout=output, stderr=output
    )


def is_importable(module: str) -> bool:
    """Whether this interpreter finds a module, also where its package is missing."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def why_no_wheels() -> str | None:
    """Why the wheels do not fit here; None if they do."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"there are no ROS wheels for {sys.platform} {platform.machine()}"
    if not WHEEL_PYTHONS[0] <= sys.version_info[:2] <= WHEEL_PYTHONS[1]:
        return f"there are no ROS wheels for Python {platform.python_version()}"
    return None


def sourced_installation() -> tuple[Path, dict[str, str]]:
    """This interpreter, with an overlay that holds the messages of `sr3d_ros`."""
    environment = dict(os.environ)
    for module, package in REQUIRED.items():
        if not is_importable(module):
            distribution = environment["ROS_DISTRO"]
            debian = f"ros-{distribution}-{package.replace('_', '-')}"
            raise SystemExit(f"{package} is missing in ROS {distribution}: apt install {debian}")
    if not is_importable("sr3d_ros.msg"):
        prefix = ROOT / "build" / "ros" / environment["ROS_DISTRO"]
        system_python = Path(shutil.which("python3", path="/usr/bin") or sys.executable)
        compile_interfaces("sr3d_ros", prefix, system_python, environment)
        for name, folder in overlay_paths(prefix):
            environment[name] = os.pathsep.join(filter(None, [folder, environment.get(name)]))
    return Path(sys.executable), environment


def overlay_paths(prefix: Path) -> list[tuple[str, str]]:
    """The search paths that make an installed message package visible."""
    modules = [path.parent for path in prefix.glob("**/sr3d_ros/msg")]
    site = [path.parent for path in modules if path.parent.name.endswith("-packages")]
    return [
        ("AMENT_PREFIX_PATH", str(prefix)),
        ("LD_LIBRARY_PATH", str(prefix / "lib")),
        *(("PYTHONPATH", str(path)) for path in site),
    ]


def wheels_environment(wheels: Wheels) -> tuple[Path, dict[str, str]]:
    """The environment of pip wheels, made or brought up to date."""
    python = wheels.venv / "bin" / "python"
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "VIRTUAL_ENV")
    }
    environment["PYTHONPATH"] = str(STAND_INS)
    environment["AMENT_PREFIX_PATH"] = str(wheels.venv)
    environment["ROS_DISTRO"] = wheels.distribution  # the wheels themselves do not say it
    numpy = importlib.metadata.version("numpy")
    installed = digest([wheels.requirements], sys.version, our_packages(), numpy)
    if not is_up_to_date(wheels, "installed", installed):
        install_wheels(wheels, python, environment)
        write_stamp(wheels, "installed", installed)
    sources = [
        *INTERFACES.glob("**/*"),
        *(ROOT / "msg").glob("*.msg"),
        *(ROOT / "srv").glob("*.srv"),
    ]
    compiled = digest(path for path in sources if path.is_file())
    if not is_up_to_date(wheels, "compiled", compiled):
        for package in ("vision_msgs", "tf2_msgs", "sr3d_ros"):
            compile_interfaces(package, wheels.venv, python, environment)
        write_stamp(wheels, "compiled", compiled)
    return python, environment


def install_wheels(wheels: Wheels, python: Path, environment: dict[str, str]) -> None:
    """A fresh environment that also sees the packages of this interpreter."""
    name = f"{wheels.venv.name}: ROS 2 {wheels.distribution.title()}"
    print(f"making {name} from pip wheels (about a minute)", flush=True)
    shutil.rmtree(wheels.venv, ignore_errors=True)
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    run([str(base), "-m", "venv", str(wheels.venv)], environment)
    numpy = f"numpy=={importlib.metadata.version('numpy')}"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--requirement", str(wheels.requirements), numpy], environment)
    site = sysconfig.get_path("purelib", vars={"base": str(wheels.venv)})
    Path(site, "zz_packages_of_the_main_environment.pth").write_text(our_packages() + "\n")
    point_at_our_headers(wheels.venv, python, environment)


def our_packages() -> str:
    """The folder of this interpreter's packages, the same through every link to it."""
    return os.path.realpath(sysconfig.get_path("purelib"))


def point_at_our_headers(venv: Path, python: Path, environment: dict[str, str]) -> None:
    """Let the CMake files of the wheels name the headers that exist here.

    Exported targets carry absolute folders of the machine that built the wheels; CMake refuses
    targets whose include folders do not exist.
    """
    ask = "import sysconfig, numpy; print(sysconfig.get_path('include'), numpy.get_include())"
    found = run([str(python), "-c", ask], environment).split()
    headers = dict(zip(("python", "numpy"), found, strict=True))
    for path in venv.glob("share/**/*.cmake"):
        text = path.read_text()
        for pattern, kind in BUILDERS_HEADERS:
            text = pattern.sub(headers[kind], text)
        path.write_text(text)


def compile_interfaces(
    package: str, prefix: Path, python: Path, environment: dict[str, str]
) -> None:
    """Compile a package of test/interfaces and install it into `prefix`."""
    print(f"compiling the messages of {package}", flush=True)
    build = ROOT / "build" / "interfaces" / prefix.name / package
    shutil.rmtree(build, ignore_errors=True)
    tools = python.parent
    environment = {**environment, "PATH": f"{tools}{os.pathsep}{environment['PATH']}"}
    run(
        [
            *("cmake", "-S", str(INTERFACES / package), "-B", str(build), "-G", "Ninja"),
            f"-DCMAKE_PREFIX_PATH={environment['AMENT_PREFIX_PATH'].replace(os.pathsep, ';')}",
            f"-DCMAKE_INSTALL_PREFIX={prefix}",
            f"-DPython3_EXECUTABLE={python}",
            "-DCMAKE_BUILD_TYPE=Release",
        ],
        environment,
    )
    run(["cmake", "--build", str(build)], environment)
    run(["cmake", "--install", str(build)], environment)


def run(command: list[str], environment: dict[str, str]) -> str:
    """What a command prints; its whole output and an exit if it fails."""
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        raise SystemExit(f"exit status {done.returncode} of: {' '.join(command)}")
    return done.stdout


def digest(files: Iterable[Path], *also: str) -> str:
    """One fingerprint of the contents of files and of some words."""
    whole = hashlib.sha256("\n".join(also).encode())
    for path in sorted(files):
        whole.update(path.relative_to(ROOT).as_posix().encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def is_up_to_date(wheels: Wheels, step: str, fingerprint: str) -> bool:
    """Whether a step was finished for exactly these inputs."""
    stamp = wheels.venv / f"{step}.stamp"
    return stamp.is_file() and stamp.read_text() == fingerprint


def write_stamp(wheels: Wheels, step: str, fingerprint: str) -> None:
    """Remember that a step is finished."""
    (wheels.venv / f"{step}.stamp").write_text(fingerprint)


if __name__ == "__main__":
    given = sys.argv[1 + (sys.argv[1:2] == [AT_ONCE]) :]
    if len(given) < 2 or not set(given[0].split(",")) <= set(DISTRIBUTIONS):
        names = ",".join(DISTRIBUTIONS)
        sys.exit(f"usage: ros_environment.py [{AT_ONCE}] {names} PYTHON_ARGUMENTS...")
    sys.exit(main(sys.argv[1:]))
