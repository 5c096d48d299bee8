"""`verify.step_checks`: is each reasoning step free of what exact arithmetic and its own words give away?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.registry import nearest
from guerdon.verify.steps.equations import equations
from guerdon.verify.steps.support import Ledger

CHECKS = ("arithmetic", "carried", "doubt")
_DOUBT = re.compile(
    r"\b(?:however|cannot|can't|impossible|not possible|assum\w*|mistake\w*|incorrect\w*|errors?|"
    r"re-?evaluat\w*|re-?examin\w*|contradict\w*|only|but|"
    r"not (?:specified|given|provided|mentioned|stated)|(?:doesn't|does not) (?:specify|say|mention))\b",
    re.IGNORECASE,
)


def findings(problem: str, steps: Sequence[str], checks: Sequence[str] = CHECKS) -> list[str | None]:
    """What is wrong with each step, or None.

    arithmetic: an equation whose sides differ beyond the rounding it shows. carried: an operand that
    neither the problem nor an earlier step gave. doubt: the step's words concede that something does not fit
    (a cue, not a proof).
    """
    ledger = Ledger(problem)
    return [_finding(step, ledger, checks) for step in steps]


def _finding(step: str, ledger: Ledger, checks: Sequence[str]) -> str | None:
    found = equations(step)
    orphan = ledger.unsupported(step, found)
    if "arithmetic" in checks:
        for equation in found:
            if not equation.holds:
                return f"{_shown(equation.left.value)} is not {_shown(equation.right.value)}"
    if "carried" in checks and orphan is not None:
        return f"{_shown(orphan)} comes from nowhere"
    if "doubt" in checks and (word := _DOUBT.search(step)):
        return f"doubt: {word.group().lower()!r}"
    return None


def _shown(value: Any) -> str:
    return str(value) if value.denominator < 1000 else f"{float(value):.6g}"


class StepChecks:
    """1 for a step without a finding, 0 for one with; step level, text rollouts with a `step` partition.

        value_k = 1 - [some check finds something in step k]

    No model is asked and nothing is learned: equations are read out of the prose and checked in exact
    rational arithmetic, numbers are traced back to the problem, and hedging words count as a finding.

    Args:
        checks: which of arithmetic, carried, doubt.

    Raises:
        RecipeError: an unknown check. DataError: no step partition over text.
    """

    name = "verify.step_checks"
    version = "1"

    def __init__(self, checks: Sequence[str] = CHECKS) -> None:
        given = [checks] if isinstance(checks, str) else list(checks)
        for check in given:
            if check not in CHECKS:
                raise RecipeError(f"checks: unknown check {check!r}{nearest(str(check), CHECKS)}")
        self.checks = tuple(given)
        self.version = f"1-{'-'.join(self.checks)}"

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        if rollouts.completion is None or rollouts.tokens is not None or "step" not in rollouts.partitions:
            raise DataError(
                "verify.step_checks reads the steps of text: rollouts without tokens and with a partition "
                '"step" (make one with guerdon.data.split)'
            )
        ends = rollouts.partitions["step"]
        values: list[float] = []
        prompts = rollouts.prompt or [""] * len(rollouts)
        for row, problem in enumerate(prompts):
            text, cuts = rollouts.text(row), ends[row].tolist()
            steps = [text[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
            asked = (
                problem
                if isinstance(problem, str)
                else " ".join(str(m.get("content")) for m in problem or ())
            )
            values += [float(found is None) for found in findings(asked, steps, self.checks)]
        return Signal(np.array(values, np.float64), "step", "step_checks")


def step_checks(checks: Sequence[str] = CHECKS) -> StepChecks:
    """Reward: see `StepChecks`."""
    return StepChecks(checks)
