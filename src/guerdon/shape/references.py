"""Rewards relative to those of reference responses to the same prompt.

References are ragged: `refs` (total,) and `offsets` int64 (N+1,), any number per rollout; a rollout without
any has NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from guerdon.data.kernels import label_moments, segment_reduce
from guerdon.data.ragged import Ragged
from guerdon.errors import DataError


def mean_over(
    r: np.ndarray, refs: np.ndarray, offsets: np.ndarray, through: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """mean_j through(r - r_j) over the references of every rollout, float64 (N,)."""
    gaps = np.repeat(np.asarray(r, np.float64), np.diff(offsets)) - refs
    return segment_reduce(through(gaps), offsets, "mean")


def normal_quantile(
    refs: np.ndarray, offsets: np.ndarray, q: float = 0.85, ddof: int = 1, eps: float = 1e-5
) -> np.ndarray:
    """mean + z_q (std + eps): a quantile of the normal fitted to each rollout's references, float64 (N,).

    Args:
        ddof: of the variance; with no more references than that the std is taken as 0.
    """
    n = len(offsets) - 1
    labels = np.repeat(np.arange(n), np.diff(offsets))
    count, mean, m2 = label_moments(refs, labels, n)
    std = np.sqrt(np.divide(m2, count - ddof, out=np.zeros(n), where=count > ddof))
    return mean + NormalDist().inv_cdf(q) * (std + eps)


def empirical_quantile(refs: np.ndarray, offsets: np.ndarray, q: float = 0.85) -> np.ndarray:
    """Quantile of each rollout's references, linear between neighbours, float64 (N,)."""
    n = len(offsets) - 1
    counts = np.diff(offsets)
    order = np.lexsort((refs, np.repeat(np.arange(n), counts)))
    ranked = np.append(np.asarray(refs, np.float64)[order], np.nan)
    at = offsets[:-1] + q * np.maximum(counts - 1, 0)
    low = np.minimum(np.floor(at).astype(np.int64), len(ranked) - 1)
    high = np.minimum(np.ceil(at).astype(np.int64), len(ranked) - 1)
    value = ranked[low] + (at - low) * (ranked[high] - ranked[low])
    return np.where(counts > 0, value, np.nan)


def ragged_references(rows: Sequence[Any], where: str, most: int | None = None, key: str = "") -> Ragged:
    """Reference rewards of every rollout from `meta`.

    Args:
        rows: one entry per rollout: a number, a list of numbers, a mapping of those by property, or None.
        where: what to call them in messages.
        most: take only so many, from the front.
        key: which property to take of a mapping.

    Raises:
        DataError: an entry that is none of these; the row is named.
    """
    lists = []
    for i, row in enumerate(rows):
        found = row.get(key) if isinstance(row, Mapping) else row
        found = [] if found is None else found if isinstance(found, list | tuple) else [found]
        if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in found):
            raise DataError(f"row {i}: `{where}` must be a number or a list of numbers, got {found!r}")
        lists.append([float(x) for x in found if x == x][:most])
    return Ragged.from_lists(lists, dtype=np.float64)
