"""GiGPO: groups inside groups, of steps taken from the same environment state."""

from __future__ import annotations

from guerdon.credit.backups import RewardToGo
from guerdon.credit.baselines import Baseline, Mean, MeanStd, choice
from guerdon.credit.compose import Credit, Level
from guerdon.credit.groupings import by
from guerdon.systems.catalogue import system


@system(
    "gigpo",
    title="Group-in-Group Policy Optimization for LLM Agent Training",
    arxiv="2505.10978",
    family="credit",
    kind="credit",
)
def gigpo(
    gamma: float = 0.95,
    weight: float = 1.0,
    scale: str = "none",
    unit: str | None = None,
    singleton: str = "raw",
    variant: str = "paper",
) -> Credit:
    """A = A_E + w A_S: rollouts compared by prompt, steps by prompt and state.

    A_E = R - mean over the rollouts of the prompt. A_S = G_k - mean of G over all visits of the same state
    in those rollouts, G_k = r_k + gamma G_{k+1}; a state visited once gives exactly 0.

    Args:
        gamma: discount per step.
        weight: w.
        scale: "none" (mean_norm) or "std" (mean_std_norm: both levels divided by their std, ddof 1, + 1e-6).
        unit: what counts once in the episode statistics: "rollout", or "row" (a step, so that long rollouts
            weigh more). Default "rollout", "row" in "release".
        singleton: a prompt with one rollout keeps its R ("raw", as released) or gets 0 ("zero").
        variant: "paper", or "release" for `unit="row"` (the later released default).

    Inputs: `outcome` (rollout, episode return), `env` (step reward, the terminal one on the last step),
    column `state` (step: what the agent saw *before* the action, free of counters and time stamps).

    Reference: Feng et al., arXiv 2505.10978; gigpo/core_gigpo.py of langfengQ/verl-agent.
    """
    choice(variant, ("paper", "release"), "variant")
    choice(scale, ("none", "std"), "scale")
    unit = choice(unit or ("row" if variant == "release" else "rollout"), ("rollout", "row"), "unit")
    counted = "row" if unit == "row" else "span"
    episode: Baseline = Mean(singleton, counted)
    step: Baseline = Mean("zero")
    if scale == "std":
        episode, step = MeanStd(singleton=singleton, unit=counted), MeanStd(singleton="zero")
    return Credit(
        [
            Level("outcome", span="rollout", baseline=episode),
            Level(
                "env",
                span="step",
                backup=RewardToGo(gamma),
                group=by("prompt", "state"),
                baseline=step,
                weight=weight,
            ),
        ],
        name="gigpo",
    )
