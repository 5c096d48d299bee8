"""What a reward, transform or credit method may know besides the rollouts themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Context:
    """The moment of training a function is called in.

    Attributes:
        progress: share of training done, in [0, 1]; schedules read it.
        step: index of the current update, from 0.
        rng: generator for anything random; None where the caller promises determinism.
        engines: name -> engine, for rewards that ask a model.
    """

    progress: float = 0.0
    step: int = 0
    rng: np.random.Generator | None = None
    engines: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 <= self.progress <= 1.0:
            raise ValueError(f"Context.progress must lie in [0, 1], got {self.progress!r}")
