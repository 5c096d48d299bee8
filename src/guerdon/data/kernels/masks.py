"""What a mask says about segments: how many positions count, and which is the last of them."""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels.arrays import counted, spans
from guerdon.data.kernels.compile import launch, parallel_kernel, prange


def segment_count(mask: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """How many positions of each segment count, float64 (S,).

    Args:
        mask: bool (total,).
        offsets: int64 (S+1,).

    Raises:
        DataError: offsets that do not fit the mask.
    """
    mask = counted(mask, len(mask))
    out = np.empty(len(offsets) - 1)
    launch(_count, len(mask), mask, spans(offsets, len(mask)), out)
    return out


def segment_last(mask: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Last position of each segment that counts, its last one where none does, -1 in an empty segment.

    Args, Raises: as `segment_count`.

    Returns:
        int64 (S,).
    """
    mask = counted(mask, len(mask))
    out = np.empty(len(offsets) - 1, np.int64)
    launch(_last, len(out), mask, spans(offsets, len(mask)), out)
    return out


@parallel_kernel
def _count(mask, offsets, out):
    for s in prange(len(offsets) - 1):
        n = 0
        for i in range(offsets[s], offsets[s + 1]):
            n += int(mask[i])
        out[s] = n


@parallel_kernel
def _last(mask, offsets, out):
    for s in prange(len(offsets) - 1):
        at = offsets[s + 1] - 1
        while at >= offsets[s] and not mask[at]:
            at -= 1
        if at < offsets[s]:
            at = offsets[s + 1] - 1 if offsets[s + 1] > offsets[s] else -1
        out[s] = at
