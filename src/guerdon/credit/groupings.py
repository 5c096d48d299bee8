"""Which spans are compared with each other: group keys to labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from guerdon.credit.view import View
from guerdon.data.kernels import pair_labels
from guerdon.data.keys import parent_of
from guerdon.errors import DataError, RecipeError

KEYS = ("prompt", "state", "index", "node", "fork", "batch")


Labelling = Callable[[View], tuple[np.ndarray, int]]


@dataclass(frozen=True)
class Grouping:
    """Spans with equal keys form one group; see `by`."""

    keys: tuple[str, ...]

    def __call__(self, view: View) -> tuple[np.ndarray, int]:
        """Labels int64 (spans of the level,) and their number; what the policy did not write gets -1."""
        labels, n_labels = np.zeros(len_of(view), np.int64), 1
        for key in self.keys:
            labels, n_labels = _combine(labels, n_labels, _key(view, key))
        compared = view.compared()
        return (labels if compared is None else np.where(compared, labels, -1)), n_labels


def by(*keys: str) -> Grouping:
    """Group spans by one or several keys.

    Args:
        keys: "prompt" (samples of one prompt), "state" (equal keys of what the agent saw before the
            step), "index" (position of the span in its rollout: turn 0, 1, ...), "node" (tree node), "fork"
            (parent of the tree node; the first steps of a prompt are siblings), "batch" (all).

    Raises:
        RecipeError: an unknown key, or none.
    """
    if not keys:
        raise RecipeError(f"a grouping needs at least one key (valid: {', '.join(KEYS)})")
    for key in keys:
        if key not in KEYS:
            raise RecipeError(f"unknown group key {key!r} (valid: {', '.join(KEYS)})")
    return Grouping(tuple(keys))


def len_of(view: View) -> int:
    """Number of spans at the view's level."""
    return view.rollouts.count(view.level)


def _key(view: View, key: str) -> np.ndarray:
    rollouts = view.rollouts
    if key == "batch":
        return np.zeros(len_of(view), np.int64)
    if key == "prompt":
        labels = rollouts.groups()[0]
        return labels if view.level == "rollout" else np.repeat(labels, np.diff(view.offsets))
    if key == "index":
        offsets = view.offsets
        return np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], np.diff(offsets))
    name = "node" if key == "fork" else key
    column = getattr(rollouts, name)
    if column is None:
        raise DataError(f'{view.method} needs per-step {name} keys: column "{name}"')
    if view.level != "step":
        raise DataError(f"{view.method} groups by {key!r}, which exists per step, not per {view.level}")
    return parent_of(rollouts) if key == "fork" else column


def _combine(labels: np.ndarray, n_labels: int, key: np.ndarray) -> tuple[np.ndarray, int]:
    """Dense labels of the pairs (label, key)."""
    if len(key) == 0:
        return labels, 0
    low, high = int(key.min()), int(key.max())
    width = high - low + 1
    if width * n_labels < max(4 * len(key), 1024):  # small enough to number without looking for equals
        return labels * width + (key - low), n_labels * width
    return pair_labels(labels, key)
