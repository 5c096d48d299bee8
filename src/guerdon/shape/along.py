"""Transforms along the spans of a rollout: differences, discounted totals, suffix scale.

`offsets` are the spans per rollout, int64 (N+1,). NaN stays NaN and passes to what is computed from it.
"""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels import segment_reduce, segment_scan
from guerdon.shape.maps import clip_above


def delta(r: np.ndarray, offsets: np.ndarray, last: str = "drop") -> np.ndarray:
    """d_k = r_k - r_{k+1}: what a step is worth before the next one takes it back.

    Undiscounted sums of what follows are r_k again, and the rollout's sum is r_1 however long it is.
    `last="keep"` ends with d_K = r_K. "drop" leaves the last step to the outcome: d_K = 0 and
    d_{K-1} = r_{K-1}, so a rollout of one step gets 0.

    Args:
        r: (total,) step values.
        offsets: int64 (N+1,).
        last: "drop" or "keep".

    Reference: Gao et al., arXiv 2410.15115.
    """
    r = np.asarray(r, np.float64)
    filled = offsets[1:][np.diff(offsets) > 0] - 1
    kept = r.copy()
    if last == "drop":
        kept[filled] = 0.0
    following = np.zeros(len(r))
    following[:-1] = kept[1:]
    following[filled] = 0.0
    return kept - following


def clip_delta(r: np.ndarray, offsets: np.ndarray, eta: float = 0.9, last: str = "drop") -> np.ndarray:
    """delta(min(r - eta, 0)): steps that are good enough earn nothing, bad ones once."""
    return delta(clip_above(r, eta), offsets, last)


def discounted_total(r: np.ndarray, offsets: np.ndarray, gamma: float = 1.0) -> np.ndarray:
    """sum_k gamma^k r_k per rollout, k from 0; 0 for a rollout without spans; float64 (N,)."""
    if gamma == 1.0:
        return segment_reduce(r, offsets, "sum")
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
    return segment_reduce(np.asarray(r, np.float64) * gamma**position, offsets, "sum")


def suffix_max_scale(r: np.ndarray, offsets: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    """r / (max |sum of what follows| + eps), the maximum over the batch: no return exceeds 1."""
    returns = segment_scan(r, offsets, 1.0)
    return np.asarray(r, np.float64) / (np.nanmax(np.abs(returns), initial=0.0) + eps)
