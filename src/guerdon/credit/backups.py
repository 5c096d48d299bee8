"""Carry values along the rollout: from what a span earned to what it is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from guerdon.credit.placing import place
from guerdon.credit.reweighting import largest_suffix_sum, min_form, softmin_form
from guerdon.credit.view import View
from guerdon.data.kernels import segment_gae, segment_scan
from guerdon.errors import RecipeError

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
class Chain:
    """One backup after the other."""

    backups: tuple[Backup, ...]

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        for backup in self.backups:
            values = backup(values, view)
        return values


def chain(*backups: Backup) -> Chain:
    """Backups applied from left to right."""
    return Chain(backups)


@dataclass(frozen=True)
class Scale:
    """G_t = factor * r_t."""

    factor: float

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        return self.factor * values


@dataclass(frozen=True)
class RewardToGo:
    """Discounted sum of what follows: G_t = r_t + gamma * G_{t+1} over the spans of the level."""

    gamma: float = 1.0

    def __post_init__(self) -> None:
        discount(self.gamma)

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        return segment_scan(values, view.offsets, self.gamma, mask=view.mask())


@dataclass(frozen=True)
class SoftMin:
    """G_k = w_k r_k with w = softmax(-r / T) over the rollout's steps; see `softmin_form`."""

    temperature: float = 0.1

    def __post_init__(self) -> None:
        if isinstance(self.temperature, str | bool) or not 0.0 < self.temperature < float("inf"):
            raise RecipeError(f"temperature must be a number above 0, got {self.temperature!r}")

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        return softmin_form(values, view.offsets, self.temperature, view.compared())


@dataclass(frozen=True)
class Min:
    """G_k = the value to be summed so that sums of what follows are minima; see `min_form`."""

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        return min_form(values, view.offsets, view.compared())


@dataclass(frozen=True)
class SuffixMaxScale:
    """G_t = r_t / (max |sum_{k >= t} r_k| + eps), the maximum over the whole batch: bounds every return by 1.

    `along`: what the suffix sums run over, "rollout" or "span" (each span by itself).
    """

    eps: float = 1e-6
    along: str = "rollout"

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        counted = view.compared()
        if self.along == "rollout":
            return values / (largest_suffix_sum(values, view.offsets, counted) + self.eps)
        shown = values if counted is None else values[counted]
        top, bottom = np.fmax.reduce(shown, initial=0.0), np.fmin.reduce(shown, initial=0.0)
        return values / (max(float(top), -float(bottom)) + self.eps)


@dataclass(frozen=True)
class GAE:
    """Generalised advantages of one reward per span against a critic; see `segment_gae`.

    `critic` names a signal at the same level; at token level the column `values` is the default.

    Reference: Schulman et al., arXiv 1506.02438.
    """

    gamma: float = 1.0
    lam: float = 1.0
    critic: str | None = None

    def __post_init__(self) -> None:
        discount(self.gamma)
        discount(self.lam, "lam")

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        if self.critic is not None:
            critic = view.signal(self.critic, view.level).values
        else:
            view.require_tokens("gae needs one reward per token")
            critic = view.column("values")
        return segment_gae(values, critic, view.offsets, self.gamma, self.lam, mask=view.compared())


@dataclass(frozen=True)
class AddOutcome:
    """r_K + coef * R on the last span the policy wrote; the rest stays: a verifier's reward among others."""

    coef: float = 1.0
    signal: str = "outcome"

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        if self.coef == 0:
            return values
        outcome = view.signal(self.signal, "rollout").values
        return values + self.coef * place(outcome, view.at("rollout"), view.level, "last")
