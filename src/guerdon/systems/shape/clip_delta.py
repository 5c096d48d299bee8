"""Clip and Delta: process rewards that repeating good steps cannot raise."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.credit.placing import place
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.shape.along import delta as differences
from guerdon.shape.maps import clip_above
from guerdon.shape.parameters import numbers
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited


@system(
    "clip-delta",
    title="On Designing Effective RL Reward at Training Time for LLM Reasoning",
    arxiv="2410.15115",
    family="shape",
    kind="shape",
    others={"credit": credited()},
)
def clip_delta(
    alpha: float = 1.0,
    clip: Any = 0.9,
    delta: Any = "drop",
) -> Shaping:
    """r_k = alpha f(prm)_k + outcome on the last step, f = Delta o Clip.

    Clip: min(prm_k - eta, 0), so more good steps earn no more. Delta: x_k - x_{k+1} of what Clip left, so the
    sum of what follows is the step's own x_k, and the rollout's x_1. Credit: generalised advantages against
    the column `values`; without a critic the rewards themselves (`baseline="return"` sums what follows).

    Args:
        alpha: weight of the process reward; the publication does not state it.
        clip: eta, True for 0.9, or False for no clipping.
        delta: "drop" leaves the last step to the outcome (and credits the one before it with all of its
            x); "keep" ends with the last step's own value; True is "drop", False takes no differences.

    Inputs: `prm` (step, score of the prefix in [0, 1]); `outcome` (rollout, 0 or 1).
    Parts: `process` (step), `reward` (step).

    Reference: Gao et al., arXiv 2410.15115. Independent notes disagree on the last step of Delta; both forms
    are here.
    """
    numbers(alpha=alpha)
    last, eta = _switch(delta, "drop"), _switch(clip, 0.9)
    if last is not None:
        choice(last, ("drop", "keep"), "delta")
    if eta is not None and not isinstance(eta, int | float):
        raise RecipeError(f"clip must be a threshold, true or false; got {clip!r}")

    def parts(view: Reading) -> dict[str, Signal]:
        scores, outcome = view.spans("prm", "step"), view.rollout("outcome")
        process = scores if eta is None else clip_above(scores, eta)
        if last is not None:
            process = differences(process, view.rollouts.offsets("step"), last)
        reward = alpha * process + place(outcome, view, "step", "last")
        return {"process": Signal(process, "step"), "reward": Signal(np.asarray(reward), "step")}

    return Shaping("clip-delta", parts, ("prm", "outcome"), {"step": "prm", "rollout": "outcome"})


def _switch(value: Any, on: Any) -> Any:
    """A parameter that is a value, True for the usual one, or off (None)."""
    if value is None or value is False or value in ("none", "off"):
        return None
    return on if value is True else value
