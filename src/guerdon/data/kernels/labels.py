"""Statistics over groups given by labels: count, mean, variance, leave-one-out, rank.

Labels are dense int64 in [0, n_labels); a negative label belongs to no group. NaN values belong to no
group either: they do not count, and get no rank.
"""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels.arrays import NO_FLOATS, flat
from guerdon.data.kernels.compile import kernel
from guerdon.errors import DataError


def label_moments(
    values: np.ndarray, labels: np.ndarray, n_labels: int, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count (or total weight), mean and sum of squared deviations of every label.

    Deviations are taken from the label's first value before averaging, so a group of equal values has
    exactly their mean and exactly zero deviation.

    Args:
        values: (n,) any float dtype; NaN is left out.
        labels: int64 (n,); negative means in no group.
        n_labels: number of labels.
        weights: (n,) non-negative observation weights; default 1 each.

    Returns:
        (count, mean, m2), float64 (n_labels,) each; mean is NaN where nothing was counted.

    Raises:
        DataError: labels or weights of another length, or a label that is not below n_labels.
    """
    values = flat(values)
    w = NO_FLOATS if weights is None else flat(weights, len(values), "weights").astype(np.float64)
    return _moments(values, _labels(labels, len(values), n_labels), int(n_labels), w)


def label_sum(values: np.ndarray, labels: np.ndarray, n_labels: int) -> np.ndarray:
    """Sum of every label, NaN left out, 0 for an empty label; float64 (n_labels,)."""
    count, mean, _ = label_moments(values, labels, n_labels)
    return np.where(count > 0, count * mean, 0.0)


def label_mean(values: np.ndarray, labels: np.ndarray, n_labels: int) -> np.ndarray:
    """Mean of every label, NaN left out; NaN for an empty label; float64 (n_labels,)."""
    return label_moments(values, labels, n_labels)[1]


def label_var(values: np.ndarray, labels: np.ndarray, n_labels: int, ddof: int = 1) -> np.ndarray:
    """Variance of every label with denominator `count - ddof`; NaN where that is not positive."""
    count, _, m2 = label_moments(values, labels, n_labels)
    return np.divide(m2, count - ddof, out=np.full(n_labels, np.nan), where=count > ddof)


def label_loo_mean(values: np.ndarray, labels: np.ndarray, n_labels: int) -> np.ndarray:
    """Mean of the *other* members of each value's label, float64 (n,); NaN where there are none.

    A NaN value sees the mean of all members that are present.
    """
    values = np.asarray(values, dtype=np.float64)
    labels = _labels(labels, len(values), n_labels)
    count, mean, _ = label_moments(values, labels, n_labels)
    inside = labels >= 0
    at = np.where(inside, labels, 0)
    if n_labels == 0:
        return np.full(len(values), np.nan)
    present = ~np.isnan(values)
    others = count[at] - present
    # mean of others = mean + (mean - x) / (count - 1): exact when all members are equal
    shift = np.where(present, mean[at] - np.where(present, values, 0.0), 0.0)
    loo = mean[at] + np.divide(shift, others, out=np.zeros(len(values)), where=others > 0)
    return np.where(inside & (others > 0), loo, np.nan)


def label_rank(
    values: np.ndarray, labels: np.ndarray, n_labels: int, descending: bool = False, ties: str = "average"
) -> np.ndarray:
    """Rank of every value inside its label, from 0.

    Args:
        values, labels, n_labels: as in `label_moments`.
        descending: the largest value gets rank 0.
        ties: "average" (equal values share their mean rank), "min" (all get the lowest), or "first"
            (earlier position first).

    Returns:
        float64 (n,); NaN for missing values and values in no group.

    Raises:
        DataError: unknown `ties`.
    """
    if ties not in ("average", "min", "first"):
        raise DataError(f"unknown ties={ties!r}; expected average, min or first")
    values = np.asarray(values, dtype=np.float64)
    labels = _labels(labels, len(values), n_labels)
    keep = np.flatnonzero((labels >= 0) & ~np.isnan(values))
    v, g = values[keep], labels[keep]
    order = np.lexsort((-v if descending else v, g))
    v, g = v[order], g[order]
    position = np.arange(len(v), dtype=np.float64)
    sizes = np.bincount(g, minlength=n_labels)
    rank = position - (np.cumsum(sizes) - sizes)[g]
    if ties != "first" and len(v):
        fresh = np.concatenate([[True], (g[1:] != g[:-1]) | (v[1:] != v[:-1])])
        run = np.cumsum(fresh) - 1
        length = np.bincount(run)
        rank = rank[np.flatnonzero(fresh)][run] + ((length[run] - 1) / 2 if ties == "average" else 0)
    out = np.full(len(values), np.nan)
    out[keep[order]] = rank
    return out


def _labels(labels: np.ndarray, n: int, n_labels: int) -> np.ndarray:
    labels = np.ascontiguousarray(labels, dtype=np.int64)
    if labels.shape != (n,):
        raise DataError(f"labels of shape {labels.shape} for {n} values")
    if n and labels.max() >= n_labels:
        raise DataError(f"label {labels.max()} where there are {n_labels} labels")
    return labels


@kernel()
def _moments(values, labels, n_labels, weights):
    count = np.zeros(n_labels, np.float64)
    origin = np.zeros(n_labels, np.float64)
    mean = np.zeros(n_labels, np.float64)
    m2 = np.zeros(n_labels, np.float64)
    weighted = len(weights) > 0
    for i in range(len(values)):
        g = labels[i]
        x = np.float64(values[i])
        if g < 0 or np.isnan(x):
            continue
        if count[g] == 0.0 and mean[g] == 0.0:
            origin[g] = x
        w = weights[i] if weighted else 1.0
        count[g] += w
        mean[g] += w * (x - origin[g])
    for g in range(n_labels):
        mean[g] = origin[g] + mean[g] / count[g] if count[g] > 0 else np.nan
    for i in range(len(values)):
        g = labels[i]
        x = np.float64(values[i])
        if g < 0 or np.isnan(x) or count[g] == 0.0:  # nothing weighs anything: no mean to deviate from
            continue
        m2[g] += (weights[i] if weighted else 1.0) * (x - mean[g]) ** 2
    return count, mean, m2
