"""PEAR: right answers pay for thinking with more entropy than the answer has."""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels import segment_reduce
from guerdon.errors import DataError
from guerdon.shape.gates import reaches
from guerdon.shape.maps import hinge
from guerdon.shape.parameters import numbers
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited


@system(
    "pear",
    title="PEAR: Phase Entropy Aware Reward for Efficient Reasoning",
    arxiv="2510.08026",
    family="shape",
    kind="shape",
    others={"credit": credited(baseline="mean_std", eps=1e-6)},
)
def pear(
    alpha: float = 1.0,
    format_reward: float = 0.0,
    base: float = 1.0,
    strict: bool = False,
    keep_order: bool = False,
) -> Shaping:
    """r = min(1, s - P) where right, else `format_reward`; P = max(0, H_think - alpha H_answer).

    H are mean token entropies (natural log, at the sampling temperature) of what the policy wrote before and
    after the `</think>` token, which is in neither. Without that token all is thinking and H_answer = 0.
    Credit: (r - mean_g)/(std_g + 1e-6), ddof 1.

    Args:
        alpha: weight of the answer's entropy.
        format_reward: what a wrong answer is worth.
        base: s.
        strict: an answer without `</think>` counts as wrong.
        keep_order: a right answer never earns less than `format_reward` (P may exceed 1).

    Inputs: `outcome` (rollout, 0 or 1); `entropy` (token; the signal, or the column); `meta.think_end`
    (index of the `</think>` token, null where there is none; without it the first of several turns ends
    with the tag).
    Parts: `entropy_think`, `entropy_answer`, `penalty` and `reward`.

    Reference: arXiv 2510.08026.
    """
    numbers(alpha=alpha, format_reward=format_reward, base=base)

    def parts(view: Reading) -> dict[str, np.ndarray]:
        right = reaches(view.rollout("outcome"))
        end = think_ends(view)
        if strict:
            right = np.where(end < 0, 0.0, right)
        think, answer = phase_means(view, end)
        penalty = hinge(think, answer, alpha)
        earned = np.minimum(1.0, base - penalty)
        if keep_order:
            earned = np.maximum(earned, format_reward)
        reward = np.where(np.isnan(right), np.nan, np.where(right == 1.0, earned, format_reward))
        return {"entropy_think": think, "entropy_answer": answer, "penalty": penalty, "reward": reward}

    return Shaping("pear", parts, ("outcome", "entropy"))


def think_ends(view: Reading) -> np.ndarray:
    """Index of the token that ends the thinking in every rollout, int64 (N,); -1 where there is none.

    Raises:
        DataError: an index that is none, or lies beyond the tokens; the row is named.
    """
    n = len(view.rollouts)
    if not any("think_end" in row for row in view.rollouts.meta or []):
        if "turn" not in view.rollouts.partitions:
            return np.full(n, -1)
        turns = view.rollouts.partitions["turn"]
        several = turns.lengths > 1
        ends = np.full(n, -1)
        ends[several] = turns.values[turns.offsets[:-1][several]] - 1
        return ends
    ends = np.full(n, -1)
    lengths = view.rollouts.lengths
    for row, at in enumerate(view.meta("think_end", required=False)):
        if at is None:
            continue
        if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at < lengths[row]:
            raise DataError(
                f"row {row}: `meta.think_end` must index one of {lengths[row]} tokens, got {at!r}"
            )
        ends[row] = at
    return ends


def phase_means(view: Reading, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean entropy before and after token `end` (all of it before where end is -1), float64 (N,) each.

    Over tokens the policy chose; 0 for a phase without any, NaN where one of them has no entropy.
    """
    carried = "entropy" in view.signals
    entropy = view.spans("entropy", "token") if carried else view.column("entropy")
    tokens = view.at("token")
    begin, stop = tokens.offsets[:-1], tokens.offsets[1:]
    tag = np.where(end < 0, stop, begin + end)
    cuts = np.append(np.column_stack([begin, tag, np.minimum(tag + 1, stop)]).ravel(), len(entropy))
    chosen = tokens.mask()
    if chosen is None:
        total, count = segment_reduce(entropy, cuts), np.diff(cuts).astype(np.float64)
    else:
        total = segment_reduce(np.where(chosen, entropy, 0.0), cuts)
        count = segment_reduce(chosen.astype(np.float64), cuts)
    means = np.divide(total, count, out=np.zeros(len(count)), where=count > 0)
    return means[0::3], means[2::3]
