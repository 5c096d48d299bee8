"""Statistics of a stream that forget: the last w values, and exponential averages. See also `guerdon.shape`.

Both keep their state in plain numbers, saved with a run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from guerdon.errors import RecipeError


class Window:
    """The last `size` values; a value is added before it is compared, so it is always inside."""

    def __init__(self, size: int = 100) -> None:
        if size < 1:
            raise RecipeError(f"window: got {size!r}, expected an integer >= 1")
        self.values: deque[float] = deque(maxlen=int(size))

    def min_max(self, value: float, eps: float = 0.0) -> float:
        """(x - min) / (max - min + eps) over the window with x in it; 0 for a flat one, NaN stays out."""
        if np.isnan(value):
            return float("nan")
        self.values.append(float(value))
        low, high = min(self.values), max(self.values)
        return 0.0 if high == low else (value - low) / (high - low + eps)

    def percentile(self, q: float) -> float:
        """The q-th percentile (linear), NaN while nothing was added."""
        return float(np.percentile(list(self.values), q)) if self.values else float("nan")

    def state_dict(self) -> dict[str, Any]:
        return {"values": list(self.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values = deque(map(float, state["values"]), maxlen=self.values.maxlen)


class Average:
    """m <- ratio m + (1 - ratio) x. The first value after `warm` of them is the mean of those."""

    def __init__(self, ratio: float = 0.99, warm: int = 1) -> None:
        if not 0.0 <= ratio < 1.0 or warm < 1:
            raise RecipeError(f"average: expected ratio in [0, 1) and warm >= 1, got {ratio!r}, {warm!r}")
        self.ratio, self.warm = ratio, warm
        self.first: list[float] = []
        self.value = float("nan")

    def add(self, x: float) -> float:
        """Take in a value; returns the average, NaN until it is warm."""
        if np.isnan(x):
            return self.value
        if len(self.first) < self.warm:
            self.first.append(float(x))
            if len(self.first) == self.warm:
                self.value = float(np.mean(self.first))
        else:
            self.value = self.ratio * self.value + (1.0 - self.ratio) * float(x)
        return self.value

    def state_dict(self) -> dict[str, Any]:
        return {"first": list(self.first), "value": None if np.isnan(self.value) else self.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.first = list(map(float, state["first"]))
        self.value = float("nan") if state["value"] is None else float(state["value"])
