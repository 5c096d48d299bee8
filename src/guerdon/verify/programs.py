"""`verify.code`: a completion's program, judged by the tests in the reference, inside the sandbox."""

from __future__ import annotations

import functools
import json
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.sandbox.limits import Limits
from guerdon.sandbox.pool import Sandbox
from guerdon.sandbox.verdicts import Report, TestVerdict, matched
from guerdon.sandbox.worker import WorkerLost
from guerdon.scoring import Row, SampleReward, Verdict, missing
from guerdon.verify.program_tests import (
    CallTests,
    StreamTests,
    find_code,
    program_of,
    read_reference,
    same_output,
)

PARTS = ("all", "fraction", "runs", "format")


@dataclass(frozen=True)
class CodeOptions:
    """What `code` was called with."""

    combine: str
    block: str
    fenced: bool
    compare: str
    stop: bool


class CodeReward(SampleReward):
    """Unit tests as a reward. Made by `code`."""

    name = "code"
    version = "1"
    item_seconds = batch_seconds = None
    """None of `guerdon score`'s own: the sandbox ends programs, and a hang is worth 0, not missing."""
    batch_rows = 64

    def __init__(self, options: CodeOptions, sandbox: Sandbox, on_error: str | float) -> None:
        super().__init__(on_error)
        self.options, self.sandbox = options, sandbox

    def key(self, row: Row) -> Hashable:
        prompt = row.prompt if isinstance(row.prompt, str) else None
        return row.completion, prompt, json.dumps(row.reference, sort_keys=True, default=repr)

    def score_batch(self, rows: Sequence[Row]) -> list[Verdict]:
        return self._judge(rows, self.options.stop)

    def _judge(self, rows: Sequence[Row], stop: bool) -> list[Verdict]:
        return list(self.sandbox.map(lambda row: self._row(row, stop), rows))

    def parts(self, rollouts: Rollouts, ctx: Context | None = None) -> dict[str, Signal]:
        """Un-summed: `all` and `fraction` of the tests, `runs` (the program loads), `format` (a code block).

        Every test is run, whatever `stop` says.
        """
        whole = CodeReward(
            CodeOptions(**{**vars(self.options), "stop": False, "combine": "fraction"}),
            self.sandbox,
            self.on_error,
        )
        verdicts = whole.verdicts(rollouts)
        out = {}
        for part in PARTS:
            own = [v if np.isnan(v.value) else Verdict(float(v.detail[part])) for v in verdicts]
            out[part] = self.signal(own, f"{self.name}.{part}")
        return out

    @staticmethod
    def outcomes(verdicts: Iterable[Verdict]) -> dict[str, int]:
        """How many programs ended how, most frequent first.

        Args:
            verdicts: of `verdicts`.

        Returns:
            "passed", the status of the first test that failed (see `guerdon.sandbox.verdicts`), "no code",
            or "missing" where no verdict could be reached.
        """
        return dict(Counter(v.detail.get("status", "missing") for v in verdicts).most_common())

    def _row(self, row: Row, stop: bool) -> Verdict:
        try:
            tests = read_reference(row.reference, row.prompt)
        except DataError as error:
            return missing(str(error))
        found = find_code(row.completion, self.options.block)
        if found is None and self.options.fenced:
            return self._verdict(False, None, "no code block in the completion", stop)
        code = row.completion if found is None else found
        try:
            if isinstance(tests, StreamTests):
                report = self._streams(code, tests, stop)
            else:
                report = self._calls(code, found is not None, tests, stop)
        except WorkerLost as error:
            return missing(str(error))
        if report.invalid:
            return missing(f"the tests cannot be run: {report.invalid}")
        return self._verdict(found is not None, report, "", stop)

    def _verdict(self, fenced: bool, report: Report | None, text: str, stop: bool) -> Verdict:
        failure = report.first_failure if report else None
        detail: dict[str, Any] = {
            "all": float(report is not None and report.passed),
            "fraction": report.fraction if report else 0.0,
            "runs": float(report is not None and report.loaded),
            "format": float(fenced),
            "tests": report.tests if report else (),
            "status": failure.status if failure else ("passed" if report else "no code"),
            "text": failure.text if failure else text,
        }
        shown = {part: detail[part] for part in PARTS}
        if stop and failure:  # not all tests ran
            shown["fraction"] = math.nan
            detail["causes"] = {"fraction": "stopped at the first failure; stop=false runs every test"}
        detail["parts"] = shown
        return Verdict(detail[self.options.combine], None, detail)

    def _calls(self, code: str, fenced: bool, tests: CallTests, stop: bool) -> Report:
        program = program_of(code, fenced, tests)
        if len(tests.taken) == 1 and re.search(r"^class\s+Solution\b", program, re.MULTILINE):
            name = tests.taken[0]
            program += f"\nif {name!r} not in globals(): {name} = Solution().{name}\n"
        split = not stop and len(tests.tests) == 1
        return self.sandbox.test(program, tests.tests, tests.setup, tests.taken, split=split, stop=stop)

    def _streams(self, code: str, tests: StreamTests, stop: bool) -> Report:
        verdicts: list[TestVerdict] = []
        loaded = True
        for number, (given, wanted) in enumerate(tests.cases):
            if stop and verdicts and not verdicts[-1].passed:
                verdicts.append(TestVerdict(str(number), "not run"))
                continue
            run = self.sandbox.python(code, given)
            right = run.exit_code == 0 and same_output(run.stdout, wanted, self.options.compare)
            verdicts.append(matched(str(number), run, right, wanted))
            loaded = loaded and run.exit_code == 0
        return Report(tuple(verdicts), loaded=loaded)


