"""Rewards reweighted before they are summed: sums that act like a minimum, sums that stay below 1.

Arrays in, arrays out; `counted` says which spans take part (None: all), the others get 0.
"""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels import segment_reduce, segment_spread
from guerdon.data.kernels.arrays import counted as as_mask
from guerdon.data.kernels.arrays import flat, spans
from guerdon.data.kernels.compile import launch, parallel_kernel, prange


def softmin_form(
    rewards: np.ndarray, offsets: np.ndarray, temperature: float, counted: np.ndarray | None = None
) -> np.ndarray:
    """r*_k = w_k r_k with w_k = exp(-r_k/T) / sum_j exp(-r_j/T) over all steps j of the rollout.

    For T -> 0 the sum over a rollout tends to its smallest reward. A missing reward makes its rollout
    missing: any of its steps might be the worst.

    Args:
        rewards: (steps,).
        offsets: int64 (N+1,).
        temperature: T > 0.
        counted: bool (steps,).

    Returns:
        float64 (steps,).

    Reference: arXiv 2504.15275.
    """
    shown = rewards if counted is None else np.where(counted, rewards, np.inf)
    low = segment_spread(segment_reduce(shown, offsets, "min"), offsets)
    with np.errstate(invalid="ignore"):
        weight = np.exp((low - shown) / temperature)
    if counted is not None:
        weight = np.where(counted, weight, 0.0)
    total = segment_spread(segment_reduce(weight, offsets, "sum"), offsets)
    out = np.divide(weight, total, out=np.full(len(weight), np.nan), where=~(total == 0)) * rewards
    return out if counted is None else np.where(counted, out, 0.0)


def min_form(rewards: np.ndarray, offsets: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """r*_k = G_k - G_{k+1} with G_k = min(r_k, G_{k+1}), so that sums over what follows are minima.

    The last step keeps G_K = r_K. A missing reward makes every step up to it missing.

    Args:
        rewards: (steps,).
        offsets: int64 (N+1,).
        counted: bool (steps,).

    Returns:
        float64 (steps,).
    """
    rewards = flat(rewards, name="rewards")
    out = np.empty(len(rewards))
    launch(_min_form, len(out), rewards, spans(offsets, len(rewards)), as_mask(counted, len(rewards)), out)
    return out


def largest_suffix_sum(values: np.ndarray, offsets: np.ndarray, counted: np.ndarray | None = None) -> float:
    """max over the batch of |sum_{k >= t} x_k|, sums inside each rollout; 0 where nothing is present.

    A missing value makes the sums before it missing; they are left out.
    """
    values = flat(values)
    out = np.zeros(len(offsets) - 1)
    launch(
        _largest_suffix, len(values), values, spans(offsets, len(values)), as_mask(counted, len(values)), out
    )
    return float(out.max(initial=0.0))


@parallel_kernel
def _largest_suffix(values, offsets, counted, out):
    for s in prange(len(offsets) - 1):
        total, top, low = 0.0, 0.0, 0.0
        for i in range(offsets[s + 1] - 1, offsets[s] - 1, -1):
            if len(counted) > 0 and not counted[i]:
                continue
            total += np.float64(values[i])
            if total > top:
                top = total
            if total < low:
                low = total
        out[s] = max(top, -low)


@parallel_kernel
def _min_form(rewards, offsets, counted, out):
    for s in prange(len(offsets) - 1):
        after, open_end = 0.0, True
        for i in range(offsets[s + 1] - 1, offsets[s] - 1, -1):
            if len(counted) > 0 and not counted[i]:
                out[i] = 0.0
                continue
            value = float(rewards[i])
            if open_end:
                out[i] = value
            else:
                value = np.nan if np.isnan(value) or np.isnan(after) else min(value, after)
                out[i] = value - after
            after, open_end = value, False
