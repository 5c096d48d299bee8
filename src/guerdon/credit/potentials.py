"""Potentials along a rollout: their differences, and what a flat stretch earns from the change behind it.

Arrays in, arrays out: `phi` holds one value per span, `offsets` int64 (N+1,) the spans of every rollout.
"""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels import segment_reduce
from guerdon.errors import RecipeError


def differences(phi: np.ndarray, offsets: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """x_k = phi_k - phi_{k-1} in every rollout, with phi_{-1} = `start`.

    Args:
        phi: (spans,), value *after* each span.
        offsets: int64 (N+1,).
        start: (N,), value before the first span; None: the first span is NaN.

    Returns:
        float64 (spans,). The sum over a rollout is phi_last - start.
    """
    out = np.empty(len(phi))
    out[1:] = phi[1:] - phi[:-1]
    filled = np.diff(offsets) > 0
    first = offsets[:-1][filled]
    out[first] = np.nan if start is None else phi[first] - start[filled]
    return out


def gains(phi: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """x_k = phi_{k+1} - phi_k for values measured *before* each span; NaN on the last span of a rollout."""
    out = np.empty(len(phi))
    out[:-1] = phi[1:] - phi[:-1]
    out[offsets[1:][np.diff(offsets) > 0] - 1] = np.nan
    return out


def lookahead_fill(
    phi: np.ndarray, offsets: np.ndarray, decay: float = 0.7, reach: int = 4, flat: float = 1e-5
) -> np.ndarray:
    """Difference after each cut; where it is flat, the next change discounted by its distance.

    With d_k = phi_{k+1} - phi_k: r_j = d_j where |d_j| >= flat; else decay^(k-j) d_k for the nearest k with
    |d_k| >= flat and k - j <= reach; else, where the values end within that distance,
    decay^(m-j) (phi_{m+1} - phi_j) with m the last cut; else 0. `reach = 0` leaves plain differences.

    Args:
        phi: (spans,) value at the end of each span; trailing NaN are spans after the last cut.
        offsets: int64 (N+1,).
        decay: factor per cut, in [0, 1].
        reach: how many cuts away a change may lie, 0 or more.

    Returns:
        float64 (spans,): r_j at the span that ends with cut j; NaN where there is none (the last value of a
        rollout and what comes after it).

    Reference: arXiv 2508.10293.
    """
    if not 0.0 <= decay <= 1.0:
        raise RecipeError(f"decay must be a number in [0, 1], got {decay!r}")
    if reach < 0 or reach != int(reach):
        raise RecipeError(f"lookahead must be a whole number, 0 or more; got {reach!r}")
    d = gains(phi, offsets)
    at = np.arange(len(phi))
    known = np.where(np.isnan(phi), -1.0, at)  # the last value of a rollout closes its sequence
    last = np.repeat(segment_reduce(known, offsets, "max"), np.diff(offsets)).astype(np.int64)
    out = np.where(at < last, d, np.nan)
    waiting = (at < last) & (np.abs(d) < flat)
    for step in range(1, int(reach) + 1):
        ahead = np.minimum(at + step, len(phi) - 1)
        over = waiting & (at + step >= last)
        out[over] = decay ** (last - 1 - at)[over] * (phi[last] - phi)[over]
        found = waiting & ~over & ~(np.abs(d[ahead]) < flat)
        out[found] = decay**step * d[ahead][found]
        waiting &= ~(over | found)
    return np.where(waiting & (reach > 0), 0.0, out)
