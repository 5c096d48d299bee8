"""Compare a value with those of its group.

Every baseline takes `(values, labels, n_labels, view)` and returns values of the same length. NaN values,
and those with a negative label, enter no statistic; NaN stays NaN. What papers leave vague is a parameter
here: ddof, eps and its place (`std + eps`, or `sqrt(var + eps)`), what happens to a group with one member
(`singleton="raw"` keeps the value, as TRL-style and verl-style trainers do, `"zero"` gives no signal), and
what counts as one observation:

    unit = "span"    every span of the level counts once
           "token"   every token the policy chose in it (long spans weigh more)
           "row"     every step of a rollout (long rollouts weigh more)
           "node"    every distinct tree node (a step that rollouts share counts once)

A baseline that declares `compares = False` looks at no group and gets no labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from guerdon.credit.view import View
from guerdon.data import kernels
from guerdon.data.kernels import label_loo_mean, label_moments
from guerdon.errors import RecipeError

Baseline = Callable[[np.ndarray, Any, int, View], np.ndarray]


def choice(value: str, valid: tuple[str, ...], name: str) -> str:
    """Check a parameter that takes one of a few words."""
    if value not in valid:
        raise RecipeError(f"{name} must be one of {', '.join(map(str, valid))}; got {value!r}")
    return value


def at_least_zero(value: Any, name: str) -> None:
    """Check a parameter that is a number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise RecipeError(f"{name} must be a number, 0 or more; got {value!r}")


UNITS = ("span", "token", "row", "node")


