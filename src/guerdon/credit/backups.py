"""Carry values along the rollout: from what a span earned to what it is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from guerdon.credit.view import View
from guerdon.data.kernels import segment_gae, segment_scan
from guerdon.errors import DataError, RecipeError

Backup = Callable[[np.ndarray, View], np.ndarray]


def discount(gamma: float, name: str = "gamma") -> float:
    """Check a discount; RecipeError outside [0, 1]."""
    if isinstance(gamma, str) or not 0.0 <= gamma <= 1.0:
        raise RecipeError(f"{name} must be a number in [0, 1], got {gamma!r}")
    return float(gamma)


@dataclass(frozen=True)
class Own:
    """A span keeps its own value: G_t = r_t."""

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        return values


@dataclass(frozen=True)
class RewardToGo:
    """Discounted sum of what follows: G_t = r_t + gamma * G_{t+1} over the spans of the level."""

    gamma: float = 1.0

    def __post_init__(self) -> None:
        discount(self.gamma)

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        return segment_scan(values, view.offsets, self.gamma, mask=view.mask())


@dataclass(frozen=True)
class GAE:
    """Generalised advantages of token-level rewards against the token column `values`; see `segment_gae`.

    Reference: Schulman et al., arXiv 1506.02438.
    """

    gamma: float = 1.0
    lam: float = 1.0

    def __post_init__(self) -> None:
        discount(self.gamma)
        discount(self.lam, "lam")

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        if view.level != "token":
            raise DataError(f"{view.method}: gae needs one reward per token, not per {view.level}")
        critic = view.column("values")
        return segment_gae(values, critic, view.offsets, self.gamma, self.lam, mask=view.mask())
