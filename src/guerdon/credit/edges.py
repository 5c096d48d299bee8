"""Edges of the graph that the rollouts of one prompt walk: (state, action, next state) as group labels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from guerdon.credit.view import View
from guerdon.data.kernels import pair_labels
from guerdon.data.keys import collapse_space, fold_text, plain
from guerdon.data.origin import keys_of
from guerdon.errors import DataError, RecipeError

_NORMALISE = {"fold": fold_text, "space": collapse_space, "none": None}


@dataclass(frozen=True)
class Edges:
    """Group steps of a prompt that have the same state, action and next state.

    Attributes:
        history_window: how many of the last (state, action) pairs must agree; None: the whole past, so that
            edges form a prefix tree.
        normalise_actions: "fold", "space" or "none" (true: "fold", false: "none").
        actions, final_state: where `meta` keeps one action per step, and the state after the last step.

    A null action (it could not be parsed) is an edge of its own.
    """

    history_window: int | None = 1
    normalise_actions: str | bool = "fold"
    actions: str = "actions"
    final_state: str = "final_state"

    def __post_init__(self) -> None:
        h = self.history_window
        if h is not None and h != float("inf") and (isinstance(h, bool) or h != int(h) or h < 1):
            raise RecipeError(f"history_window must be a whole number from 1, or null for all; got {h!r}")
        if self.normalise_actions not in (True, False, *_NORMALISE):
            raise RecipeError(
                f"normalise_actions must be one of {', '.join(_NORMALISE)}; got {self.normalise_actions!r}"
            )

    def __call__(self, view: View) -> tuple[np.ndarray, int]:
        """Labels int64 (steps,) and their number; steps the policy did not write get -1."""
        rollouts = view.rollouts
        if rollouts.state is None:
            raise DataError(f'{view.method} needs per-step state keys: column "state"')
        if view.level != "step":
            raise DataError(f"{view.method} merges edges per step, not per {view.level}")
        offsets = view.offsets
        prompt = view.per_rollout(rollouts.groups()[0])
        action = self._actions(view)
        situation, _ = pair_labels(prompt, rollouts.state)
        pair, _ = pair_labels(situation, action)
        past = self._past(pair, offsets)
        after = np.empty(len(pair), np.int64)
        after[:-1] = rollouts.state[1:]
        filled = np.diff(offsets) > 0
        after[offsets[1:][filled] - 1] = self._final(view)[filled]
        labels, n_labels = pair_labels(past, after)
        written = view.compared()
        return (labels if written is None else np.where(written, labels, -1)), n_labels

    def _past(self, pair: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Label of the last `history_window` pairs up to every step."""
        h = self.history_window
        lengths = np.diff(offsets)
        longest = int(lengths.max(initial=0))
        if h is None or h >= longest:
            return _prefixes(pair, offsets, longest)
        depth = np.arange(len(pair)) - np.repeat(offsets[:-1], lengths)
        past = pair
        for back in range(1, int(h)):
            earlier = np.full(len(pair), -1, np.int64)
            has = np.flatnonzero(depth >= back)
            earlier[has] = pair[has - back]
            past, _ = pair_labels(past, earlier)
        return past

    def _actions(self, view: View) -> np.ndarray:
        rows = view.meta(self.actions)
        counts = np.diff(view.offsets)
        if not all(isinstance(row, (list, tuple)) for row in rows):
            row = next(i for i, row in enumerate(rows) if not isinstance(row, (list, tuple)))
            raise DataError(
                f"{view.method} needs `meta.{self.actions}`, a list with one action per step; row {row} has "
                f"{'none' if rows[row] is None else type(rows[row]).__name__}"
            )
        got = np.fromiter(map(len, rows), np.int64, len(rows))
        if (got != counts).any():
            row = int(np.flatnonzero(got != counts)[0])
            raise DataError(
                f"{view.method}: row {row} has {counts[row]} steps, but {got[row]} entries in "
                f"`meta.{self.actions}`"
            )
        return _codes(list(chain.from_iterable(rows)), self.normalise_actions)

    def _final(self, view: View) -> np.ndarray:
        """State keys after the last step of every rollout, in the numbering of the column `state`."""
        values = view.meta(self.final_state, required=False)
        known = iter(keys_of([value for value in values if value is not None]))
        return np.array([_UNKNOWN if value is None else next(known) for value in values], dtype=np.int64)


_UNKNOWN = np.iinfo(np.int64).min


def _prefixes(pair: np.ndarray, offsets: np.ndarray, longest: int) -> np.ndarray:
    """Label of all pairs up to every step: the nodes of a prefix tree, found depth by depth."""
    lengths, out, known = np.diff(offsets), np.empty_like(pair), 0
    for depth in range(longest):
        at = offsets[:-1][lengths > depth] + depth
        before = out[at - 1] if depth else np.full(len(at), -1, np.int64)
        labels, n_labels = pair_labels(before, pair[at])
        out[at] = known + labels
        known += n_labels
    return out


def _codes(actions: list[Any], normalise: str | bool) -> np.ndarray:
    """Number every distinct action; null actions get a number of their own each."""
    name = ("fold" if normalise else "none") if isinstance(normalise, bool) else normalise
    change = _NORMALISE[name]
    try:
        distinct = dict.fromkeys(actions)
    except TypeError:  # actions that are objects
        actions = [a if a is None or isinstance(a, str) else _text(a) for a in actions]
        distinct = dict.fromkeys(actions)
    numbers: dict[Any, int] = {}
    code = {
        action: numbers.setdefault(
            change(action) if change and isinstance(action, str) else action, len(numbers)
        )
        for action in distinct
        if action is not None
    }
    code[None] = -1
    out = np.fromiter(map(code.__getitem__, actions), np.int64, len(actions))
    nobody = out < 0
    out[nobody] = -1 - np.arange(int(nobody.sum()))
    return out


def _text(value: Any) -> str:
    import json

    return json.dumps(value, sort_keys=True, default=plain)
