"""What the doctor has found so far; nothing of ROS is imported, as that may be what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sr3d_core.machine.findings import Finding, examined, skip

LOOKED_AT = ("topic", "qos", "arrival", "stamp", "cloud", "units", "tf", "up", "filter")
"""The checks of one cloud."""


class Findings:
    """Findings, told as they come."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self._tell = tell
        self.all: list[Finding] = []

    def add(self, finding: Finding) -> bool:
        """Note a finding; whether one may go on from here."""
        self.all.append(finding)
        self._tell(finding)
        return finding.status in ("ok", "warn")

    def examine(self, name: str, check: Callable[[], Finding]) -> bool:
        """Note the result of a check; whether one may go on from here."""
        return self.add(examined(name, check))

    def skip_rest(self, names: Sequence[str], why: str) -> None:
        """Note what cannot be looked at, of these names; told in one line."""
        done = {finding.name for finding in self.all}
        left = [name for name in names if name not in done]
        self.all += [skip(name, why) for name in left]
        if left:
            self._tell(skip("others", f"{why} ({', '.join(left)})"))
