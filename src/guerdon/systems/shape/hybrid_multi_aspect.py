"""HARMO: accuracy, format and a length penalty measured against the group's own right answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.data.kernels import label_mean
from guerdon.errors import RecipeError
from guerdon.shape.maps import relative_excess
from guerdon.shape.parameters import numbers, unit
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited

MODES = ("wrong_short", "both", "none")


def length_penalty(
    length: np.ndarray,
    correct: np.ndarray,
    labels: np.ndarray,
    n_labels: int,
    p_max: float = 0.5,
    tau: float = 0.2,
    mode: str = "wrong_short",
) -> np.ndarray:
    """-p_max min(1, max(0, |l - L|/L - tau)/(1 - tau)), L the mean length of the group's right answers.

    Args:
        length: (N,) tokens. correct: (N,) 0 or 1, NaN unknown.
        labels: int64 (N,), n_labels: the groups.
        mode: "wrong_short" penalises wrong answers shorter than L; "both" also any answer longer than L.

    Returns:
        float64 (N,), in [-p_max, 0]; 0 in a group without a right answer.
    """
    if mode == "none":
        return np.zeros(len(length))
    target = label_mean(np.where(correct == 1.0, length, np.nan), labels, n_labels)[labels]
    hit = (correct == 0.0) & (length < target)
    if mode == "both":
        hit |= length > target
    unknown = ~np.isnan(target) & (np.isnan(length) | (np.isnan(correct) & (length < target)))
    return np.where(unknown, np.nan, np.where(hit, -p_max * relative_excess(length, target, tau), 0.0))


@system(
    "hybrid-multi-aspect",
    title="Beyond Monolithic Rewards: A Hybrid and Multi-Aspect Reward Optimization for MLLM Alignment",
    arxiv="2510.05283",
    family="shape",
    kind="shape",
    others={"credit": credited(baseline="mean")},
)
def hybrid_multi_aspect(
    mode: str = "wrong_short",
    p_max: float = 0.5,
    tau: float = 0.2,
    weights: Sequence[float] = (1.0, 1.0, 1.0),
    correct_min: float = 0.5,
) -> Shaping:
    """R_i = w_1 accuracy_i + w_2 penalty(length_i) + w_3 format_i; see `length_penalty`.

    Credit: R - mean_g, without a standard deviation.

    Args:
        mode: whose length is penalised: "wrong_short" (wrong answers shorter than the right ones), "both"
            (also any that is longer), "none".
        p_max, tau: largest penalty, and tolerance in [0, 1).
        weights: of accuracy, length and format.
        correct_min: accuracy from which an answer counts as right.

    Inputs: `accuracy` (rollout: a rule's verdict where the question can be checked, a reward model's score
    otherwise), `format` (rollout), `length` (rollout, tokens; counted where it is not carried).
    Parts: `penalty` and `reward`.

    Reference: arXiv 2510.05283. Only the ingredients of the penalty are published (right answers of the
    group, a bound, a tolerance); its form and the values of p_max and tau are ours.
    """
    choice(mode := mode.replace("-", "_"), MODES, "mode")
    numbers(p_max=p_max, correct_min=correct_min)
    if unit(tau, "tau") == 1.0:
        raise RecipeError(f"tau must lie below 1, got {tau!r}")
    if p_max < 0:
        raise RecipeError(f"p_max, the largest penalty, must be 0 or more; got {p_max!r}")
    if len(weights) != 3:
        raise RecipeError(f"weights are three, of accuracy, length and format; got {weights!r}")

    def parts(view: Reading) -> dict[str, np.ndarray]:
        accuracy, form = view.rollout("accuracy"), view.rollout("format")
        right = np.where(np.isnan(accuracy), np.nan, accuracy >= correct_min)
        penalty = length_penalty(view.length(), right, *view.groups, p_max, tau, mode)
        total = weights[0] * accuracy + weights[1] * penalty + weights[2] * form
        return {"penalty": penalty, "reward": total}

    return Shaping("hybrid-multi-aspect", parts, ("accuracy", "format", "length"), {"rollout": "accuracy"})
