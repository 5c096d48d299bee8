"""Self-rewarded efficiency: right answers earn more the shorter they are among the group's right ones.

And the training-free half: a direction in hidden states from long to short answers of the same question.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.data.kernels import segment_reduce
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.registry import nearest
from guerdon.shape.gates import brevity, gated, group_rate, reaches
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import Estimator, credited


@system(
    "efficiency-steering",
    title="Exploring and Exploiting the Inherent Efficiency within Large Reasoning Models for Self-Guided "
    "Efficiency Enhancement",
    arxiv="2506.15647",
    family="shape",
    kind="shape",
    others={"credit": credited(baseline="mean_std", eps=1e-6)},
)
def efficiency_steering(weight: float = 0.4, ref: str = "range", **named: Any) -> Shaping:
    """R_i = o_i (1 + lambda acc_g b_i): b_i how short the answer is among the group's right ones.

    b_i = (L_max - L_i)/(L_max - L_min), or L_min / L_i with `ref="shortest"`; lambda is scaled by the group's
    accuracy, so hard questions are pressed less. A single right answer, or equal lengths: b = 0
    ("range") or 1 ("shortest"). Credit: (R - mean_g)/(std_g + 1e-6).

    Args:
        weight: lambda; a recipe may also call it `lambda`.
        ref: "range" or "shortest".

    Inputs: `outcome` (rollout, 0 or 1); `length` (rollout, tokens; counted where it is not carried).
    Parts: `brevity`, `weight` (lambda acc_g) and `reward`.

    Reference: arXiv 2506.15647. Only the idea is published (brevity relative to the model's own short right
    answers, balanced with accuracy); this form and lambda = 0.4 are ours.
    """
    coef = named.pop("lambda", weight)
    if named:
        unknown = sorted(named)[0]
        fields = ("lambda", "ref", *Estimator.__dataclass_fields__)
        raise RecipeError(f"{unknown}: unknown field{nearest(unknown, fields)}")
    if isinstance(coef, bool) or not isinstance(coef, int | float):
        raise RecipeError(f"lambda must be a number, got {coef!r}")
    choice(ref, ("range", "shortest"), "ref")

    def parts(view: Reading) -> dict[str, np.ndarray]:
        labels, n = view.groups
        right = reaches(view.rollout("outcome"))
        short = brevity(view.length(), right == 1.0, labels, n, ref)
        pressure = coef * group_rate(right, labels, n)
        return {"brevity": short, "weight": pressure, "reward": gated(1.0 + pressure * short, right)}

    return Shaping("efficiency-steering", parts, ("outcome", "length"))


def direction(engine: Any, rollouts: Rollouts, layer: int = -1, unit: bool = False) -> np.ndarray:
    """`steering_vector` of an engine, from rollouts with the rollout signal `outcome`.

    Every question with right answers of different lengths gives one pair: its shortest and its longest, each
    the mean state over the tokens the policy chose.

    Args:
        engine: has `hidden(rollouts, layer)`, (tokens, width).
        layer: 0 for embeddings, i for the output of block i.
        unit: scale to length 1.

    Raises:
        DataError: no question has two right answers of different length.
    """
    short, long = _extremes(Reading(rollouts, rollouts.signals, "rollout", "efficiency-steering"))
    if len(short) == 0:
        raise DataError("steering needs a question with two right answers of different length; there is none")
    chosen = rollouts.select(np.concatenate([short, long]))
    states = np.asarray(engine.hidden(chosen, layer), np.float64)
    acted = Reading(chosen, {}, "token").mask()
    weights = np.ones(len(states)) if acted is None else acted.astype(np.float64)
    counts = segment_reduce(weights, chosen.offsets("token"))
    owner = np.repeat(np.arange(len(chosen)), np.diff(chosen.offsets("token")))
    sums = np.zeros((len(chosen), states.shape[1]))
    np.add.at(sums, owner, states * weights[:, None])
    means = sums / counts[:, None]
    return steering_vector(means[: len(short)], means[len(short) :], unit)


def _extremes(view: Reading) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the shortest and of the longest right answer of every group where they differ."""
    length = view.length()
    labels, n = view.groups
    usable = np.flatnonzero((view.rollout("outcome") >= 0.5) & (length > 0))
    order = usable[np.lexsort((length[usable], labels[usable]))]
    first = np.searchsorted(labels[order], np.arange(n), side="left")
    last = np.searchsorted(labels[order], np.arange(n), side="right") - 1
    filled = np.flatnonzero(last > first)
    short, long = order[first[filled]], order[last[filled]]
    differ = length[short] < length[long]
    return short[differ], long[differ]


def steering_vector(concise: np.ndarray, verbose: np.ndarray, unit: bool = False) -> np.ndarray:
    """v = mean_q (h+_q - h-_q), float64 (width,): from long to short right answers of the same questions.

    Args:
        concise, verbose: (questions, width) mean hidden states of each question's shortest and longest right
            answer at one layer, row by row.
        unit: scale to length 1.

    Raises:
        DataError: arrays that do not pair.
    """
    plus, minus = np.asarray(concise, np.float64), np.asarray(verbose, np.float64)
    if plus.ndim != 2 or plus.shape != minus.shape or len(plus) == 0:
        raise DataError(f"states must pair as (questions, width); got {plus.shape} and {minus.shape}")
    vector = (plus - minus).mean(axis=0)
    return vector / np.linalg.norm(vector) if unit else vector


def steered(states: np.ndarray, vector: np.ndarray, coef: float) -> np.ndarray:
    """h + coef v at every position; added after the layer's residual, in cached decoding too.

    Args:
        states: (..., width). vector: (width,). coef: positive shortens, negative lengthens.
    """
    return np.asarray(states, np.float64) + coef * np.asarray(vector, np.float64)
