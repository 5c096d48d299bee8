"""Statistics over all rewards seen so far, with a state that is saved with a run."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np


class RunningMoments:
    """Count, mean, population standard deviation and range of everything that was added. NaN is skipped.

    A batch is added before it is shaped, so the first batch is compared with itself.
    """

    def __init__(self) -> None:
        self.count, self.mean, self.m2 = 0.0, 0.0, 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, values: np.ndarray) -> RunningMoments:
        """Take in a batch; returns self."""
        present = np.asarray(values, np.float64)
        present = present[~np.isnan(present)]
        if len(present) == 0:
            return self
        n, mean = float(len(present)), float(present.mean())
        gap, total = mean - self.mean, self.count + n
        self.m2 += float(((present - mean) ** 2).sum()) + gap**2 * self.count * n / total
        self.mean += gap * n / total
        self.count = total
        self.low, self.high = min(self.low, float(present.min())), max(self.high, float(present.max()))
        return self

    @property
    def std(self) -> float:
        """Population standard deviation; 0 before anything was added."""
        return math.sqrt(self.m2 / self.count) if self.count else 0.0

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """(x - mean) / std; 0 while nothing varies."""
        return (values - self.mean) / (self.std or 1.0)

    def clip(self, values: np.ndarray) -> np.ndarray:
        """Into [mean - std, mean + std]."""
        return np.clip(values, self.mean - self.std, self.mean + self.std)

    def min_max(self, values: np.ndarray) -> np.ndarray:
        """(x - min) / (max - min), in [0, 1]; 0 while nothing varies."""
        if not self.count:
            return np.asarray(values, np.float64)
        return (values - self.low) / ((self.high - self.low) or 1.0)

    def state_dict(self) -> dict[str, float | None]:
        """Plain numbers; the range is None before anything was added."""
        low, high = (self.low, self.high) if self.count else (None, None)
        return {"count": self.count, "mean": self.mean, "m2": self.m2, "low": low, "high": high}

    def load_state_dict(self, state: Mapping[str, float | None]) -> None:
        """Inverse of `state_dict`."""
        self.count, self.mean, self.m2 = (float(state[name] or 0.0) for name in ("count", "mean", "m2"))
        low, high = state["low"], state["high"]
        self.low = math.inf if low is None else float(low)
        self.high = -math.inf if high is None else float(high)
