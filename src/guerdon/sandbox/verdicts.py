"""What comes out of the sandbox."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

STATUSES = (
    "passed",
    "failed",
    "error",
    "timeout",
    "memory",
    "output",
    "processes",
    "killed",
    "skipped",
    "not run",
)
"""Verdicts on one test. `failed`: an assertion; `error`: another exception; `skipped`: an assert the tests
did not reach although they ran to their end; `not run`: an earlier failure ended the run."""


@dataclass(frozen=True)
class TestVerdict:
    """One test of one candidate.

    Args:
        name: the test's name, or its line for an assert statement of a split test.
        status: one of `STATUSES`.
        text: exception and place, or the limit that was passed.
        stdout: the end of what the program printed during the test.
        seconds: wall-clock seconds, from the start of the test.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    name: str
    status: str
    text: str = ""
    stdout: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return self.status == "passed"


@dataclass(frozen=True)
class Report:
    """All verdicts on one candidate.

    Args:
        tests: one verdict per test, in order.
        loaded: whether the program ran to its end before the tests began.
        invalid: why the tests themselves cannot be used ("" where they can); no verdict is then meant for the
            candidate.
        wall, cpu: seconds.
        memory: bytes, the most that the candidate's first process held.
    """

    tests: tuple[TestVerdict, ...]
    loaded: bool = True
    invalid: str = ""
    wall: float = 0.0
    cpu: float = 0.0
    memory: int = 0

    @property
    def passed(self) -> bool:
        """Every test passed (asserts that the tests skipped aside), and there was one."""
        counted = [test for test in self.tests if test.status != "skipped"]
        return bool(counted) and not self.invalid and all(test.passed for test in counted)

    @property
    def fraction(self) -> float:
        """Tests passed out of all but the skipped ones."""
        counted = [test for test in self.tests if test.status != "skipped"]
        return 0.0 if self.invalid or not counted else sum(test.passed for test in counted) / len(counted)

    @property
    def first_failure(self) -> TestVerdict | None:
        """The first test that did not pass."""
        return next((test for test in self.tests if test.status not in ("passed", "skipped")), None)


@dataclass(frozen=True)
class Execution:
    """One run of a program or command.

    Args:
        status: "finished", or the limit that was passed: "timeout", "memory", "output", "processes", or
            "killed".
        exit_code: the program's, None where it was killed.
        stdout, stderr: text, at most `limits.output` bytes of each.
        text: which limit, or which signal.
    """

    status: str
    exit_code: int | None
    stdout: str
    stderr: str
    text: str = ""
    wall: float = 0.0
    cpu: float = 0.0
    memory: int = 0


_REASONS = {
    "wall": ("timeout", "{wall:g} s of wall-clock time"),
    "test": ("timeout", "{test:g} s of wall-clock time for one test"),
    "cpu": ("timeout", "{cpu:g} s of CPU time"),
    "memory": ("memory", "{memory:.0f} bytes of memory"),
    "output": ("output", "{output:.0f} bytes of output"),
    "processes": ("processes", "{processes:.0f} processes"),
}


def ending(report: dict[str, Any], limits: dict[str, Any]) -> tuple[str, str]:
    """Status and text of an item that did not end by itself, from the warden's report."""
    reason, status = report["reason"], report["status"]
    if reason in _REASONS:
        kind, text = _REASONS[reason]
        return kind, "limit passed: " + text.format(**limits)
    number = status & 127
    if number == signal.SIGXCPU or (number == signal.SIGKILL and report["cpu"] >= limits["cpu"]):
        return "timeout", "limit passed: " + _REASONS["cpu"][1].format(**limits)
    if number:
        return "killed", f"the process died of {_signal_name(number)}"
    return "killed", f"the process exited with status {status >> 8} before its tests were over"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def matched(name: str, run: Execution, right: bool, wanted: str) -> TestVerdict:
    """The verdict on one run of a program whose output was compared with what was wanted."""
    if run.status != "finished":
        return TestVerdict(name, run.status, run.text, run.stdout[-1000:], run.wall)
    if run.exit_code != 0:
        lines = run.stderr.strip().splitlines()
        text = f"exit code {run.exit_code}" + (f": {lines[-1][:500]}" if lines else "")
        return TestVerdict(name, "error", text, run.stdout[-1000:], run.wall)
    text = "" if right else f"printed {run.stdout[:200]!r}, expected {wanted[:200]!r}"
    return TestVerdict(name, "passed" if right else "failed", text, run.stdout[-1000:], run.wall)
