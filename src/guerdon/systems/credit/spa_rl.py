"""SPA-RL: the final reward redistributed over steps by regression, plus a bonus for valid actions."""

from __future__ import annotations

import math

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.credit.compose import Credit, Level
from guerdon.credit.placing import Place
from guerdon.credit.sources import FirstOf, Mixed, Source
from guerdon.credit.stages import MinusLogRatio, Returns
from guerdon.credit.view import View
from guerdon.data.kernels import label_loo_mean, segment_reduce
from guerdon.data.signal import Signal
from guerdon.systems.catalogue import system

_VARIANTS = ("paper", "release", "loo_outcome", "remaining_steps")


@system(
    "spa-rl",
    title="SPA-RL: Reinforcing LLM Agents via Stepwise Progress Attribution",
    arxiv="2505.20732",
    family="credit",
    kind="credit",
)
def spa_rl(
    alpha: float = 1.0,
    beta: float = 0.5,
    kl_coef: float = 0.0,
    returns: str | None = None,
    gamma: float = 1.0,
    lam: float = 1.0,
    variant: str = "paper",
) -> Credit:
    """r_k = alpha c_k + beta g_k on the last token of step k, less kl_coef KL per token; then GAE.

    c_k is the step's contribution, regressed so that they sum to the final reward; g_k is 1 where the action
    was executable.

    Args:
        alpha, beta: weights of contribution and grounding.
        kl_coef: of log pi - log pi_ref per token, from `logprobs` and `ref_logprobs`.
        returns: "gae" against the token column `values`, "sum" of what follows, or "none": the token rewards
            as they are. Default "gae" where there are `values`, else "none".
        gamma, lam: of the returns.
        variant: "paper"; "loo_outcome" puts the leave-one-out centred outcome in place of every c_k;
            "remaining_steps" weighs step k of K by K-k-1; "release" does both, as the released scripts do.

    Inputs: `contribution` (step), `grounded` (step), `outcome` (rollout; for "loo_outcome" and the reported
    `residual` |sum_k c_k - R|).

    Reference: Wang et al., arXiv 2505.20732; prm/rl_data_org.py and ppo/step_ppotrainer.py of
    WangHanLinHenry/SPA-RL-Agent.
    """
    choice(variant, _VARIANTS, "variant")
    centred = variant in ("release", "loo_outcome")
    contribution: str | Source = _centred_outcome if centred else FirstOf(("contribution",), "step")
    rewards = Mixed(((contribution, float(alpha)), (FirstOf(("grounded",), "step"), float(beta))), "step")
    weighed = (_remaining,) if variant in ("release", "remaining_steps") else ()
    notes = {} if centred else {"residual": _residual}
    paid = (MinusLogRatio(kl_coef),) if kl_coef else ()
    then = (*weighed, Place(how="last"), *paid, Returns(returns, gamma, lam))
    return Credit([Level(rewards, then=then, notes=notes)], name="spa-rl")


def _centred_outcome(view: View) -> Signal:
    """The outcome less the mean of the prompt's other rollouts, on every step."""
    outcome = view.signal("outcome", "rollout").values
    others = label_loo_mean(outcome, *view.rollouts.groups())
    centred = outcome - np.where(np.isnan(others), 0.0, others)
    return Signal(view.at("step").per_rollout(centred), "step", "contribution")


def _remaining(values: np.ndarray, view: View) -> np.ndarray:
    """Step k of K weighed by K - k - 1."""
    offsets = view.offsets
    return values * (np.repeat(offsets[1:], np.diff(offsets)) - np.arange(len(values)) - 1)


def _residual(view: View) -> float:
    """Mean |sum_k c_k - R| over the rollouts, where the outcome is carried."""
    if "outcome" not in view.signals:
        return math.nan
    total = segment_reduce(view.signal("contribution", "step").values, view.at("step").offsets)
    gap = np.abs(total - view.signal("outcome", "rollout").values)
    return float(np.nanmean(gap)) if not np.isnan(gap).all() else math.nan
