"""PRIME: an online implicit process reward model next to the verifier, each with its own baseline."""

from __future__ import annotations

import math

import numpy as np

from guerdon.credit.backups import Own, RewardToGo, SuffixMaxScale
from guerdon.credit.baselines import LeaveOneOut, choice
from guerdon.credit.compose import Credit, Level, Whiten
from guerdon.credit.placing import Place
from guerdon.credit.token_baselines import DenseLeaveOneOut
from guerdon.credit.view import View
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.systems.catalogue import system


@system(
    "prime",
    title="PRIME: Process Reinforcement through Implicit Rewards",
    arxiv="2502.01456",
    family="credit",
    kind="credit",
)
def prime(
    gamma: float = 1.0,
    norm: str = "batch_norm",
    loo: str | None = None,
    whiten: bool = True,
    beta: float = 0.05,
    variant: str = "paper",
) -> Credit:
    """A = whiten(G(loo(v)) + G(loo(q / M))), G_t = x_t + gamma G_{t+1}.

    v is the verifier's reward on the last token of a rollout, q_t = log pi_phi - log pi_ref the implicit
    reward of every token, M = max over the batch of |sum_{k >= t} q_k|, + 1e-6. Per source,
    loo: x_t - mean over the other rollouts of their mean reward.

    Args:
        gamma: discount per token.
        norm: "batch_norm" divides by M, "none" does not.
        loo: "paper" as above; "code" stretches x_t by n/(n-1) and subtracts sum_j m_j/(n-1) over all n
            rollouts, which differs for a source with a value on every token. Default by `variant`.
        whiten: masked, over all chosen tokens, variance with ddof 1, rsqrt(var + 1e-8).
        beta: scale of the reward model's own loss, which `explain` reports; the reward read off it is not
            scaled again, so beta does not change the advantages.
        variant: "paper", or "release" for `loo="code"`.

    Inputs: `outcome` (rollout, 0/1), `implicit` (token, q).

    Reference: Cui et al., arXiv 2502.01456; verl/trainer/ppo/core_algos.py and dp_prime.py of
    PRIME-RL/PRIME. A group of one keeps its values: the estimator divides by n - 1.
    """
    choice(variant, ("paper", "release"), "variant")
    choice(norm, ("batch_norm", "none"), "norm")
    form = choice(loo or ("code" if variant == "release" else "paper"), ("paper", "code"), "loo")
    check_beta(beta)
    carry = RewardToGo(gamma)
    last = () if gamma == 1 else (Place(how="last"), carry)  # undiscounted it is the same on every token
    return Credit(
        [
            Level("outcome", span="rollout", baseline=LeaveOneOut(), then=last),
            Level(
                "implicit",
                span="token",
                backup=SuffixMaxScale() if norm == "batch_norm" else Own(),
                baseline=DenseLeaveOneOut("released" if form == "code" else "mean"),
                then=(carry,),
                notes={"cross_entropy": lambda view: _loss(view, beta)},
            ),
        ],
        whiten=Whiten() if whiten else None,
        name="prime",
    )


def check_beta(beta: float) -> float:
    """Check a scale of log-ratios; RecipeError unless it is above 0."""
    if isinstance(beta, bool) or not isinstance(beta, int | float) or not 0 < beta < float("inf"):
        raise RecipeError(f"beta must be a number above 0, got {beta!r}")
    return float(beta)


def outcome_probability(rollouts: Rollouts, implicit: Signal, beta: float = 0.05) -> Signal:
    """p = sigmoid(beta * sum_t q_t) per rollout: how right the implicit reward model thinks it is."""
    check_beta(beta)
    acted = rollouts.acted
    q = implicit.values if acted is None else np.where(acted.values, implicit.values, 0.0)
    total = rollouts.reduce(Signal(q, "token", "implicit"), "rollout").values
    return Signal(1 / (1 + np.exp(-beta * total)), "rollout", "outcome_probability")


def cross_entropy(probability: Signal, outcome: Signal) -> Signal:
    """-(r log p + (1 - r) log(1 - p)) per rollout: the loss that trains the implicit reward model."""
    p, r = probability.values, outcome.values
    return Signal(-(r * np.log(p) + (1 - r) * np.log1p(-p)), "rollout", "cross_entropy")


def _loss(view: View, beta: float) -> float:
    outcome, implicit = view.signal("outcome", "rollout"), view.signal("implicit", "token")
    loss = cross_entropy(outcome_probability(view.rollouts, implicit, beta), outcome).values
    return float(np.nanmean(loss)) if not np.isnan(loss).all() else math.nan
