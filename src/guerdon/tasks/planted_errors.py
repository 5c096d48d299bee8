"""Worked solutions with a planted error: the first wrong step is known because we put it there.

Enters: traces of GSM8K's form, or chain arithmetic. Leaves: steps of text and the index of the first wrong
one. What follows an error is worked out again from the wrong value, as a model would carry it on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from guerdon.errors import DataError, RecipeError
from guerdon.registry import nearest
from guerdon.tasks.chain import Chain
from guerdon.tasks.expressions import ExpressionError
from guerdon.tasks.traces import Piece, Result, Trace, read_trace, shown, values_of, worked_out, write

__all__ = ["ERRORS", "Labelled", "chain_trace", "plant", "solutions"]


@dataclass(frozen=True)
class Labelled:
    """A solution with its label.

    Attributes:
        problem, steps: text.
        label: index of the first wrong step, -1 where all are right.
        kind: of the error, "" without one.
    """

    problem: str
    steps: tuple[str, ...]
    label: int = -1
    kind: str = ""


def _wrong_value(trace: Trace, rng: random.Random) -> Labelled | None:
    """The result of a calculation is wrong."""
    at = rng.randrange(len(trace.calculations))
    return _carried_on(trace, at, _perturbed(trace.calculations[at].stated, rng), "value")


def _wrong_operator(trace: Trace, rng: random.Random) -> Labelled | None:
    """One sign is another one; the result is that of the wrong calculation."""
    signs = [
        (i, k)
        for i, c in enumerate(trace.calculations)
        if c.shown
        for k, part in enumerate(c.parts)
        if k and isinstance(part, str) and part in "+-*/"
    ]
    if not signs:
        return None
    at, k = rng.choice(signs)
    old = trace.calculations[at].parts[k]
    return _rewritten(trace, at, k, rng.choice([sign for sign in "+-*/" if sign != old]), "operator")


def _wrong_operand(trace: Trace, rng: random.Random) -> Labelled | None:
    """A number taken over from an earlier step or the problem arrives as another one."""
    places = [
        (i, k, part)
        for i, c in enumerate(trace.calculations)
        if c.shown
        for k, part in enumerate(c.parts)
        if isinstance(part, Result) or part[-1].isdigit()
    ]
    if not places:
        return None
    at, k, part = rng.choice(places)
    old = trace.calculations[part.calculation].stated if isinstance(part, Result) else Fraction(part)
    others = [_perturbed(old, rng)]
    others += [c.stated for c in trace.calculations[:at] if c.stated != old]
    return _rewritten(trace, at, k, shown(rng.choice(others)), "carried")


def _dropped_step(trace: Trace, rng: random.Random) -> Labelled | None:
    """A step is missing; the first later one that needs its result is the wrong one."""
    used: list[tuple[int, Piece]] = [(c.step, part) for c in trace.calculations for part in c.parts]
    used += [(k, piece) for k, pieces in enumerate(trace.steps) for piece in pieces]
    uses = [
        (step, trace.calculations[part.calculation].step)
        for step, part in used
        if isinstance(part, Result) and trace.calculations[part.calculation].step < step
    ]
    if not uses:
        return None
    gone = rng.choice(uses)[1]
    user = min(step for step, source in uses if source == gone)
    steps = write(trace)
    return Labelled(trace.problem, (*steps[:gone], *steps[gone + 1 :]), user - 1, "dropped")


ERRORS: dict[str, Callable[[Trace, random.Random], Labelled | None]] = {
    "value": _wrong_value,
    "operator": _wrong_operator,
    "carried": _wrong_operand,
    "dropped": _dropped_step,
}
"""Kinds of error by name; each gives None where a trace has no place for it."""


def plant(
    trace: Trace, rng: random.Random, kinds: Sequence[str] = tuple(ERRORS), tries: int = 8
) -> Labelled | None:
    """The solution with one error of a random kind; None where none of them found a place.

    Raises:
        RecipeError: an unknown kind.
    """
    for kind in kinds:
        if kind not in ERRORS:
            raise RecipeError(f"unknown kind of error {kind!r}{nearest(kind, ERRORS)}")
    if not trace.calculations:
        return None
    for _ in range(tries):
        try:
            found = ERRORS[rng.choice(list(kinds))](trace, rng)
        except ExpressionError:
            continue
        if found is not None:
            return found
    return None


def _rewritten(trace: Trace, at: int, k: int, part: str, kind: str) -> Labelled | None:
    calculation = trace.calculations[at]
    parts = (*calculation.parts[:k], part, *calculation.parts[k + 1 :])
    changed = replace(
        trace,
        calculations=(
            *trace.calculations[:at],
            replace(calculation, parts=parts),
            *trace.calculations[at + 1 :],
        ),
    )
    value = worked_out(changed.calculations[at], [c.stated for c in trace.calculations])
    return None if value == calculation.stated else _carried_on(changed, at, value, kind)


def _carried_on(trace: Trace, at: int, value: Fraction, kind: str) -> Labelled:
    steps = write(trace, values_of(trace, {at: value}))
    return Labelled(trace.problem, tuple(steps), trace.calculations[at].step, kind)


def _perturbed(value: Fraction, rng: random.Random) -> Fraction:
    """Another number of the same make: off by a little, a digit or a place."""
    unit = Fraction(1, value.denominator) if value.denominator in (1, 2, 5, 10, 20, 50, 100) else Fraction(1)
    choices = [value + unit * rng.randint(1, 9), value - unit * rng.randint(1, 9), value + 10 * unit]
    choices += [value * 10, value / 10, value * 2]
    kept = [c for c in choices if c > 0 and c != value and Fraction(shown(c)) == c]
    return rng.choice(kept) if kept else value + 1


# -- sources -------------------------------------------------------------------------------------------


def chain_trace(task: Chain, rng: random.Random) -> Trace:
    """A chain of arithmetic, one calculation a step: `7 + 5 = 12`."""
    problem = task.draw(rng)
    lines = []
    for step in (problem.solution or "").split(";")[:-1]:
        left, _, result = step.partition("=")
        lines.append(f"{left} = <<{left}={result}>>{result}")
    return read_trace(f"What is {problem.meta['expression']}?", "\n".join(lines))


def solutions(
    traces: Sequence[Trace], n: int, seed: int = 0, share: float = 0.5, kinds: Sequence[str] = tuple(ERRORS)
) -> list[Labelled]:
    """n labelled solutions, about a `share` of them with a planted error, drawn from traces in turn."""
    if not traces:
        raise DataError("no traces to plant errors into")
    rng = random.Random(f"planted errors {seed}")
    out: list[Labelled] = []
    while len(out) < n:
        order = rng.sample(range(len(traces)), len(traces))
        for at in order[: n - len(out)]:
            wrong = plant(traces[at], rng, kinds) if rng.random() < share else None
            out.append(wrong or Labelled(traces[at].problem, tuple(write(traces[at]))))
    return out
