"""What enters the compiled kernels: contiguous arrays of few types, and indices that fit them.

Compiled code checks no bounds, so whatever it indexes by is checked here, once per call.
"""

from __future__ import annotations

import numpy as np

from guerdon.errors import DataError

NO_MASK = np.empty(0, np.bool_)
NO_FLOATS = np.empty(0, np.float64)


def flat(values: np.ndarray, n: int | None = None, name: str = "values") -> np.ndarray:
    """`values` as a contiguous float32 or float64 array (n,); other number types become float64.

    Raises:
        DataError: not one flat array, or another length than `n`.
    """
    values = np.asarray(values)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    if values.ndim != 1:
        raise DataError(f"{name} must be one flat array, got shape {values.shape}")
    if n is not None and len(values) != n:
        raise DataError(f"{name}: expected {n} entries, got {len(values)}")
    return np.ascontiguousarray(values)


def spans(offsets: np.ndarray, total: int | None = None) -> np.ndarray:
    """`offsets` as int64 (S+1,).

    Raises:
        DataError: they do not run from 0 to `total` without decreasing.
    """
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    if offsets.ndim != 1 or len(offsets) == 0 or offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
        raise DataError("offsets must be one flat array that starts at 0 and never decreases")
    if total is not None and offsets[-1] != total:
        raise DataError(f"offsets end at {offsets[-1]}, but there are {total} values")
    return offsets


def counted(mask: np.ndarray | None, n: int) -> np.ndarray:
    """`mask` as bool (n,); an empty array where there is none.

    Raises:
        DataError: another length than `n`.
    """
    if mask is None:
        return NO_MASK
    mask = np.ascontiguousarray(mask, dtype=np.bool_)
    if mask.shape != (n,):
        raise DataError(f"a mask of shape {mask.shape} does not fit {n} values")
    return mask
