"""Which rollouts share an optimiser step."""

from __future__ import annotations

import numpy as np


def any_rows(n: int, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows 0..n-1 in random order, at most `size` at a time, int64."""
    order = rng.permutation(n)
    return [order[at : at + size] for at in range(0, n, size)]


def whole_groups(labels: np.ndarray, n_groups: int, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Groups in random order, never split: a step ends with the group that fills it to a multiple of `size`.

    Args:
        labels: int64 (N,), dense group of every row.

    Returns:
        row indices int64, every row in exactly one step.
    """
    groups = rng.permutation(n_groups)
    order = np.argsort(np.argsort(groups)[labels], kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=n_groups)[groups])
    full = np.flatnonzero(np.diff((ends - 1) // size))
    return np.split(order, ends[full])
