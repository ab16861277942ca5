"""How the doctors tell what they found."""

from __future__ import annotations

import pytest

from sr3d_core.machine.findings import (
    Finding,
    as_record,
    examined,
    fail,
    lines_of,
    ok,
    skip,
    verdict,
    warn,
)


def test_a_finding_is_a_line_and_its_remedy_another() -> None:
    assert lines_of(ok("torch", "2.4"), colored=False) == "ok   torch       2.4"
    assert lines_of(fail("qos", "bad", "mend it"), colored=False) == (
        "FAIL qos         bad\n                 -> mend it"
    )
    assert lines_of(warn("up", "a", "b"), colored=True).startswith("\x1b[33mwarn\x1b[0m up")


def test_an_exception_is_a_failed_check() -> None:
    def check() -> Finding:
        raise RuntimeError("boom")

    assert examined("torch", check).text == "RuntimeError: boom"
    assert examined("torch", check).status == "fail"


def test_only_failures_make_the_record_unhealthy() -> None:
    assert as_record([ok("a", ""), warn("b", "", "c"), skip("d", "e")])["ok"]
    record = as_record([fail("a", "text", "remedy")])
    assert record == {
        "ok": False,
        "findings": [{"name": "a", "status": "fail", "text": "text", "remedy": "remedy"}],
    }


@pytest.mark.parametrize(
    ("statuses", "line"),
    [
        ("", "all is well"),
        ("w", "it will run; 1 warning above"),
        ("ww", "it will run; 2 warnings above"),
        ("f", "not well: 1 failure above"),
        ("ffw", "not well: 2 failures and 1 warning above"),
    ],
)
def test_the_last_line_counts_what_is_to_be_read(statuses: str, line: str) -> None:
    made = {"w": warn("a", "", "b"), "f": fail("a", "", "b")}
    findings = [ok("a", ""), skip("a", ""), *(made[status] for status in statuses)]
    assert verdict(findings) == line
