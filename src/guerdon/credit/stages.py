"""Stages that bring in another signal after the first was placed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guerdon.credit.backups import GAE, RewardToGo
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
class CreditTokens:
    """Stage: token rewards to GAE against the column `values`, or to the reward to go without one."""

    gamma: float = 1.0
    lam: float = 1.0

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        if view.rollouts.values is None or view.level != "token":
            return RewardToGo(self.gamma)(values, view)
        return GAE(self.gamma, self.lam)(values, view)
