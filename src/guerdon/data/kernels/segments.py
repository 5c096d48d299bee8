"""Segment reduce and spread: values of consecutive parts to one value per segment, and back."""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels.compile import kernel, prange
from guerdon.errors import DataError

HOW_REDUCE = ("sum", "mean", "min", "max", "last", "first", "prod")
HOW_SPREAD = ("all", "last", "first", "share")


def segment_reduce(
    values: np.ndarray, offsets: np.ndarray, how: str = "sum", skip_missing: bool = False
) -> np.ndarray:
    """One value per segment: `out[s] = how(values[offsets[s]:offsets[s+1]])`.

    Args:
        values: (total,) any float dtype; NaN means missing.
        offsets: int64 (S+1,).
        how: one of `HOW_REDUCE`.
        skip_missing: leave NaN out of the segment. Otherwise a segment with a NaN part is NaN
            (`last` and `first` look at their own part only).

    Returns:
        float64 (S,). Nothing to reduce: sum 0 and prod 1 for an empty segment; NaN for the other
        forms, and for a segment whose parts are all missing.

    Raises:
        DataError: unknown `how`.
    """
    code = _code(how, HOW_REDUCE)
    return _reduce(np.asarray(values), np.asarray(offsets, dtype=np.int64), code, skip_missing)


def segment_spread(values: np.ndarray, offsets: np.ndarray, how: str = "all") -> np.ndarray:
    """One value per part from one value per segment.

    Args:
        values: (S,).
        offsets: int64 (S+1,).
        how: "all" copies, "last" / "first" place the value on one part and 0 elsewhere,
            "share" divides it by the number of parts.

    Returns:
        float64 (offsets[-1],).

    Raises:
        DataError: unknown `how`.
    """
    code = _code(how, HOW_SPREAD)
    return _spread(np.asarray(values), np.asarray(offsets, dtype=np.int64), code)


def _code(how: str, valid: tuple[str, ...]) -> int:
    if how not in valid:
        raise DataError(f"unknown how={how!r}; expected one of {', '.join(valid)}")
    return valid.index(how)


@kernel(parallel=True)
def _reduce(values, offsets, code, skip_missing):
    n = len(offsets) - 1
    out = np.empty(n, np.float64)
    for s in prange(n):
        start, end = offsets[s], offsets[s + 1]
        total, product, low, high = 0.0, 1.0, np.inf, -np.inf
        first, last, seen, missing = np.nan, np.nan, 0, 0
        for i in range(start, end):
            x = np.float64(values[i])
            if np.isnan(x):
                missing += 1
                continue
            if seen == 0:
                first = x
            last = x
            seen += 1
            total += x
            product *= x
            low = min(low, x)
            high = max(high, x)
        if not skip_missing and end > start:
            first, last = np.float64(values[start]), np.float64(values[end - 1])
        result = np.nan
        if code == 5:
            result = first
        elif code == 4:
            result = last
        elif (missing > 0 and not skip_missing) or (seen == 0 and (missing > 0 or 0 < code < 6)):
            result = np.nan
        elif code == 0:
            result = total
        elif code == 1:
            result = total / seen
        elif code == 2:
            result = low
        elif code == 3:
            result = high
        else:
            result = product
        out[s] = result
    return out


@kernel(parallel=True)
def _spread(values, offsets, code):
    out = np.zeros(offsets[-1], np.float64)
    for s in prange(len(offsets) - 1):
        start, end = offsets[s], offsets[s + 1]
        if end == start:
            continue
        x = np.float64(values[s])
        if code == 1:
            out[end - 1] = x
        elif code == 2:
            out[start] = x
        else:
            if code == 3:
                x /= end - start
            for i in range(start, end):
                out[i] = x
    return out
