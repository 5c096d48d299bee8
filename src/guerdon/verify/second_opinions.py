"""Where two graders differ: the rows to look at before trusting either."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from guerdon.data.rollouts import Rollouts
from guerdon.scoring import Row, SampleReward, Verdict, rows_of


@dataclass(frozen=True)
class Difference:
    """One row on which two graders differ."""

    row: int
    reference: Any
    completion: str
    first: Verdict
    second: Verdict


@dataclass(frozen=True)
class SecondOpinion:
    """Two graders' verdicts on the same rollouts.

    Attributes:
        first, second: the graders' names.
        rows: how many rows were graded.
        counts: how often each pair of values (None for missing) occurred.
        differences: the rows on which the values differ.
    """

    first: str
    second: str
    rows: int
    counts: Counter[tuple[float | None, float | None]]
    differences: tuple[Difference, ...]

    @property
    def agreement(self) -> float:
        """Share of the rows with two values on which these are the same; NaN where there is none."""
        both = {pair: n for pair, n in self.counts.items() if None not in pair}
        agreed = sum(n for (a, b), n in both.items() if a == b)
        return agreed / sum(both.values()) if both else math.nan

    def table(self, limit: int = 20) -> str:
        """The differences as text, one row each."""
        head = f"{self.first} against {self.second}: {self.agreement:.2%} agree, {self.rows} rows"
        lines = [
            f"  row {d.row}: {_shown(d.first)} | {_shown(d.second)} | reference {str(d.reference)[-40:]!r} | "
            f"{d.completion[-60:]!r}"
            for d in self.differences[:limit]
        ]
        more = len(self.differences) - limit
        return "\n".join([head, *lines, *([f"  and {more} more"] if more > 0 else [])])


def second_opinion(rollouts: Rollouts, first: SampleReward, second: SampleReward) -> SecondOpinion:
    """Grade rollouts with two sample rewards and report where they differ.

    Args:
        rollouts: N completions with references.
        first, second: rewards of one sample at a time, e.g. `verify.math()` and `verify.math_verify()`.
    """
    a, b = first.verdicts(rollouts), second.verdicts(rollouts)
    rows: list[Row] = rows_of(rollouts)
    differences = tuple(
        Difference(i, rows[i].reference, rows[i].completion, x, y)
        for i, (x, y) in enumerate(zip(a, b, strict=True))
        if differs(x, y)
    )
    counts = Counter((_value(x), _value(y)) for x, y in zip(a, b, strict=True))
    return SecondOpinion(first.name, second.name, len(rows), counts, differences)


def with_second(first: Sequence[Verdict], second: Sequence[Verdict]) -> list[Verdict]:
    """The first verdicts with the second grader's value and cause in their details, and as parts.

    Parts: `second` (its value), `differs` (1 where the two values differ; two missing ones do not).
    """
    return [
        replace(
            x,
            detail={
                **x.detail,
                "second": _value(y),
                "second_cause": y.cause,
                "differs": differs(x, y),
                "parts": {"second": y.value, "differs": float(differs(x, y))},
                "causes": {"second": y.cause} if y.cause else {},
            },
        )
        for x, y in zip(first, second, strict=True)
    ]


def differs(a: Verdict, b: Verdict) -> bool:
    """Whether two verdicts differ in value; two missing ones do not."""
    return _value(a) != _value(b)


def _value(verdict: Verdict) -> float | None:
    return None if math.isnan(verdict.value) else verdict.value


def _shown(verdict: Verdict) -> str:
    return f"missing ({verdict.cause})" if math.isnan(verdict.value) else f"{verdict.value:g}"
