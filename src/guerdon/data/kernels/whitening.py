"""Whitening over the positions that count, in one batch.

Statistics are taken over blocks of fixed size, which stay in the cache, and then joined: one pass over
memory, and the same result however many threads ran.
"""

from __future__ import annotations

import math

import numpy as np

from guerdon.data.kernels.arrays import counted, flat
from guerdon.data.kernels.compile import kernel, launch, parallel_kernel, prange
from guerdon.errors import DataError

_BLOCK = 1 << 12


def masked_moments(
    values: np.ndarray, mask: np.ndarray | None = None, ddof: int = 1
) -> tuple[float, float, int]:
    """Mean, variance (denominator count - ddof) and count of the values that count.

    Equal values have exactly their own mean and exactly zero variance.

    Args:
        values: (n,); NaN is left out.
        mask: bool (n,) of what counts; default all.
        ddof: 1 for the unbiased variance.

    Returns:
        (mean, variance, count); NaN where undefined.

    Raises:
        DataError: a mask of another length.
    """
    values = flat(values)
    blocks = np.empty((-(-len(values) // _BLOCK), 3))
    launch(_block_moments, len(values), values, counted(mask, len(values)), _BLOCK, blocks)
    count, mean, m2 = blocks[blocks[:, 0] > 0].T
    total = count.sum()
    if total == 0:
        return math.nan, math.nan, 0
    with np.errstate(invalid="ignore"):  # infinite values: the mean is then NaN
        centre = mean[0] + np.sum(count * (mean - mean[0])) / total
        squares = m2.sum() + np.sum(count * (mean - centre) ** 2)
    return float(centre), float(squares / (total - ddof)) if total > ddof else math.nan, int(total)


def whiten(
    values: np.ndarray,
    mask: np.ndarray | None = None,
    ddof: int = 1,
    eps: float = 1e-8,
    shift: bool = True,
    missing: float = math.nan,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """(x - mean) / sqrt(var + eps) over the positions that count; 0 elsewhere.

    Args:
        values: (n,); NaN does not enter the statistics.
        mask: bool (n,); default all.
        ddof: degrees of freedom taken off the variance's denominator.
        eps: added to the variance, inside the root.
        shift: subtract the mean (False scales only, keeping the sign of every value).
        missing: what a NaN that counts becomes.
        out: float64 (n,) to write to, possibly `values` itself; default a new array.

    Returns:
        float64 (n,). With a single observation (or none) the scale is undefined and only the mean is
        subtracted. Values without any spread become 0 (unshifted: stay) even where `eps` is 0.

    Raises:
        DataError: a mask of another length, or an infinite value.
    """
    mean, variance, count = masked_moments(values, mask, ddof)
    if count and not math.isfinite(mean):
        raise DataError("infinite values cannot be whitened; clip them first")
    spread = 1.0 if math.isnan(variance) else math.sqrt(variance + eps)
    if out is None:
        out = np.array(values, dtype=np.float64)
    elif out is not values:
        np.copyto(out, values)
    scale = 1.0 / spread if spread > 0 else 1.0
    launch(_affine, len(out), out, counted(mask, len(out)), mean if shift else 0.0, scale, float(missing))
    return out


@kernel(reorder=True)
def _moments(values):
    origin, total, squares = np.float64(values[0]), 0.0, 0.0
    for i in range(len(values)):  # deviations from a member: those of equal values are exactly 0
        total += values[i] - origin
    mean = origin + total / len(values)
    for i in range(len(values)):
        squares += (values[i] - mean) * (values[i] - mean)
    return mean, squares


@kernel()
def _keep(values, mask, kept):
    n = 0
    for i in range(len(values)):
        x = np.float64(values[i])
        kept[n] = x  # overwritten by the next one unless it counts: no branch to mispredict
        n += int((len(mask) == 0 or mask[i]) & (x == x))
    return n


@parallel_kernel
def _block_moments(values, mask, size, out):
    for b in prange(len(out)):
        block, counts = values[b * size : (b + 1) * size], mask[b * size : (b + 1) * size]
        n, mean, squares = len(block), np.nan, 0.0
        if len(counts) == 0:
            mean, squares = _moments(block)
        if np.isnan(mean):  # there is a mask, or a value is missing
            kept = np.empty(size, np.float64)
            n = _keep(block, counts, kept)
            mean, squares = _moments(kept[:n]) if n > 0 else (0.0, 0.0)
        out[b, 0], out[b, 1], out[b, 2] = n, mean, squares


@parallel_kernel
def _affine(values, mask, mean, scale, missing):
    if len(mask) > 0:
        for i in prange(len(values)):
            y = (values[i] - mean) * scale
            y = missing if np.isnan(y) else y
            values[i] = y if mask[i] else 0.0
    else:
        for i in prange(len(values)):
            y = (values[i] - mean) * scale
            values[i] = missing if np.isnan(y) else y
