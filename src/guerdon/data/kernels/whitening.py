"""Whitening over the positions that count, in one batch.

Sums are taken over blocks of fixed size and added in order, so the result does not depend on how many
threads ran.
"""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels.compile import kernel, prange

_BLOCK = 1 << 15
_NO_MASK = np.empty(0, np.bool_)


def masked_moments(values: np.ndarray, mask: np.ndarray | None = None, ddof: int = 1) -> tuple[float, float, int]:
    """Mean, variance (denominator count - ddof) and count of the values that count.

    Args:
        values: (n,); NaN is left out.
        mask: bool (n,) of what counts; default all.
        ddof: 1 for the unbiased variance.

    Returns:
        (mean, variance, count); NaN where undefined.
    """
    values, mask = np.asarray(values), _NO_MASK if mask is None else np.asarray(mask, np.bool_)
    count, total = _block_sums(values, mask, 0.0, 1)
    n = int(count.sum())
    mean = float(total.sum()) / n if n else float("nan")
    squares = _block_sums(values, mask, mean, 2)[1] if n > ddof else np.zeros(1)
    return mean, (float(squares.sum()) / (n - ddof) if n > ddof else float("nan")), n


def whiten(
    values: np.ndarray, mask: np.ndarray | None = None, ddof: int = 1, eps: float = 1e-8, shift: bool = True
) -> np.ndarray:
    """(x - mean) / sqrt(var + eps) over the positions that count; 0 elsewhere.

    Args:
        values: (n,); NaN stays NaN and does not enter the statistics.
        mask: bool (n,); default all.
        ddof: degrees of freedom taken off the variance's denominator.
        eps: added to the variance, inside the root.
        shift: subtract the mean (False scales only, keeping the sign of every value).

    Returns:
        float64 (n,). With a single observation (or none) the scale is undefined and only the mean is
        subtracted.
    """
    mean, variance, n = masked_moments(values, mask, ddof)
    if n == 0:
        mean = 0.0
    scale = 1.0 / np.sqrt(variance + eps) if n > ddof else 1.0
    mask = _NO_MASK if mask is None else np.asarray(mask, np.bool_)
    return _affine(np.asarray(values), mask, mean if shift else 0.0, scale)


@kernel(parallel=True)
def _block_sums(values, mask, centre, power):
    n_blocks = (len(values) + _BLOCK - 1) // _BLOCK
    count = np.zeros(n_blocks, np.int64)
    total = np.zeros(n_blocks, np.float64)
    masked = len(mask) > 0
    for b in prange(n_blocks):
        c, t = 0, 0.0
        for i in range(b * _BLOCK, min((b + 1) * _BLOCK, len(values))):
            x = values[i]
            if (masked and not mask[i]) or np.isnan(x):
                continue
            c += 1
            t += (x - centre) ** power if power == 2 else x
        count[b] = c
        total[b] = t
    return count, total


@kernel(parallel=True)
def _affine(values, mask, mean, scale):
    out = np.zeros(len(values), np.float64)
    masked = len(mask) > 0
    for i in prange(len(values)):
        if not masked or mask[i]:
            out[i] = (values[i] - mean) * scale
    return out
