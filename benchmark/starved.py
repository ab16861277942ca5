"""Do the tests hold on a starved machine? They run beside eight processes that never rest.

    .venv/bin/python benchmark/starved.py                        make test-core test-ros
    .venv/bin/python benchmark/starved.py make test-ros
    .venv/bin/python benchmark/starved.py .venv/bin/python -m pytest test/test_worker.py

What fails here and nowhere else waits for a time instead of an event. The output of the tests goes
to standard error; prints one JSON object with the tests that failed, and ends with the exit status
of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ALL = ("make", "test-core", "test-ros")
BUSY = "while True: pass"
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def main() -> int:
    """Run the tests, and print what failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--busy", type=int, default=8, help="processes that never rest")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what runs the tests")
    options = parser.parse_args()
    command = options.command or list(ALL)
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(options.busy)]
    try:
        told = run(command)
    finally:
        for process in busy:
            process.kill()
    metadata = {"cpus": os.cpu_count(), "busy": options.busy}
    print(json.dumps({"metadata": metadata, **told}, indent=1))
    return int(told["exit_status"])


def run(command: list[str]) -> dict[str, Any]:
    """How a command ended, how long it took, and the tests that it says have failed."""
    started_s = time.perf_counter()
    printed = []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            printed.append(line)
    return {
        "command": command,
        "exit_status": process.returncode,
        "seconds": round(time.perf_counter() - started_s),
        "failed": FAILED.findall("".join(printed)),
    }


if __name__ == "__main__":
    sys.exit(main())