def observations(
    values: np.ndarray, labels: np.ndarray, n_labels: int, view: View, unit: str = "span"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, mean and sum of squared deviations of every group, each observation counted once.

    Raises:
        DataError: the unit is "row" and there are no steps, or "node" and the level is not the step.
    """
    if unit == "node":
        once = view.first_of_node((labels >= 0) & ~np.isnan(values))
        labels = np.where(once, labels, -1)
    weights = {"token": view.acted_counts, "row": view.step_counts}.get(unit)
    return label_moments(values, labels, n_labels, None if weights is None else weights())


def _at(per_label: np.ndarray, labels: np.ndarray, outside: float) -> np.ndarray:
    """Value of each member's label; `outside` for members of no group."""
    if len(per_label) == 0:
        return np.full(len(labels), outside)
    return np.where(labels >= 0, per_label[np.maximum(labels, 0)], outside)


def _alone(singleton: str, values: np.ndarray) -> np.ndarray:
    return values if singleton == "raw" else np.where(np.isnan(values), np.nan, 0.0)


def _deviation(count: np.ndarray, m2: np.ndarray, ddof: int) -> np.ndarray:
    """Standard deviation of every label; 1 where it is 0 or undefined."""
    variance = np.divide(m2, count - ddof, out=np.zeros(len(m2)), where=count > ddof)
    return np.where(variance > 0, np.sqrt(variance), 1.0)


@dataclass(frozen=True)
class Raw:
    """No baseline: A = R."""

    compares: ClassVar[bool] = False

    def __call__(self, values: np.ndarray, labels: None, n_labels: int, view: View) -> np.ndarray:
        return values


@dataclass(frozen=True)
class Mean:
    """A = R - mean(group)."""

    singleton: str = "raw"
    unit: str = "span"

    def __post_init__(self) -> None:
        choice(self.singleton, ("raw", "zero"), "singleton")
        choice(self.unit, UNITS, "unit")

    def __call__(self, values: np.ndarray, labels: np.ndarray, n_labels: int, view: View) -> np.ndarray:
        count, mean, _ = observations(values, labels, n_labels, view, self.unit)
        centred = values - _at(mean, labels, 0.0)
        return np.where(_at(count, labels, 0.0) == 1, _alone(self.singleton, values), centred)


@dataclass(frozen=True)
class LeaveOneOut:
    """A = R - mean(the others of the group) = n/(n-1) * (R - mean(group))."""

    singleton: str = "raw"

    def __post_init__(self) -> None:
        choice(self.singleton, ("raw", "zero"), "singleton")

    def __call__(self, values: np.ndarray, labels: np.ndarray, n_labels: int, view: View) -> np.ndarray:
        others = label_loo_mean(values, labels, n_labels)
        return np.where(np.isnan(others), _alone(self.singleton, values), values - others)


@dataclass(frozen=True)
class MeanStd:
    """A = (R - mean(group)) / (std + eps), or / sqrt(var + eps) with `eps_place="var"`.

    `scale` says whose standard deviation: "group" the group's own, "batch" that of all values of the
    batch, "none" no scaling. Where the deviation is 0 or undefined (a group of one) it is taken as 1, so a
    value kept raw stays as it is and no difference of rounding is blown up.
    """

    ddof: int = 1
    eps: float = 1e-6
    singleton: str = "raw"
    scale: str = "group"
    unit: str = "span"
    eps_place: str = "std"

    def __post_init__(self) -> None:
        choice(self.singleton, ("raw", "zero"), "singleton")
        choice(self.unit, UNITS, "unit")
        choice(self.eps_place, ("std", "var"), "eps_place")
        choice(self.scale, ("group", "batch", "none"), "scale")
        at_least_zero(self.ddof, "ddof")
        at_least_zero(self.eps, "eps")

    def __call__(self, values: np.ndarray, labels: np.ndarray, n_labels: int, view: View) -> np.ndarray:
        count, mean, m2 = observations(values, labels, n_labels, view, self.unit)
        alone = _at(count, labels, 0.0) == 1
        centred = np.where(alone, _alone(self.singleton, values), values - _at(mean, labels, 0.0))
        if self.scale == "none":
            return centred
        if self.scale == "batch":
            count, mean, m2 = observations(values, np.where(labels >= 0, 0, -1), 1, view, self.unit)
        std = _deviation(count, m2, self.ddof)
        below = std + self.eps if self.eps_place == "std" else np.sqrt(std**2 + self.eps)
        return centred / (_at(below, labels, 1.0) if self.scale == "group" else below[0])


@dataclass(frozen=True)
class LengthWeightedMean:
    """A = R - sum(l R) / sum(l) over the group, l the number of tokens the policy chose in the span.

    Reference: Hao et al., On-Policy RL with Optimal Reward Baseline, arXiv 2505.23585.
    """

    singleton: str = "raw"

    def __post_init__(self) -> None:
        choice(self.singleton, ("raw", "zero"), "singleton")

    def __call__(self, values: np.ndarray, labels: np.ndarray, n_labels: int, view: View) -> np.ndarray:
        count, _, _ = label_moments(values, labels, n_labels)
        _, mean, _ = label_moments(values, labels, n_labels, weights=view.acted_counts())
        mean = np.where(np.isnan(mean) & (count > 0), 0.0, mean)  # all members empty: nothing to weigh
        centred = values - _at(mean, labels, 0.0)
        return np.where(_at(count, labels, 0.0) == 1, _alone(self.singleton, values), centred)


@dataclass(frozen=True)
class Minus:
    """A = R - b, b another signal at the same level: the reward of a greedy rollout, of stopping, a critic.

    `optional`: without that signal nothing is subtracted.
    """

    signal: str = "baseline"
    optional: bool = False
    compares: ClassVar[bool] = False

    def __call__(self, values: np.ndarray, labels: None, n_labels: int, view: View) -> np.ndarray:
        if self.optional and self.signal not in view.signals:
            return values
        return values - view.signal(self.signal, view.level).values


@dataclass
class MovingMean:
    """A = R - b, b a running mean over all calls: b <- decay * b + (1 - decay) * mean of this call's values.

    The first call starts b at its own mean. What it keeps between calls is in `state_dict`.
    """

    decay: float = 0.9
    mean: float = math.nan
    compares: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if (
            isinstance(self.decay, bool)
            or not isinstance(self.decay, int | float)
            or not 0 <= self.decay <= 1
        ):
            raise RecipeError(f"decay must be a number in [0, 1], got {self.decay!r}")

    def __call__(self, values: np.ndarray, labels: None, n_labels: int, view: View) -> np.ndarray:
        counted = view.compared()
        now, _, count = kernels.masked_moments(values, counted)
        if count == 0:
            return values
        before = now if math.isnan(self.mean) else self.mean
        self.mean = self.decay * before + (1 - self.decay) * now
        return values - before

    def state_dict(self) -> dict[str, Any]:
        """What the next run needs."""
        return {"mean": self.mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.mean = float(state["mean"])


@dataclass(frozen=True)
class MergeMean:
    """A = mean(group): equal things get equal credit, nothing is subtracted."""

    unit: str = "span"

    def __post_init__(self) -> None:
        choice(self.unit, ("span", "rollout"), "unit")

    def __call__(self, values: np.ndarray, labels: np.ndarray, n_labels: int, view: View) -> np.ndarray:
        chosen = labels
        if self.unit == "rollout" and len(labels):  # the first visit of every rollout speaks for it
            rows = view.per_rollout(np.arange(len(view.rollouts)))
            first = kernels.first_positions(kernels.pair_labels(labels, rows)[0])
            once = np.full(len(labels), -1, np.int64)
            once[first] = labels[first]
            chosen = once
        _, mean, _ = label_moments(values, chosen, n_labels)
        return np.where(np.isnan(values) | (labels < 0), values, _at(mean, labels, 0.0))


@dataclass(frozen=True)
class NonzeroScale:
    """A = alpha * (R - mean(group)), alpha = number of rewards / number of those that are not 0.

    Reference: Chu et al., GPG, arXiv 2504.02546.
    """

    singleton: str = "raw"

    def __post_init__(self) -> None:
        choice(self.singleton, ("raw", "zero"), "singleton")

    def __call__(self, values: np.ndarray, labels: np.ndarray, n_labels: int, view: View) -> np.ndarray:
        present = values[~np.isnan(values) & (labels >= 0)]
        alpha = len(present) / max(int(np.count_nonzero(present)), 1)
        return alpha * Mean(self.singleton)(values, labels, n_labels, view)


@dataclass(frozen=True)
class TopGap:
    """The group's best value gets (best - second best) [/ (std + eps)]; all others 0.

    The advantage of pass@k training with k = group size: only a sample that alone lifts the maximum is
    credited. Among equal best ones the gap is 0. A group of one gives 0.
    """

    scale: bool = True
    ddof: int = 1
    eps: float = 1e-6

    def __post_init__(self) -> None:
        at_least_zero(self.ddof, "ddof")
        at_least_zero(self.eps, "eps")

    def __call__(self, values: np.ndarray, labels: np.ndarray, n_labels: int, view: View) -> np.ndarray:
        out = np.where(np.isnan(values), np.nan, 0.0)
        keep = np.flatnonzero(~np.isnan(values) & (labels >= 0))
        order = keep[np.lexsort((-values[keep], labels[keep]))]
        group, ranked = labels[order], values[order]
        first = np.ones(len(order), bool)
        first[1:] = group[1:] != group[:-1]
        best = np.flatnonzero(first[:-1] & ~first[1:])  # the first of its group, with a second after it
        gap = ranked[best] - ranked[best + 1]
        if self.scale:
            count, _, m2 = label_moments(values, labels, n_labels)
            gap = gap / (_deviation(count, m2, self.ddof)[group[best]] + self.eps)
        out[order[best]] = gap
        return out
