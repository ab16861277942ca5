"""What the tests of the doctors' checks share."""

from __future__ import annotations

from sr3d_core.machine.findings import Finding


def assert_failed(finding: Finding, text: str, remedy: str) -> None:
    assert finding.status == "fail", finding
    assert text in finding.text
    assert remedy in finding.remedy
