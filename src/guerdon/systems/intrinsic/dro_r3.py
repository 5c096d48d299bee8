"""DRO: log-prob of the reference, weighted by how much each token depends on the thought (R3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.references import reference_scores
from guerdon.intrinsic.reward import Intrinsic, Values, asked_of, groups_of
from guerdon.intrinsic.scoring import engine_of, reference_texts
from guerdon.intrinsic.votes import members
from guerdon.systems.catalogue import system

ALONE = "one thought has no deviation to weight tokens by"
Weighting = Callable[[np.ndarray], np.ndarray]


@system(
    "dro-r3",
    title="Direct Reasoning Optimization: LLMs Can Reward And Refine Their Own Reasoning",
    arxiv="2506.13351",
    family="intrinsic",
    kind="reward",
)
def dro_r3(
    opening: str = "<answer>",
    masked: str | None = "<think></think><answer>",
    top: float | None = None,
    gamma: float | None = None,
    length_weight: float = 0.0,
    length_beta: float = 1.0,
    judge: str = "policy",
    engine: Any = None,
) -> Intrinsic:
    """R3_i = sum_j w(sigma_j) [log pi(y_j | q, c_i, y_<j) - log pi(y_j | q, masked, y_<j)] over reference y
    + v (1 - beta | |y| - |y_i| | / |y|), per rollout, with sigma_j the deviation over the group's thoughts.

    Args:
        opening: the mark the reference follows. masked: the thought of the baseline; None leaves it out.
        top: w is the indicator of the share `top` of tokens with the largest sigma, over their number, in
            place of sigma_j / sum sigma.
        gamma: also propagate certainty from reflective tokens; see `propagated`. Needs masked=None.
        length_weight, length_beta: v and beta, on the words of the answer that was written.
        judge: "policy" or "reference", a name in ctx.engines. engine: who is asked instead.

    A group of one is missing; a group whose sigma are all 0 has R3 = 0.

    Reference: Xu et al., arXiv 2506.13351v1; the map w, and ddof 0, are ours.
    """
    if (top is not None and not 0 < top <= 1) or (gamma is not None and masked is not None):
        raise RecipeError(f"dro-r3: top in (0, 1] and gamma only with masked=None, got {top!r}, {gamma!r}")

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        asked, groups = engine_of(engine, ctx, "dro-r3", judge), groups_of(rollouts)
        scored = reference_scores(asked, rollouts, opening)
        base = reference_scores(asked, rollouts, thoughts=[masked] * len(rollouts)) if masked else None
        out, causes = np.full(len(rollouts), np.nan), dict(scored.causes)
        for rows in members(groups):
            rows = rows[[int(i) not in causes for i in rows]]
            if len(rows) < 2:
                causes |= dict.fromkeys(rows.tolist(), ALONE)
                continue
            table = np.stack(_rows_of_one_reference(scored.logprobs, rows))
            minus = None if base is None else base.logprobs[int(rows[0])]
            out[rows] = r3(table, minus, top) if gamma is None else propagated(table, gamma, top)
        if length_weight:
            out += length_weight * _lengths(rollouts, opening, length_beta)
        return out, causes

    return Intrinsic("dro-r3", score, asks=asked_of(engine, judge))


def weights(sigma: np.ndarray, top: float | None = None) -> np.ndarray:
    """sigma_j / sum sigma, or equal weights on the share `top` with the largest; all 0 where no sigma is."""
    if not sigma.any():
        return np.zeros(len(sigma))
    if top is None:
        return sigma / sigma.sum()
    count = max(1, int(np.ceil(top * len(sigma))))
    out = np.zeros(len(sigma))
    out[np.argsort(-sigma, kind="stable")[:count]] = 1.0 / count
    return out


def deviations(table: np.ndarray) -> np.ndarray:
    """sigma_j over the thoughts (ddof 0) of table (thoughts, tokens); exactly 0 where all are equal."""
    return np.where(np.ptp(table, axis=0) == 0, 0.0, table.std(axis=0))


def r3(table: np.ndarray, masked: np.ndarray | None = None, top: float | None = None) -> np.ndarray:
    """R3 of every thought from log-probs (thoughts, tokens); float64 (thoughts,)."""
    gain = table if masked is None else table - masked
    return gain @ weights(deviations(table), top)


def propagated(table: np.ndarray, gamma: float, top: float | None = None) -> np.ndarray:
    """sum_j w_j log(p_j prod_{k<j} P_k(j)) with P_k(j) = p_k + (1 - p_k)(1 - e^{-gamma (j - k)}) over the
    reflective tokens k (w_k > 0)."""
    w = weights(deviations(table), top)
    p, n = np.exp(table), table.shape[1]
    distance = np.arange(n)[None, :] - np.arange(n)[:, None]
    before = (distance > 0) & (w > 0)[:, None]
    fade = -np.expm1(-gamma * np.maximum(distance, 0))
    through = np.log(np.maximum(p[:, :, None] + (1 - p[:, :, None]) * fade, 1e-300))
    return (table + np.where(before, through, 0.0).sum(axis=1)) @ w


def feasible(values: np.ndarray, accepted: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Rubric gate: a rejected rollout is worth its group's minimum - 1; a group of rejected ones is NaN."""
    out = np.asarray(values, np.float64).copy()
    for rows in members(groups):
        ok = np.asarray(accepted, bool)[rows]
        out[rows[~ok]] = np.nanmin(values[rows]) - 1.0 if ok.any() else np.nan
    return out


