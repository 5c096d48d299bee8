"""From what judge and warden said to a Report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon.sandbox.verdicts import Report, TestVerdict, ending

Entry = dict[str, Any]


class Outcome:
    """One item's entries, read in order.

    Args:
        names: the tests' names.
        entries: what the judge reported.
        report: the warden's account.
        limits: as sent with the item.
    """

    def __init__(self, names: Sequence[str], entries: Sequence[Entry], report: Entry, limits: Entry) -> None:
        self.names, self.report, self.limits = names, report, limits
        self.invalid = next((e["invalid"] for e in entries if "invalid" in e), "")
        self.load = next((e for e in entries if "load" in e), None)
        self.gone = next((e for e in entries if "gone" in e), None)
        self.finished = any("finished" in e for e in entries)
        self.lines: list[list[int]] = next(
            (e["asserts"] for e in entries if "asserts" in e), [[]] * len(names)
        )
        self.verdicts = {(e["test"], e.get("assert")): e for e in entries if "status" in e}
        unusable = next((e for e in self.verdicts.values() if e["status"] == "invalid"), None)
        self.invalid = self.invalid or (unusable["text"] if unusable else "")
        self.collapsed = report["reason"] == "judge" and not self.finished
        if self.collapsed:
            self.invalid = self.invalid or "the tests brought their own process down"

    @property
    def interrupted(self) -> int | None:
        """The test during which the item ended, None where it ended by itself or before the first test."""
        if self.finished or self.invalid or self.load is not None:
            return None
        if self.gone is not None:
            return self.gone.get("test")
        return next(
            (i for i in range(len(self.names)) if not any(test == i for test, _ in self.verdicts)), None
        )

    def build(self) -> Report:
        """The report on every test."""
        used = {key: self.report[key] for key in ("wall", "cpu", "memory")}
        loaded = self.load is None and not (self.gone is not None and "test" not in self.gone)
        if self.invalid:
            verdicts = [TestVerdict(name, "not run") for name in self.names]
        elif not loaded:
            status, text = self._load_failure()
            verdicts = [TestVerdict(name, status, text) for name in self._labels()]
        else:
            verdicts = [verdict for number in range(len(self.names)) for verdict in self._test(number)]
        return Report(tuple(verdicts), loaded=loaded, invalid=self.invalid, **used)

    def _labels(self) -> list[str]:
        """Names of tests, or of their assert statements where they are split."""
        return [
            label
            for name, lines in zip(self.names, self.lines, strict=True)
            for label in ([f"{name}:{line}" for line in lines] or [name])
        ]

    def _load_failure(self) -> tuple[str, str]:
        if self.load is not None:
            return ("memory" if self.load["memory"] else "error"), self.load["load"]
        return self._ending()

    def _ending(self) -> tuple[str, str]:
        why = (self.gone or {}).get("gone")
        if why == "output" and not self.report["reason"]:
            return "output", "an answer was longer than the sandbox passes on"
        if why == "garbled" and not self.report["reason"]:
            return "killed", "the process broke the conversation off"
        return ending(self.report, self.limits)

    def _test(self, number: int) -> list[TestVerdict]:
        lines = self.lines[number]
        if not lines:
            return [self._verdict(number, None, self.names[number], "not run", "")]
        rest = self.verdicts.get((number, None))
        clean = self.finished and rest is None and not self._failed_before(number)
        default = ("error", rest["text"]) if rest else ("skipped" if clean else "not run", "")
        return [
            self._verdict(number, part, f"{self.names[number]}:{line}", *default)
            for part, line in enumerate(lines)
        ]

    def _failed_before(self, number: int) -> bool:
        """Whether the run was stopped at this test or before."""
        stopped = [test for (test, _), e in self.verdicts.items() if e["status"] != "passed"]
        return bool(self.report.get("stop")) and bool(stopped) and min(stopped) <= number

    def _verdict(self, test: int, part: int | None, name: str, status: str, text: str) -> TestVerdict:
        if test == self.interrupted and (part is None or part == (self.gone or {}).get("assert")):
            return TestVerdict(name, *self._ending())
        entry = self.verdicts.get((test, part))
        if entry is None:
            return TestVerdict(name, status, text)
        return TestVerdict(
            name, entry["status"], entry.get("text", ""), entry.get("stdout", ""), entry["seconds"]
        )


def shortened(report: Report, tests: int) -> Report:
    """The report on the first `tests` tests."""
    return Report(report.tests[:tests], report.loaded, report.invalid, report.wall, report.cpu, report.memory)


def joined(reports: Sequence[Report]) -> Report:
    """One report on tests that took several processes, one after the other."""
    if len(reports) == 1:
        return reports[0]
    return Report(
        tuple(test for report in reports for test in report.tests),
        loaded=all(report.loaded for report in reports),
        invalid=next((report.invalid for report in reports if report.invalid), ""),
        wall=sum(report.wall for report in reports),
        cpu=sum(report.cpu for report in reports),
        memory=max(report.memory for report in reports),
    )
