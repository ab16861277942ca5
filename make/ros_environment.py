"""Find or make the ROS 2 environment of the tests, then run a Python command in it.

    .venv/bin/python make/ros_environment.py -m pytest test/ros

In this order:

1. A sourced ROS 2 installation whose rclpy this interpreter can import is used as it is; only
   the messages of `sr3d_ros` are compiled, unless a colcon workspace already provides them.
2. Otherwise `.venv-kilted` is made from pip wheels (ros_kilted.txt), and the message packages
   of test/interfaces are compiled into it. Digests in it make the second run immediate.
3. Where neither exists (no wheels for this machine or Python), one line says so: nothing is run.

`.venv-kilted` is apart from the interpreter that runs this script because the wheels replace
whatever Python starts in their environment by one with other library paths. Torch and the rest
are not installed twice: a `.pth` file appends this interpreter's site-packages to the path,
behind the environment's own, so that nothing there can hide a ROS package.
"""

from __future__ import annotations

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
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-kilted"
REQUIREMENTS = ROOT / "make" / "ros_kilted.txt"
INTERFACES = ROOT / "test" / "interfaces"
WHEEL_PYTHONS = ((3, 10), (3, 13))
BUILDERS_HEADERS = (
    (re.compile(r"/opt/python/cp\d+-cp\d+/include/python3\.\d+"), "python"),
    (re.compile(r"/opt/python/[^;\"\s]*/numpy/_?core/include"), "numpy"),
)
"""The headers of the machine that built the wheels, as their CMake files name them."""


def main(arguments: list[str]) -> int:
    """Run `python ARGUMENTS` where rclpy works; the exit status is the command's."""
    if "ROS_DISTRO" in os.environ and is_importable("rclpy"):
        python, environment = sourced_installation()
    elif (reason := why_no_wheels()) is not None:
        print(f"ROS tests skipped: no ROS 2 installation is sourced, and {reason}")
        return 0
    else:
        python, environment = wheels_environment()
    if environment.get("ROS_DISTRO") == "humble":
        environment["ROS_LOCALHOST_ONLY"] = "1"  # newer ones know the range and warn of this
    environment.update(
        ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
        ROS_DOMAIN_ID=os.environ.get("ROS_DOMAIN_ID", str(secrets.randbelow(102))),
        ROS_PYTHON_CHECK_FIELDS="1",
    )
    return subprocess.run([str(python), *arguments], cwd=ROOT, env=environment).returncode


def is_importable(module: str) -> bool:
    """Whether this interpreter finds a module, also where its package is missing."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def why_no_wheels() -> str | None:
    """Why the Kilted wheels do not fit here; None if they do."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"there are no ROS wheels for {sys.platform} {platform.machine()}"
    if not WHEEL_PYTHONS[0] <= sys.version_info[:2] <= WHEEL_PYTHONS[1]:
        return f"there are no ROS wheels for Python {platform.python_version()}"
    return None


def sourced_installation() -> tuple[Path, dict[str, str]]:
    """This interpreter, with an overlay that holds the messages of `sr3d_ros`."""
    environment = dict(os.environ)
    for package in ("vision_msgs", "tf2_msgs"):
        if not is_importable(package):
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


def wheels_environment() -> tuple[Path, dict[str, str]]:
    """The environment of pip wheels, made or brought up to date."""
    python = VENV / "bin" / "python"
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "VIRTUAL_ENV")
    }
    environment["AMENT_PREFIX_PATH"] = str(VENV)
    numpy = importlib.metadata.version("numpy")
    installed = digest([REQUIREMENTS], sys.version, sysconfig.get_path("purelib"), numpy)
    if not is_up_to_date("installed", installed):
        install_wheels(python, environment)
        write_stamp("installed", installed)
    sources = [*INTERFACES.glob("**/*"), *(ROOT / "msg").glob("*.msg")]
    compiled = digest(path for path in sources if path.is_file())
    if not is_up_to_date("compiled", compiled):
        for package in ("vision_msgs", "tf2_msgs", "sr3d_ros"):
            compile_interfaces(package, VENV, python, environment)
        write_stamp("compiled", compiled)
    return python, environment


def install_wheels(python: Path, environment: dict[str, str]) -> None:
    """A fresh `.venv-kilted` that also sees the packages of this interpreter."""
    print(f"making {VENV.name}: ROS 2 Kilted from pip wheels (about a minute)", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    run([str(base), "-m", "venv", str(VENV)], environment)
    numpy = f"numpy=={importlib.metadata.version('numpy')}"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--requirement", str(REQUIREMENTS), numpy], environment)
    site = sysconfig.get_path("purelib", vars={"base": str(VENV)})
    Path(site, "zz_packages_of_the_main_environment.pth").write_text(
        sysconfig.get_path("purelib") + "\n"
    )
    point_at_our_headers(python, environment)


def point_at_our_headers(python: Path, environment: dict[str, str]) -> None:
    """Let the CMake files of the wheels name the headers that exist here.

    Exported targets carry absolute folders of the machine that built the wheels; CMake refuses
    targets whose include folders do not exist.
    """
    ask = "import sysconfig, numpy; print(sysconfig.get_path('include'), numpy.get_include())"
    found = run([str(python), "-c", ask], environment).split()
    headers = dict(zip(("python", "numpy"), found, strict=True))
    for path in VENV.glob("share/**/*.cmake"):
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


def is_up_to_date(step: str, fingerprint: str) -> bool:
    """Whether a step was finished for exactly these inputs."""
    stamp = VENV / f"{step}.stamp"
    return stamp.is_file() and stamp.read_text() == fingerprint


def write_stamp(step: str, fingerprint: str) -> None:
    """Remember that a step is finished."""
    (VENV / f"{step}.stamp").write_text(fingerprint)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
