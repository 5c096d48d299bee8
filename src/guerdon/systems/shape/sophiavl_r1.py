"""SophiaVL-R1: a judge's thinking score, trusted as far as it prefers right answers, fading over training."""

from __future__ import annotations

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.shape.gates import gated, mixed_groups, trust
from guerdon.shape.parameters import numbers
from guerdon.shape.schedules import decay
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited


@system(
    "sophiavl-r1",
    title="SophiaVL-R1: Reinforcing MLLMs Reasoning with Thinking Reward",
    arxiv="2505.17018",
    family="shape",
    kind="shape",
    others={"credit": credited(baseline="mean_std", eps=1e-6)},
)
def sophiavl_r1(
    alpha: float = 0.3,
    T: float = 500.0,
    step: float | None = None,
    judge_min: float | None = None,
    variant: str = "paper",
) -> Shaping:
    """R_i = o_i + alpha exp(-step/T) gamma_g t_i, gamma_g = exp(min(0, mean t of right - mean t of wrong)).

    Right means o >= 0.5. A group whose answers are all right (o >= 0.9) or all wrong (o <= 0.1) gets no
    thinking reward. Credit: (R - mean_g)/(std_g + 1e-6), ddof 1.

    Args:
        alpha: weight of the thinking score.
        T: time constant of its fading, in updates.
        step: current update; default that of the context.
        judge_min: only answers with o >= judge_min are judged, the others score 0; default all are, in
            "release" 0.2 (wrong answers then score 0, and the trust is inert for outcomes 0 and 1).
        variant: "paper" or "release"; the latter also scores 0 what the judge failed on.

    Inputs: `outcome` (rollout, in [0, 1]); `thinking` (rollout, in [0, 1]).
    Parts: `trust`, `weight` (rollout) and `reward`.

    Reference: arXiv 2505.17018; verl/workers/reward/custom.py of kxfan2002/SophiaVL-R1.
    """
    released = choice(variant, ("paper", "release"), "variant") == "release"
    least = 0.2 if judge_min is None and released else judge_min
    numbers(alpha=alpha, judge_min=least or 0.0)
    decay(step or 0, T)

    def parts(view: Reading) -> dict[str, np.ndarray]:
        outcome, thinking = view.rollout("outcome"), view.rollout("thinking")
        labels, n = view.groups
        if least is not None:
            thinking = np.where(outcome < least, 0.0, thinking)
        if released:
            thinking = np.nan_to_num(thinking, nan=0.0)
        trusted = trust(thinking, outcome, labels, n)
        fading = decay(view.moment.step if step is None else step, T)
        weight = alpha * fading * trusted * mixed_groups(outcome, labels, n)
        return {"trust": trusted, "weight": weight, "reward": outcome + gated(thinking, weight)}

    return Shaping("sophiavl-r1", parts, ("outcome", "thinking"))
