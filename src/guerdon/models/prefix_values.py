"""Monte-Carlo values of prefixes: how often a prover that goes on from a step ends up right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import Sampling
from guerdon.errors import DataError, RecipeError
from guerdon.models.branches import Prefixes, Sampled, grader, last_spans, prover_engine, rows_of_spans
from guerdon.models.points import token_bounds


@dataclass(frozen=True)
class PrefixReport:
    """Values of the steps and of the bare prompts.

    Attributes:
        steps: Q after every step ("q_policy"). root: Q of every rollout's prompt ("q_root").
        cost: places, distinct prefixes, draws and tokens.
    """

    steps: Signal
    root: Signal
    cost: Mapping[str, float] = field(default_factory=dict)


class PrefixValues:
    """Q of every prefix that ends a step, from K continuations by a prover: step-level signal `q_policy`.

        Q(x, y_<=k) = mean over K draws of grade(x, y_<=k + continuation)
        best_of=B: Q <- 1 - (1 - Q)^B, the chance that one of B tries is right

    What is written to its end (the last step of a rollout that was not cut) is graded as it stands. `cost` is
    what the last call drew; a run logs it.

    Args:
        k: draws per prefix. best_of: B, 1 for the prover itself.
        prover: an engine (or a folder, or a recipe's {use: ...}); default: the policy of the run.
        grade: reward of whole completions in [0, 1]; default: the task's outcome.
        level: spans whose ends are valued.
        max_new_tokens, temperature, top_p, stop, seed: of the draws.
        budget: most tokens drawn per call; prefixes beyond it are missing, chosen at random.

    Reference: Wang et al., Math-Shepherd, arXiv 2312.08935; Setlur et al., PAV, arXiv 2410.08146.
    """

    name = "q_policy"
    version = "1"
    online = False

    def __init__(
        self,
        k: int = 8,
        best_of: int = 1,
        prover: Any = None,
        grade: Any = None,
        level: str = "step",
        max_new_tokens: int = 64,
        temperature: float = 1.0,
        top_p: float = 1.0,
        stop: Sequence[str] = (),
        seed: int = 0,
        budget: int | None = None,
        task: Any = None,
        policy: Any = None,
    ) -> None:
        if best_of < 1 or k < 1:
            raise RecipeError(f"k and best_of must be at least 1, got {k} and {best_of}")
        self.best_of, self.level = best_of, level
        self.cost: Mapping[str, float] = {}
        sampling = Sampling(max_new_tokens, temperature, top_p, stop=tuple(stop), seed=seed)
        self.sampled = Sampled(k, grader(grade, task), sampling, prover_engine(prover, policy), budget)

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        return self.values(rollouts, ctx, root=False).steps

    def attach(self, rollouts: Rollouts, ctx: Context | None = None) -> Rollouts:
        """Rollouts with the signals `q_policy` and `q_root`."""
        report = self.values(rollouts, ctx)
        return rollouts.replace(signals={"q_policy": report.steps, "q_root": report.root})

    def values(
        self,
        rollouts: Rollouts,
        ctx: Context | None = None,
        chosen: np.ndarray | None = None,
        root: bool = True,
    ) -> PrefixReport:
        """Values of all steps (or the chosen ones, bool (spans,)) and, with `root`, of the prompts.

        Raises:
            DataError: no tokens, prompts or spans, or a mask that does not fit.
        """
        row = rows_of_spans(rollouts, self.level)
        if chosen is not None and np.shape(chosen) != row.shape:
            raise DataError(f"chosen has the shape {np.shape(chosen)} for {len(row)} {self.level} spans")
        ends = token_bounds(rollouts, self.level)[1:]
        length = ends - rollouts.offsets("token")[row]
        final = last_spans(rollouts.offsets(self.level)) & ~rollouts.truncated[row]
        wanted = np.ones(len(row), bool) if chosen is None else np.asarray(chosen, bool)
        open_ = np.flatnonzero(wanted & ~final)
        roots = np.arange(len(rollouts)) if root else np.empty(0, np.int64)
        places = Prefixes(
            rollouts, np.concatenate([row[open_], roots]), np.concatenate([length[open_], 0 * roots])
        )
        found = self.sampled.worth(places, ctx)
        self.cost = found.cost
        values = np.full(len(row), np.nan)
        values[open_] = found.values[: len(open_)]
        causes = {int(i): "not chosen" for i in np.flatnonzero(~wanted)}
        causes |= {int(open_[at]): cause for at, cause in found.causes.items() if at < len(open_)}
        causes |= self._graded(rollouts, values, np.flatnonzero(wanted & final), row, ctx)
        at_root = {at - len(open_): cause for at, cause in found.causes.items() if at >= len(open_)}
        return PrefixReport(
            Signal(self._best(values), self.level, "q_policy", causes),
            Signal(self._best(found.values[len(open_) :]), "rollout", "q_root", at_root),
            found.cost,
        )

    def _graded(
        self, rollouts: Rollouts, values: np.ndarray, spans: np.ndarray, row: np.ndarray, ctx: Context | None
    ) -> dict[int, str]:
        """Fill in the grade of what is complete; causes of missing ones."""
        if len(spans) == 0:
            return {}
        grades = self.sampled.grade(rollouts.select(row[spans]), ctx)
        values[spans] = grades.values
        return {
            int(spans[i]): grades.causes.get(i, "unknown")
            for i in np.flatnonzero(np.isnan(grades.values)).tolist()
        }

    def _best(self, values: np.ndarray) -> np.ndarray:
        return values if self.best_of == 1 else best_of_k(values, self.best_of)


def best_of_k(values: np.ndarray, k: int) -> np.ndarray:
    """1 - (1 - Q)^k: the chance that one of k tries is right, for Q in [0, 1]."""
    return 1.0 - (1.0 - np.asarray(values, dtype=np.float64)) ** k
