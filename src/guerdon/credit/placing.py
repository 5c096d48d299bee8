"""Spread values to finer spans: on all of them, or on one that the policy wrote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guerdon.credit.view import View
from guerdon.data.kernels import segment_last, segment_spread


def place(values: np.ndarray, view: View, level: str, how: str = "all") -> np.ndarray:
    """Values of the view's spans on the spans of a finer `level`.

    Args:
        values: (spans of the view's level,).
        how: "all" copies; "last" puts the value on the last span inside that the policy wrote any of (the
            last one where it wrote none) and 0 elsewhere.

    Returns:
        float64 (spans of `level`,).
    """
    if level == view.level:
        return values
    inside = view.inside(level)
    written = view.at(level).compared()
    if how != "last" or written is None:
        return segment_spread(values, inside, how)
    out = np.zeros(inside[-1])
    last = segment_last(written, inside)
    out[last[last >= 0]] = values[last >= 0]
    return out


@dataclass(frozen=True)
class Place:
    """Stage: go on at a finer level ("finest": tokens, where there are any); see `place`."""

    level: str = "finest"
    how: str = "all"

    def __call__(self, values: np.ndarray, view: View) -> tuple[np.ndarray, View]:
        level = view.finest if self.level == "finest" else self.level
        return place(values, view, level, self.how), view.at(level)


@dataclass(frozen=True)
class Fill:
    """Stage: spans without a value add `value` to what is summed next, instead of making the sum missing."""

    value: float = 0.0

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        return np.where(np.isnan(values), self.value, values)


@dataclass(frozen=True)
class ZeroLast:
    """Stage: go on at token level, with 0 on the last token the policy chose in every span of `level`."""

    level: str = "step"

    def __call__(self, values: np.ndarray, view: View) -> tuple[np.ndarray, View]:
        tokens, at = place(values, view, "token"), view.at(self.level)
        ends = place(np.ones(at.rollouts.count(self.level)), at, "token", "last")
        return np.where(ends > 0, 0.0, tokens), view.at("token")
