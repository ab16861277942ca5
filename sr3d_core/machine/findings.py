"""What the doctors find: one result per check, shown on one screen or as JSON.

Shared by `sr3d doctor` and `ros2 run sr3d_ros doctor`. Needs the standard library alone: a doctor
must be able to say that everything else is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warn", "fail", "skip"]

_NO_COLOR = "\x1b[0m"
_COLORS: dict[Status, str] = {
    "ok": "\x1b[32m",
    "warn": "\x1b[33m",
    "fail": "\x1b[1;31m",
    "skip": "\x1b[2m",
}
_MARKS: dict[Status, str] = {"ok": "ok", "warn": "warn", "fail": "FAIL", "skip": "--"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to do about it where it is not fine."""

    name: str
    """What was looked at, in one word."""
    status: Status
    """ok; warn: it works, but probably not as wanted; fail: detection does not work so; skip: not
    looked at, because of an earlier failure."""
    text: str
    """What is there, with its numbers."""
    remedy: str = ""
    """What to do; empty where all is well."""


def ok(name: str, text: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", text)


def warn(name: str, text: str, remedy: str) -> Finding:
    """It works, but probably not as wanted."""
    return Finding(name, "warn", text, remedy)


def fail(name: str, text: str, remedy: str) -> Finding:
    """Detection does not work like this."""
    return Finding(name, "fail", text, remedy)


def skip(name: str, why: str) -> Finding:
    """Not looked at, because something before it failed."""
    return Finding(name, "skip", f"not examined: {why}")


def examined(name: str, check: Callable[[], Finding]) -> Finding:
    """The result of a check; what it raises is a failure too."""
    try:
        return check()
    except Exception as error:  # every failure is reported, whatever its type
        return fail(name, f"{type(error).__name__}: {error}", "see the text")


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Whether nothing failed."""
    return all(finding.status != "fail" for finding in findings)


def verdict(findings: Iterable[Finding]) -> str:
    """The last line for people: whether detection works, and what is to be read above."""
    statuses = [finding.status for finding in findings]
    num_failures, num_warnings = statuses.count("fail"), statuses.count("warn")
    warnings = f"{num_warnings} warning{'s' if num_warnings > 1 else ''}"
    if num_failures:
        failures = f"{num_failures} failure{'s' if num_failures > 1 else ''}"
        return f"not well: {failures}{f' and {warnings}' if num_warnings else ''} above"
    return f"it will run; {warnings} above" if num_warnings else "all is well"


def lines_of(finding: Finding, colored: bool) -> str:
    """A finding for people: a line, and a second one with the remedy."""
    mark = f"{_MARKS[finding.status]:4}"
    if colored:
        mark = f"{_COLORS[finding.status]}{mark}{_NO_COLOR}"
    line = f"{mark} {finding.name:11} {finding.text}"
    return f"{line}\n{'':17}-> {finding.remedy}" if finding.remedy else line


def as_record(findings: Iterable[Finding]) -> dict[str, Any]:
    """The findings for programs."""
    listed = list(findings)
    return {"ok": is_healthy(listed), "findings": [asdict(finding) for finding in listed]}
