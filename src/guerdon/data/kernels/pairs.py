"""Dense labels of keys that are not dense: equal pairs of int64 get one label, without sorting."""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels.compile import kernel
from guerdon.errors import DataError


def pair_labels(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, int]:
    """Label every pair (first_i, second_i), numbered in the order in which they first occur.

    Open addressing over a table at least twice as large as the input: about one random access per entry.

    Args:
        first, second: int64 (n,).

    Returns:
        int64 (n,) in [0, L), and L.

    Raises:
        DataError: arrays of different length.
    """
    first = np.ascontiguousarray(first, dtype=np.int64)
    second = np.ascontiguousarray(second, dtype=np.int64)
    if first.ndim != 1 or first.shape != second.shape:
        raise DataError(f"keys of shape {first.shape} and {second.shape} do not pair up")
    labels = np.empty(len(first), np.int64)
    table = np.full(1 << max(4, int(2 * len(first)).bit_length()), -1, np.int64)
    return labels, int(_pairs(first, second, table, labels))


def first_positions(labels: np.ndarray) -> np.ndarray:
    """Position at which each of the labels 0, 1, 2 ... of `pair_labels` first occurs, int64 (L,)."""
    if len(labels) == 0:
        return np.empty(0, np.int64)
    seen = np.maximum.accumulate(labels)
    fresh = np.ones(len(labels), bool)
    fresh[1:] = seen[1:] > seen[:-1]
    return np.flatnonzero(fresh)


@kernel()
def _pairs(first, second, table, labels):
    size = np.uint64(len(table) - 1)
    shift = np.uint64(32)
    owners = np.empty(len(first), np.int64)
    n = 0
    for i in range(len(first)):
        a, b = first[i], second[i]
        h = np.uint64(b) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(a) * np.uint64(0xC2B2AE3D27D4EB4F)
        h ^= h >> shift
        h *= np.uint64(0xD6E8FEB86659FD93)
        slot = (h ^ (h >> shift)) & size
        while True:
            label = table[slot]
            if label < 0:
                table[slot] = n
                owners[n] = i
                labels[i] = n
                n += 1
                break
            at = owners[label]
            if first[at] == a and second[at] == b:
                labels[i] = label
                break
            slot = (slot + np.uint64(1)) & size
    return n
