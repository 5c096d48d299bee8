"""Credit methods that trainers ship, as compositions. Defaults equal verl 0.9.1's.

Outcome methods read the rollout-level signal `outcome` and give every chosen token of a rollout the same
advantage; `gae` and `reinforce_pp` read the token-level signal `reward`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon.credit.backups import GAE, RewardToGo
from guerdon.credit.baselines import (
    LeaveOneOut,
    LengthWeightedMean,
    Mean,
    MeanStd,
    Minus,
    NonzeroScale,
    TopGap,
)
from guerdon.credit.compose import Credit, Level, Whiten
from guerdon.credit.groupings import by
from guerdon.errors import RecipeError


def _outcome(baseline: Any, name: str, whiten: Whiten | None = None) -> Credit:
    return Credit([Level("outcome", span="rollout", baseline=baseline)], whiten=whiten, name=name)


def grpo(scale: str = "group", eps: float = 1e-6, ddof: int = 1, singleton: str = "raw") -> Credit:
    """Group-relative advantages: A_i = (R_i - mean_g R) / (std_g R + eps).

    Args:
        scale: "group" divides by the group's standard deviation, "batch" by that of all rewards of the
            batch, "none" not at all (free of the bias towards prompts with little spread).
        eps: added to the standard deviation.
        ddof: of the variance; 1 in TRL and verl.
        singleton: "raw" keeps the reward of a group of one, "zero" drops it.

    Reference: Shao et al., DeepSeekMath, arXiv 2402.03300.
    """
    return _outcome(MeanStd(ddof, eps, singleton, scale), "grpo")


def dr_grpo(singleton: str = "raw") -> Credit:
    """A_i = R_i - mean_g R, without the difficulty bias of dividing by the standard deviation.

    To remove the length bias too, aggregate the loss with `constant` (sum over tokens divided by a fixed
    length) instead of a mean per sequence.

    Reference: Liu et al., Understanding R1-Zero-Like Training, arXiv 2503.20783.
    """
    return _outcome(Mean(singleton), "dr_grpo")


def rloo(singleton: str = "raw") -> Credit:
    """A_i = R_i - mean of the other rewards of the group.

    Reference: Ahmadian et al., Back to Basics, arXiv 2402.14740.
    """
    return _outcome(LeaveOneOut(singleton), "rloo")


def reinforce_pp(gamma: float = 1.0, eps: float = 1e-8) -> Credit:
    """G_t = r_t + gamma * G_{t+1} from the token-level signal `reward`, whitened over all chosen tokens.

    Args:
        gamma: discount per token.
        eps: added to the variance, inside the root.

    Reference: Hu, REINFORCE++, arXiv 2501.03262.
    """
    level = Level("reward", span="token", backup=RewardToGo(gamma))
    return Credit([level], whiten=Whiten(eps=eps), name="reinforce_pp")


def reinforce_pp_baseline(eps: float = 1e-8, singleton: str = "raw") -> Credit:
    """A_i = R_i - mean_g R on every chosen token, then whitened over all chosen tokens of the batch.

    Reference: Hu, REINFORCE++, arXiv 2501.03262.
    """
    return _outcome(Mean(singleton), "reinforce_pp_baseline", Whiten(eps=eps))


def gae(gamma: float = 1.0, lam: float = 1.0, eps: float = 1e-8, whiten: bool = True) -> Credit:
    """Generalised advantages of the token-level signal `reward` against the column `values`.

    delta_t = r_t + gamma V_{t+1} - V_t, A_t = delta_t + gamma lam A_{t+1}, whitened over chosen tokens.

    Reference: Schulman et al., arXiv 1506.02438.
    """
    level = Level("reward", span="token", backup=GAE(gamma, lam))
    return Credit([level], whiten=Whiten(eps=eps) if whiten else None, name="gae")


def opo(singleton: str = "raw") -> Credit:
    """A_i = R_i - sum(l_j R_j) / sum(l_j): the length-weighted baseline of least gradient variance.

    Reference: Hao et al., arXiv 2505.23585.
    """
    return _outcome(LengthWeightedMean(singleton), "opo")


def remax() -> Credit:
    """A_i = R_i - b_i, where the rollout-level signal `baseline` is the reward of the greedy answer.

    Reference: Li et al., ReMax, arXiv 2310.10505.
    """
    return _outcome(Minus("baseline"), "remax")


def gpg(singleton: str = "raw") -> Credit:
    """A_i = alpha (R_i - mean_g R), alpha = batch size / number of non-zero rewards.

    Reference: Chu et al., GPG, arXiv 2504.02546.
    """
    return _outcome(NonzeroScale(singleton), "gpg")


def pass_at_k(scale: str = "group", eps: float = 1e-6, ddof: int = 1) -> Credit:
    """Only the best of a group is credited, by its lead over the second best [/ (std_g + eps)].

    Args:
        scale: "group" divides by the group's standard deviation, "none" does not.

    Reference: the pass@k estimator of verl, after arXiv 2503.19595.
    """
    if scale not in ("group", "none"):
        raise RecipeError(f"pass_at_k: scale must be group or none, got {scale!r}")
    return _outcome(TopGap(scale == "group", ddof, eps), "pass_at_k")


def outcome_and_steps(
    weight: float = 1.0,
    scale: str = "group",
    eps: float = 1e-6,
    steps: str = "steps",
    pool: Sequence[str] = ("prompt",),
) -> Credit:
    """Group-relative outcome on every token plus group-relative step scores on the step's own tokens.

    A_t = (R_i - mean_g R)/(std_g R + eps) + w (s_k - mean_p s)/(std_p s + eps) for t in step k, where p
    pools all steps of the group (with `pool=("prompt", "index")` those at the same position).

    Args:
        weight: w.
        scale: of both levels, as in `grpo`.
        steps: name of the step-level signal.
        pool: group keys of the step statistics, see `by`.
    """
    compared = MeanStd(eps=eps, scale=scale, singleton="zero")
    return Credit(
        [
            Level("outcome", span="rollout", baseline=MeanStd(eps=eps, scale=scale)),
            Level(steps, span="step", group=by(*pool), baseline=compared, weight=weight),
        ],
        name="outcome_and_steps",
    )
