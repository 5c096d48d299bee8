"""How a benchmark asks a judge: pairs in both orders, the first wrong step of a solution.

A judge that answered without a clear verdict has no verdict, which the official scripts count against it; a
question that was not answered at all (a failed request) is left out and reported.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from guerdon.bench.candidates import Watch, with_steps
from guerdon.judge.asked import answered
from guerdon.judge.orders import resolve, side
from guerdon.scoring import Verdict

_CHUNK = 64
_DECISION = {1: "A>B", 0: "A=B", -1: "B>A"}
Orders = tuple[Verdict, Verdict]


def ask_pairs(
    reward: Any,
    prompts: Sequence[Any],
    first: Sequence[str],
    second: Sequence[str],
    watch: Watch | None = None,
    causes: Counter[str] | None = None,
) -> list[Orders]:
    """Shares of `first` over `second` in both orders, per pair (see `PairwiseReward.both_orders`)."""
    found: list[Orders] = []
    for start in range(0, len(prompts), _CHUNK):
        rows = slice(start, start + _CHUNK)
        part = reward.both_orders(prompts[rows], first[rows], second[rows])
        found += part
        _note(causes, [verdict for pair in part for verdict in pair])
        if watch is not None:
            watch(len(part))
    return found


def decisions(pair: Orders) -> tuple[str | None, str | None] | None:
    """Verdicts of both orders in terms of the first response (A>B, B>A, A=B, None: no clear one).

    None where an order was not answered at all.
    """
    if not all(answered(verdict) for verdict in pair):
        return None
    found = [None if math.isnan(v.value) else _DECISION[side(v.value)] for v in pair]
    return found[0], found[1]


def win(pair: Orders, rule: str) -> bool:
    """Whether the first response beats the second over both orders; an order without verdict is a loss."""
    return resolve(pair[0].value, pair[1].value, rule) > 0.5


def find_errors(
    reward: Any,
    problems: Sequence[str],
    solutions: Sequence[Sequence[str]],
    watch: Watch | None = None,
    causes: Counter[str] | None = None,
) -> tuple[list[int | None], list[bool]]:
    """The critic's index of each first wrong step (None: no clear verdict), and whether it answered."""
    found: list[Verdict] = []
    for start in range(0, len(problems), _CHUNK):
        rows = slice(start, start + _CHUNK)
        part = reward.first_errors(with_steps(problems[rows], solutions[rows]))
        found += part
        _note(causes, part)
        if watch is not None:
            watch(len(part))
    return [None if math.isnan(v.value) else int(v.value) for v in found], [answered(v) for v in found]


def _note(causes: Counter[str] | None, verdicts: Sequence[Verdict]) -> None:
    if causes is not None:
        causes.update(v.cause or "unknown" for v in verdicts if math.isnan(v.value))
