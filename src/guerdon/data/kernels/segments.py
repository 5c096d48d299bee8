"""Segment reduce and spread: values of consecutive parts to one value per segment, and back."""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels.arrays import counted, flat, spans
from guerdon.data.kernels.compile import kernel, launch, parallel_kernel, prange
from guerdon.errors import DataError

HOW_REDUCE = ("sum", "mean", "min", "max", "last", "first", "prod")
HOW_SPREAD = ("all", "last", "first", "share")


def segment_reduce(
    values: np.ndarray,
    offsets: np.ndarray,
    how: str = "sum",
    skip_missing: bool = False,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """One value per segment: `out[s] = how(values[offsets[s]:offsets[s+1]])`.

    Args:
        values: (total,) any float dtype; NaN means missing.
        offsets: int64 (S+1,).
        how: one of `HOW_REDUCE`.
        skip_missing: leave NaN out of the segment. Otherwise a segment with a NaN part is NaN
            (`last` and `first` look at their own part only).
        mask: bool (total,) of the parts that count; the others are not there. Not for `last` and `first`.

    Returns:
        float64 (S,). Nothing to reduce: sum 0 and prod 1 for an empty segment; NaN for the other
        forms, and for a segment whose parts are all missing.

    Raises:
        DataError: unknown `how`, or offsets or mask that do not fit the values.
    """
    code = _code(how, HOW_REDUCE)
    values = flat(values)
    offsets = spans(offsets, len(values))
    if mask is not None and how in ("last", "first"):
        raise DataError(f"how={how!r} takes no mask")
    out = np.empty(len(offsets) - 1)
    launch(_reduce, len(values), values, offsets, code, bool(skip_missing), counted(mask, len(values)), out)
    return out


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
        DataError: unknown `how`, or another number of values than of segments.
    """
    code = _code(how, HOW_SPREAD)
    offsets = spans(offsets)
    out = np.empty(offsets[-1])
    launch(_spread, len(out), flat(values, len(offsets) - 1), offsets, code, out)
    return out


def segment_add(
    total: np.ndarray, values: np.ndarray, offsets: np.ndarray, weight: float = 1.0, first: bool = False
) -> None:
    """Spread and add in one pass, in place: `total[i] += weight * values[s]` for every part i of s.

    A NaN adds nothing; where all that is added is NaN, the total is NaN.

    Args:
        total: float64 (offsets[-1],), written to.
        values: (S,).
        offsets: int64 (S+1,).
        weight: factor.
        first: write instead of adding; what `total` held before is ignored.

    Raises:
        DataError: arrays that do not fit each other.
    """
    offsets = spans(offsets, len(total))
    values = flat(values, len(offsets) - 1)
    launch(_add, len(total), total, values, offsets, float(weight), bool(first))


def settle(values: np.ndarray, mask: np.ndarray | None = None) -> None:
    """NaN, and everything outside the mask, becomes 0, in place.

    Args:
        values: float64 (n,), written to.
        mask: bool (n,); default all.

    Raises:
        DataError: a mask of another length.
    """
    launch(_settle, len(values), values, counted(mask, len(values)))


def _code(how: str, valid: tuple[str, ...]) -> int:
    if how not in valid:
        raise DataError(f"unknown how={how!r}; expected one of {', '.join(valid)}")
    return valid.index(how)


@parallel_kernel
def _reduce(values, offsets, code, skip_missing, mask, out):
    for s in prange(len(offsets) - 1):
        part = values[offsets[s] : offsets[s + 1]]
        if 4 <= code <= 5:
            out[s] = _end(part, code == 4, skip_missing)
            continue
        total, product, low, high = 0.0, 1.0, np.inf, -np.inf
        seen, size = 0, len(part)
        for i in range(len(part)):
            if len(mask) > 0 and not mask[offsets[s] + i]:
                size -= 1
                continue
            x = np.float64(part[i])
            if np.isnan(x):
                continue
            seen += 1
            if code <= 1:
                total += x
            elif code == 2:
                low = min(low, x)
            elif code == 3:
                high = max(high, x)
            else:
                product *= x
        result = np.nan
        if seen == size or (skip_missing and seen > 0):
            if code == 0:
                result = total
            elif code == 6:
                result = product
            elif seen > 0:
                result = total / seen if code == 1 else (low if code == 2 else high)
        out[s] = result


@kernel()
def _end(part, last, skip_missing):
    for k in range(len(part)):
        x = np.float64(part[len(part) - 1 - k if last else k])
        if not skip_missing or not np.isnan(x):
            return x
    return np.nan


@parallel_kernel
def _spread(values, offsets, code, out):
    for s in prange(len(offsets) - 1):
        part = out[offsets[s] : offsets[s + 1]]
        n = len(part)
        x = np.float64(values[s])
        if code == 3:
            x /= n
        everywhere = x if code == 0 or code == 3 else 0.0
        for i in range(n):
            part[i] = everywhere
        if n > 0 and code == 1:
            part[n - 1] = x
        elif n > 0 and code == 2:
            part[0] = x


@parallel_kernel
def _add(total, values, offsets, weight, first):
    for s in prange(len(offsets) - 1):
        part = total[offsets[s] : offsets[s + 1]]
        x = weight * values[s]
        if first:
            for i in range(len(part)):
                part[i] = x
        elif not np.isnan(x):
            for i in range(len(part)):
                part[i] = x if np.isnan(part[i]) else part[i] + x


@parallel_kernel
def _settle(values, mask):
    if len(mask) > 0:
        for i in prange(len(values)):
            x = 0.0 if np.isnan(values[i]) else values[i]
            values[i] = x if mask[i] else 0.0
    else:
        for i in prange(len(values)):
            values[i] = 0.0 if np.isnan(values[i]) else values[i]