def keep_prompts(
    ranks: list[np.ndarray], sigma_max: np.ndarray, worst: float = 0.1, top_k: int = 100, drop: float = 0.2
) -> np.ndarray:
    """Data filter, bool (prompts,): some thought's worst `worst` share of token ranks averages within top_k,
    and max_j sigma_j is not in the lowest share `drop` of those left.

    Args:
        ranks: per prompt (thoughts, tokens), 0 for the likeliest. sigma_max: (prompts,).
    """
    within = np.zeros(len(ranks), bool)
    for i, table in enumerate(ranks):
        count = max(1, int(np.ceil(worst * table.shape[1])))
        within[i] = (np.sort(table, axis=1)[:, -count:].mean(axis=1) < top_k).any()
    left = np.flatnonzero(within)
    low = left[np.argsort(sigma_max[left], kind="stable")[: int(drop * len(left))]]
    within[low] = False
    return within


class ReflectiveFilter:
    """The filter `reflective` of recipes: `keep_prompts` on every batch.

    Args:
        opening: the mark the reference follows.
        worst, top_k, drop: see `keep_prompts`; the lowest share is that of the batch.
        every: batches from one judgement to the next; those between are kept whole.
        judge: "policy" or "reference". engine: who is asked instead.

    Groups with fewer than two thoughts that can be scored are dropped.

    Reference: Xu et al., arXiv 2506.13351v1, which filters the whole data set at intervals.
    """

    def __init__(
        self,
        opening: str = "<answer>",
        worst: float = 0.1,
        top_k: int = 100,
        drop: float = 0.2,
        every: int = 1,
        judge: str = "policy",
        engine: Any = None,
    ) -> None:
        if not (0 < worst <= 1 and 0 <= drop < 1 and top_k >= 1 and every >= 1):
            raise RecipeError(
                f"reflective: worst in (0, 1], drop in [0, 1), top_k and every >= 1; got {worst!r}, "
                f"{drop!r}, {top_k!r}, {every!r}"
            )
        self.opening, self.worst, self.top_k, self.drop = opening, worst, top_k, drop
        self.every, self.judge, self.engine = every, judge, engine
        self.asks = (judge,)

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> np.ndarray:
        """bool (rollouts,): what is kept."""
        kept = np.zeros(len(rollouts), bool)
        if ctx is not None and ctx.step % self.every:
            return ~kept
        asked = engine_of(self.engine, ctx, "the reflective filter", self.judge)
        scored = reference_scores(asked, rollouts, self.opening, statistics=("logprob", "rank"))
        groups, ranks, sigma = [], [], []
        for rows in members(groups_of(rollouts)):
            known = rows[[int(i) not in scored.causes for i in rows]]
            if len(known) > 1:
                groups.append(rows)
                ranks.append(np.stack(_rows_of_one_reference(scored.stats["rank"], known)))
                table = np.stack(_rows_of_one_reference(scored.logprobs, known))
                sigma.append(float(deviations(table).max()))
        passed = keep_prompts(ranks, np.array(sigma), self.worst, self.top_k, self.drop)
        for rows in (rows for rows, ok in zip(groups, passed, strict=True) if ok):
            kept[rows] = True
        return kept


def _rows_of_one_reference(logprobs: Any, rows: np.ndarray) -> list[np.ndarray]:
    found = [logprobs[int(i)] for i in rows]
    if len({len(row) for row in found}) > 1:
        raise DataError(f"dro-r3: rows {rows.tolist()} share a group but not a reference")
    return found


def _lengths(rollouts: Rollouts, opening: str, beta: float) -> np.ndarray:
    out = np.full(len(rollouts), np.nan)
    for i, reference in enumerate(reference_texts(rollouts)):
        if reference is not None:
            said = rollouts.text(i).rpartition(opening)[2] if opening else rollouts.text(i)
            n = len(reference.split())
            out[i] = 1.0 - beta * abs(n - len(said.partition("</answer>")[0].split())) / n
    return out
