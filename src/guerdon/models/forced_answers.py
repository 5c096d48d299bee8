"""Forced answers: how often the answer is right when it must be given at once, after every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import Sampling
from guerdon.errors import RecipeError
from guerdon.models.branches import (
    Prefixes,
    Sampled,
    encode_cue,
    grader,
    last_spans,
    prover_engine,
    rows_of_spans,
)
from guerdon.models.points import token_bounds

IS_ANSWER = "the span is the answer itself"


class ForcedAnswers:
    """Share of K short answers that are right when a cue is put behind every prefix: signal `forced_acc`.

    In a recipe under `rewards` it gives that signal; under `models` it attaches `forced_acc` and `j` (the
    same values under the names vsrm and mrt read) and `j_start` (answering with no thinking, per rollout).

    Args:
        cue: text that asks for the answer ("#" in the chain task, "</think>" and the like elsewhere).
        k: answers per prefix.
        last: what the last span of a rollout that was not cut is worth, which is the answer itself:
            "missing", "outcome" (its own grade) or "force" (as any other).
        prover, grade, level, budget: as in `PrefixValues`.
        max_new_tokens, temperature, top_p, stop, seed: of the answers.

    Reference: VSRM, arXiv 2508.10293; Qu et al., MRT, arXiv 2503.07572.
    """

    name = "forced_acc"
    version = "1"
    online = False

    def __init__(
        self,
        cue: str,
        k: int = 5,
        last: Literal["missing", "outcome", "force"] = "missing",
        prover: Any = None,
        grade: Any = None,
        level: str = "step",
        max_new_tokens: int = 16,
        temperature: float = 0.6,
        top_p: float = 0.95,
        stop: Sequence[str] = (),
        seed: int = 0,
        budget: int | None = None,
        task: Any = None,
        policy: Any = None,
    ) -> None:
        if last not in ("missing", "outcome", "force"):
            raise RecipeError(f"last: got {last!r}, expected 'missing', 'outcome' or 'force'")
        self.cue, self.last, self.level = cue, last, level
        self.cost: Mapping[str, float] = {}
        sampling = Sampling(max_new_tokens, temperature, top_p, stop=tuple(stop), seed=seed)
        self.sampled = Sampled(k, grader(grade, task), sampling, prover_engine(prover, policy), budget)

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        return self.accuracies(rollouts, ctx, start=False)[0]

    def attach(self, rollouts: Rollouts, ctx: Context | None = None) -> Rollouts:
        """Rollouts with the signals `forced_acc`, `j` and `j_start`."""
        steps, start, _ = self.accuracies(rollouts, ctx)
        return rollouts.replace(
            signals={"forced_acc": steps, "j": steps.renamed("j"), "j_start": start.renamed("j_start")}
        )

    def accuracies(
        self, rollouts: Rollouts, ctx: Context | None = None, start: bool = True
    ) -> tuple[Signal, Signal, dict[str, float]]:
        """Accuracy after every span, with `start` before any (per rollout), and what it cost."""
        row = rows_of_spans(rollouts, self.level)
        length = token_bounds(rollouts, self.level)[1:] - rollouts.offsets("token")[row]
        final = last_spans(rollouts.offsets(self.level)) & ~rollouts.truncated[row]
        forced = np.arange(len(row)) if self.last == "force" else np.flatnonzero(~final)
        roots = np.arange(len(rollouts)) if start else np.empty(0, np.int64)
        places = Prefixes(
            rollouts,
            np.concatenate([row[forced], roots]),
            np.concatenate([length[forced], 0 * roots]),
            encode_cue(self.sampled.engine(ctx), self.cue),
        )
        found = self.sampled.worth(places, ctx)
        self.cost = found.cost
        n = len(forced)
        values = np.full(len(row), np.nan)
        values[forced] = found.values[:n]
        causes = {int(forced[at]): cause for at, cause in found.causes.items() if at < n}
        if self.last == "missing":
            causes |= dict.fromkeys(np.flatnonzero(final).tolist(), IS_ANSWER)
        elif self.last == "outcome" and final.any():
            grades = self.sampled.grade(rollouts.select(row[final]), ctx)
            values[final] = grades.values
            at = np.flatnonzero(final)
            causes |= {int(at[i]): cause for i, cause in grades.causes.items()}
        at_start = {at - n: cause for at, cause in found.causes.items() if at >= n}
        return (
            Signal(values, self.level, self.name, causes),
            Signal(found.values[n:], "rollout", "j_start", at_start),
            dict(found.cost),
        )
