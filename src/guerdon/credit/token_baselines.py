"""Leave-one-out baselines of dense rewards: what the other rollouts of the prompt earned per token or step.

They find the groups themselves (samples of one prompt) because their statistics are per rollout while
their values are per token or step. `singleton="raw"` subtracts nothing from a rollout without companions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from guerdon.credit.baselines import at_least_zero, choice
from guerdon.credit.view import View
from guerdon.data.kernels import label_loo_mean, label_moments, label_sum, segment_add, segment_reduce
from guerdon.errors import RecipeError


def leave_one_out_rate(
    amount: np.ndarray, exposure: np.ndarray, labels: np.ndarray, n_labels: int
) -> np.ndarray:
    """b_i = sum_{j != i} amount_j / sum_{j != i} exposure_j over the group; NaN where nobody else has any.

    Args:
        amount, exposure: (n,); a missing amount takes its exposure out too.
        labels: int64 (n,) in [0, n_labels).

    Returns:
        float64 (n,).
    """
    seen = np.where(np.isnan(amount), 0.0, exposure)
    total = label_sum(amount, labels, n_labels)[labels] - np.where(np.isnan(amount), 0.0, amount)
    below = label_sum(seen, labels, n_labels)[labels] - seen
    return np.divide(total, below, out=np.full(len(amount), np.nan), where=below > 0)


def _totals(values: np.ndarray, view: View, weights: np.ndarray | None = None) -> np.ndarray:
    values = values if weights is None else values * weights
    return segment_reduce(values, view.offsets, mask=view.compared())


def _subtract(values: np.ndarray, baseline: np.ndarray, view: View, singleton: str) -> np.ndarray:
    """Values less one baseline per rollout, NaN where there is none to subtract."""
    out = np.array(values, dtype=np.float64)
    alone = np.isnan(baseline)
    if singleton == "zero" and alone.any():
        out[view.per_rollout(alone) & ~np.isnan(out)] = 0.0
    segment_add(out, np.where(alone, 0.0, -baseline), view.offsets)
    return out


@dataclass(frozen=True)
class DenseLeaveOneOut:
    """A_t = r_t - b_i per token (or step), b from the per-rollout means m_j of the source.

    `form="mean"`: b_i = mean of m_j over the other rollouts. `form="released"`: A_t = n/(n-1) r_t -
    sum_j m_j / (n-1) over all n rollouts, which equals the other form for sources of one value only.

    Reference: arXiv 2502.01456.
    """

    form: str = "mean"
    singleton: str = "raw"
    compares: ClassVar[bool] = False

    def __post_init__(self) -> None:
        choice(self.form, ("mean", "released"), "form")
        choice(self.singleton, ("raw", "zero"), "singleton")

    def __call__(self, values: np.ndarray, labels: Any, n_labels: int, view: View) -> np.ndarray:
        groups, n_groups = view.rollouts.groups()
        mean = _row_means(values, view)
        if self.form == "mean":
            others = label_loo_mean(mean, groups, n_groups)
            return _subtract(values, others, view, self.singleton)
        count, centre, _ = label_moments(mean, groups, n_groups)
        factor = np.divide(count, count - 1, out=np.full(n_groups, np.nan), where=count > 1)
        stretched = values * view.per_rollout(np.where(np.isnan(factor), 1.0, factor)[groups])
        return _subtract(stretched, (factor * centre)[groups], view, self.singleton)


def _row_means(values: np.ndarray, view: View) -> np.ndarray:
    return segment_reduce(values, view.offsets, "mean", mask=view.compared())


@dataclass(frozen=True)
class TokenLeaveOneOut:
    """A_k = r_k - b_i l_k per step: b_i is what the other rollouts earned per token, l_k the step's tokens.

    `last_counts=False` leaves the step's last token out of l_k (but not out of the rate).

    Reference: arXiv 2504.15275.
    """

    last_counts: bool = True
    singleton: str = "raw"
    compares: ClassVar[bool] = False

    def __post_init__(self) -> None:
        choice(self.singleton, ("raw", "zero"), "singleton")

    def __call__(self, values: np.ndarray, labels: Any, n_labels: int, view: View) -> np.ndarray:
        groups, n_groups = view.rollouts.groups()
        tokens = view.acted_counts()
        rate = leave_one_out_rate(_totals(values, view), _totals(tokens, view), groups, n_groups)
        counted = tokens if self.last_counts else np.maximum(tokens - 1, 0)
        alone = view.per_rollout(np.isnan(rate))
        out = values - np.where(alone, 0.0, view.per_rollout(rate) * counted)
        return np.where(alone & ~np.isnan(out), 0.0, out) if self.singleton == "zero" else out


@dataclass(frozen=True)
class StepLeaveOneOut:
    """A_k = r_k - b_i, b_i the mean over the other rollouts of their reward per step.

    Reference: arXiv 2504.15275.
    """

    singleton: str = "raw"
    compares: ClassVar[bool] = False

    def __post_init__(self) -> None:
        choice(self.singleton, ("raw", "zero"), "singleton")

    def __call__(self, values: np.ndarray, labels: Any, n_labels: int, view: View) -> np.ndarray:
        others = label_loo_mean(_row_means(values, view), *view.rollouts.groups())
        return _subtract(values, others, view, self.singleton)


@dataclass(frozen=True)
class ReturnLeaveOneOut:
    """A_k = G_k - b_i, b_i the mean return per token of the other rollouts.

    `width`: divide by (n-1) * width, the padded length of a trainer's tensors, instead of by the tokens the
    others really have. That makes the baseline depend on padding and is there for parity only.
    """

    width: float | None = None
    singleton: str = "raw"
    compares: ClassVar[bool] = False

    def __post_init__(self) -> None:
        choice(self.singleton, ("raw", "zero"), "singleton")
        if self.width is not None:
            at_least_zero(self.width, "t_max")
            if self.width == 0:
                raise RecipeError("t_max must be above 0")

    def __call__(self, values: np.ndarray, labels: Any, n_labels: int, view: View) -> np.ndarray:
        tokens = view.acted_counts()
        length = _totals(tokens, view)
        exposure = length if self.width is None else np.full(len(length), float(self.width))
        rate = leave_one_out_rate(_totals(values, view, tokens), exposure, *view.rollouts.groups())
        return _subtract(values, rate, view, self.singleton)


@dataclass(frozen=True)
class FirstSpanLeaveOneOut:
    """A_k = n/(n-1) (r_k - mean over the first spans of the group's n rollouts): a released slip, for parity.

    Reference: arXiv 2509.19199, whose code keys its de-duplication on the trajectory.
    """

    singleton: str = "raw"
    compares: ClassVar[bool] = False

    def __post_init__(self) -> None:
        choice(self.singleton, ("raw", "zero"), "singleton")

    def __call__(self, values: np.ndarray, labels: Any, n_labels: int, view: View) -> np.ndarray:
        groups, n_groups = view.rollouts.groups()
        first = segment_reduce(values, view.offsets, "first")
        count, mean, _ = label_moments(first, groups, n_groups)
        factor = np.divide(count, count - 1, out=np.full(n_groups, np.nan), where=count > 1)
        scaled = values * view.per_rollout(np.where(np.isnan(factor), 1.0, factor)[groups])
        return _subtract(scaled, (factor * mean)[groups], view, self.singleton)