def code(
    combine: str = "all",
    block: str = "last",
    fenced: bool = False,
    compare: str = "lines",
    stop: bool | None = None,
    timeout: float = 3.0,
    limits: Mapping[str, Any] | Limits | None = None,
    packages: Sequence[str] = (),
    workers: int | None = None,
    unsafe: bool = False,
    sandbox: Sandbox | None = None,
    on_error: str | float = "nan",
) -> CodeReward:
    """Unit tests as a reward, run on the completion's program in the sandbox.

    reward = 1 where every test passes, else 0 (`combine="all"`), or the fraction of tests that pass. A
    program that hangs, dies, exits early or passes a limit fails; NaN only where the reference or the sandbox
    is at fault.

    Args:
        combine: "all" or "fraction". With "fraction" each assert statement of a HumanEval `check` counts as a
            test.
        block: which fenced Python block of the completion is the program: "last", "first" or "all" joined.
            Without any block the completion itself is the program, or continues the prompt (HumanEval).
        fenced: a completion without a code block is worth 0.
        compare: how printed output is compared: "exact", "lines" or "tokens".
        stop: end at the first failure; default: where that cannot change the reward.
        timeout: seconds of wall-clock time for one candidate with all its tests (for programs that read
            standard input: for each run). The default is that of HumanEval's harness.
        limits: further limits, see `guerdon.sandbox.Limits`.
        packages: installed distributions that programs and tests may import beside the standard library.
        workers: candidates at once; default: two per core. Where several processes score at once, each has
            its own: give fewer.
        unsafe: run without isolation where bubblewrap is not to be had.
        sandbox: one to share; `packages`, `workers`, `unsafe`, `limits` and `timeout` are then its own.

    Returns:
        A Reward: one value per rollout. `parts` gives `all`, `fraction`, `runs` and `format` un-summed.

    Raises:
        RecipeError: an unknown choice or limit.

    Reference: Chen et al., Evaluating Large Language Models Trained on Code, arXiv 2107.03374 (unit tests as
        verdict).
    """
    for field, value, valid in (
        ("combine", combine, ("all", "fraction")),
        ("block", block, ("last", "first", "all")),
        ("compare", compare, ("exact", "lines", "tokens")),
    ):
        if value not in valid:
            raise RecipeError(f"code.{field} must be one of {', '.join(valid)}, got {value!r}")
    if sandbox is None:
        own = limits if isinstance(limits, Limits) else _limits(timeout, limits or {})
        sandbox = _shared(workers, own, tuple(packages), unsafe)
    ends = combine == "all" if stop is None else stop
    return CodeReward(CodeOptions(combine, block, fenced, compare, ends), sandbox, on_error)


def _limits(timeout: float, given: Mapping[str, Any]) -> Limits:
    try:
        return Limits(**{"wall": timeout, "cpu": timeout, **given})
    except TypeError:
        unknown = sorted(set(given) - set(Limits.__dataclass_fields__))
        valid = ", ".join(Limits.__dataclass_fields__)
        raise RecipeError(f"code.limits: unknown {', '.join(unknown)} (valid: {valid})") from None


@functools.lru_cache(maxsize=32)
def _shared(workers: int | None, limits: Limits, packages: tuple[str, ...], unsafe: bool) -> Sandbox:
    """Rewards with the same settings share one pool of processes."""
    return Sandbox(workers, limits, packages, unsafe=unsafe)
