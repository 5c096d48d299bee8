"""iStar (OPRL): the log-ratio of an implicit reward model, summed over one action, as its step reward."""

from __future__ import annotations

import numpy as np

from guerdon.credit.backups import Own, SuffixMaxScale
from guerdon.credit.baselines import Baseline, LeaveOneOut, Mean, MeanStd, choice
from guerdon.credit.compose import Compare, Credit, Level
from guerdon.credit.groupings import by
from guerdon.credit.sources import Moved
from guerdon.credit.token_baselines import FirstSpanLeaveOneOut
from guerdon.credit.view import View
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.systems.catalogue import system
from guerdon.systems.credit.prime import check_beta

_BASELINES: dict[str, Baseline] = {
    "rloo": LeaveOneOut(),
    "grpo": Mean(),
    "grpo_std": MeanStd(),
    "reinforce_plus_baseline": Mean(),
}


@system(
    "oprl-istar",
    title="Agentic Reinforcement Learning with Implicit Step Rewards",
    arxiv="2509.19199",
    family="credit",
    kind="credit",
)
def oprl_istar(
    beta: float = 0.05,
    weight: float = 1.0,
    baseline: str = "rloo",
    norm: str = "batch_norm",
    aggregate: str = "mean",
    first_step_baseline: bool | None = None,
    variant: str = "paper",
) -> Credit:
    """A = loo(R) + w loo(s), s = beta * sum over the action's tokens of (log pi_phi - log pi_ref).

    loo(R) compares rollouts of a prompt, loo(s) every step with all other steps of all rollouts of the
    prompt: N/(N-1) (s - mean). Both are broadcast to the action's tokens.

    Args:
        beta: scale of the log-ratios.
        weight: w.
        baseline: "rloo"; "grpo" subtracts the mean; "grpo_std" also divides by std (ddof 1) + 1e-6;
            "reinforce_plus_baseline" subtracts the mean, then whitens each level over the chosen tokens.
        norm: "batch_norm" divides s by the largest |s| of the batch + 1e-6, "none" does not.
        aggregate: how a rollout's steps make the score that trains the reward model, "mean" or "sum";
            `explain` reports that loss, the advantages do not depend on it.
        first_step_baseline: subtract the mean over *first* steps and stretch by n/(n-1), n rollouts, as the
            released code does by a slip. Default by `variant`.
        variant: "paper", or "release" for `first_step_baseline=True`.

    Inputs: `outcome` (rollout), `implicit` (token log-ratio), steps (one per action).

    Reference: Liu et al., arXiv 2509.19199; istar/core_istar.py of Tongyi-ConvAI/Qwen-Character.
    """
    choice(variant, ("paper", "release"), "variant")
    choice(norm, ("batch_norm", "none"), "norm")
    choice(baseline, tuple(_BASELINES), "baseline")
    choice(aggregate, ("mean", "sum"), "aggregate")
    check_beta(beta)
    first = variant == "release" if first_step_baseline is None else first_step_baseline
    if first and baseline != "rloo":
        raise RecipeError("first_step_baseline exists for baseline='rloo' only")
    compared = _BASELINES[baseline]
    whitened = MeanStd(ddof=1, eps=1e-8, singleton="raw", unit="token", eps_place="var")
    then = (Compare(by("batch"), whitened),) if baseline == "reinforce_plus_baseline" else ()
    return Credit(
        [
            Level("outcome", span="rollout", baseline=compared, then=then),
            Level(
                Moved("implicit", "step", scale=beta, origin="token"),
                backup=SuffixMaxScale(along="span") if norm == "batch_norm" else Own(),
                baseline=FirstSpanLeaveOneOut() if first else compared,
                then=then,
                weight=weight,
                notes={"preference_loss": lambda view: _loss(view, beta, aggregate)},
            ),
        ],
        name="oprl-istar",
    )


def trajectory_score(rollouts: Rollouts, steps: Signal, aggregate: str = "mean") -> Signal:
    """Q of every rollout: the mean (or sum) of its step scores beta * q."""
    return rollouts.reduce(steps, "rollout", choice(aggregate, ("mean", "sum"), "aggregate"))


def preference_loss(rollouts: Rollouts, score: Signal, outcome: Signal) -> float:
    """mean over (success, failure) pairs of one group of -log sigmoid(Q+ - Q-); 0 without any pair."""
    groups = rollouts.groups()[0]
    won, lost = np.flatnonzero(outcome.values > 0), np.flatnonzero(outcome.values <= 0)
    pair = groups[won][:, None] == groups[lost][None, :]
    gap = (score.values[won][:, None] - score.values[lost][None, :])[pair]
    return float(np.logaddexp(0, -gap).mean()) if len(gap) else 0.0


def _loss(view: View, beta: float, aggregate: str) -> float:
    steps = Moved("implicit", "step", scale=beta, origin="token")(view)
    score = trajectory_score(view.rollouts, steps, aggregate)
    return preference_loss(view.rollouts, score, view.signal("outcome", "rollout"))
