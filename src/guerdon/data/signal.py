"""Signal: a reward, score or advantage as values on the spans of one level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from guerdon.errors import DataError


@dataclass(frozen=True, eq=False)
class Signal:
    """Values on all spans of one level, rollout after rollout.

    Attributes:
        values: float64 (number of spans of `level` over all rollouts). NaN means missing:
            the value could not be computed. It is never the same as 0.
        level: "token", "step", "turn", another partition's name, "rollout" or "group".
        name: what the values are ("outcome", "prm", ...).
        causes: position -> why the value there is missing, where that is known.

    Raises:
        DataError: values that are not one flat array of numbers.
    """

    values: np.ndarray
    level: str
    name: str = ""
    causes: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            values = np.asarray(self.values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"signal {self.name!r} must hold numbers, NaN where missing: {error}") from error
        if values.ndim != 1:
            raise DataError(f"signal {self.name!r} must be one flat array, got shape {values.shape}")
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def missing(self) -> int:
        """How many values are NaN."""
        return int(np.isnan(self.values).sum())

    def cause_counts(self) -> dict[str, int]:
        """How many values are missing for each known cause, most frequent first."""
        return dict(Counter(self.causes.values()).most_common())

    def with_values(self, values: np.ndarray) -> Signal:
        """Same level and name, other values."""
        return Signal(values, self.level, self.name)

    def renamed(self, name: str) -> Signal:
        """Same values under another name."""
        return Signal(self.values, self.level, name, self.causes)

    def __repr__(self) -> str:
        mean = float(np.nanmean(self.values)) if len(self) > self.missing else float("nan")
        return f"Signal({self.name!r}, {self.level}, n={len(self)}, mean={mean:.4g}, missing={self.missing})"
