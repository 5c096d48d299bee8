"""Conciseness reward function: brevity multiplies the outcome, so it pays only where the answer is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.errors import RecipeError
from guerdon.shape.gates import gated, group_rate
from guerdon.shape.parameters import numbers, unit
from guerdon.shape.schedules import schedule
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited

Difficulty = Callable[[Reading], np.ndarray]


@system(
    "conciseness-reward",
    title="Efficient Reasoning via Reward Model",
    arxiv="2511.09158",
    family="shape",
    kind="shape",
    others={"credit": credited(baseline="mean_std", eps=1e-6)},
)
def conciseness_reward(
    alpha: float = 0.5,
    s: Any = "linear",
    difficulty: float | str | Difficulty = "accuracy",
    progress: float | None = None,
) -> Shaping:
    """R_i = o_i (1 + alpha c_i (s + d_q)); wrong answers keep 0 whatever their conciseness c.

    For right answers R lies in [1, 1 + alpha (s + d)]; with s + d = 0 it is the outcome. Credit:
    (R - mean_g)/(std_g + 1e-6).

    Args:
        alpha: weight.
        s: annealing: a number in [0, 1], or a schedule (see `shape.schedules`); "linear" falls from 1 to 0.
        difficulty: d of the question: "accuracy" (share of right answers in the group: easy questions are
            pushed harder), a number, the name of a rollout signal, or a function of the `Reading`.
        progress: share of training done, in [0, 1]; default that of the context.

    Inputs: `outcome` (rollout, 0 or 1); `conciseness` (rollout, in [0.1, 1]).
    Parts: `difficulty`, `gain` (the factor) and `reward`.

    Reference: arXiv 2511.09158. The form is published; alpha, s and d are not: the defaults are ours.
    """
    numbers(alpha=alpha)
    annealed = schedule(s, "s")
    if progress is not None:
        unit(progress, "progress")
    if not isinstance(difficulty, str) and not callable(difficulty):
        unit_or_more = isinstance(difficulty, int | float) and not isinstance(difficulty, bool)
        if not unit_or_more or not difficulty >= 0:
            raise RecipeError(f"difficulty must be a number, 0 or more, or a name; got {difficulty!r}")

    def hardness(view: Reading, outcome: np.ndarray) -> np.ndarray:
        if callable(difficulty):
            return np.asarray(difficulty(view), np.float64)
        if isinstance(difficulty, str):
            labels, n = view.groups
            return group_rate(outcome, labels, n) if difficulty == "accuracy" else view.rollout(difficulty)
        return np.full(len(outcome), float(difficulty))

    def parts(view: Reading) -> dict[str, np.ndarray]:
        outcome, concise = view.rollout("outcome"), view.rollout("conciseness")
        ctx = view.moment if progress is None else Context(progress=progress, step=view.moment.step)
        hard = hardness(view, outcome)
        gain = 1.0 + alpha * concise * (annealed(ctx) + hard)
        return {"difficulty": hard, "gain": gain, "reward": gated(gain, outcome)}

    return Shaping("conciseness-reward", parts, ("outcome", "conciseness"))
