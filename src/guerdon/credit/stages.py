"""Stages that bring in another signal after the first was placed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guerdon.credit.backups import GAE, RewardToGo, discount
from guerdon.credit.baselines import choice
from guerdon.credit.placing import place
from guerdon.credit.sources import LogRatio
from guerdon.credit.view import View


@dataclass(frozen=True)
class ReplaceLast:
    """Stage: the last span the policy wrote in a rollout carries a rollout signal instead of its value."""

    signal: str = "outcome"

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        rows = view.at("rollout")
        outcome = view.signal(self.signal, "rollout").values
        last = place(np.ones(len(outcome)), rows, view.level, "last") > 0
        return np.where(last, view.per_rollout(outcome), values)


@dataclass(frozen=True)
class MinusColumn:
    """Stage: go on at token level, less a token column (a critic's `values`)."""

    column: str = "values"

    def __call__(self, values: np.ndarray, view: View) -> tuple[np.ndarray, View]:
        return place(values, view, "token") - view.column(self.column), view.at("token")


@dataclass(frozen=True)
class MinusLogRatio:
    """Stage at token level: r_t - coef * (log pi - log pi_ref)_t."""

    coef: float

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        view.require_tokens("a penalty on log-ratios needs one reward per token")
        return values - self.coef * LogRatio()(view).values


@dataclass(frozen=True)
class Returns:
    """Stage: rewards to what they are worth.

    `use`: "none" leaves the rewards, "sum" takes the discounted sum of what follows, "gae" generalised
    advantages against the token column `values`; None means "gae" where that column is there, else "none".
    """

    use: str | None = None
    gamma: float = 1.0
    lam: float = 1.0

    def __post_init__(self) -> None:
        if self.use is not None:
            choice(self.use, ("none", "sum", "gae"), "returns")
        discount(self.gamma)
        discount(self.lam, "lam")

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        use = self.use or ("none" if view.rollouts.values is None else "gae")
        if use == "none":
            return values
        backup = RewardToGo(self.gamma) if use == "sum" else GAE(self.gamma, self.lam)
        return backup(values, view)
