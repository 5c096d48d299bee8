"""RLSP: an outcome less a price for short reasoning, mixed with a judge of exploration."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.data.signal import Signal
from guerdon.errors import DataError
from guerdon.shape.maps import reciprocal_length
from guerdon.shape.parameters import numbers, unit
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited
from guerdon.verify.extract import first_box

CHARACTERS_PER_TOKEN = 4.0


def outcome_and_length(text: str, reference: Any) -> tuple[float, float]:
    """Outcome (1 right, 0 wrong, -0.5 without a box) and reasoning length (characters / 4).

    The answer is the first `\\boxed{}` that closes, compared as a string without outer blanks; the reasoning
    is what stands before it, or the whole text where there is no box.
    """
    found = first_box(text)
    if found is None:
        return -0.5, len(text) / CHARACTERS_PER_TOKEN
    start, answer = found
    return float(answer.strip() == str(reference).strip()), start / CHARACTERS_PER_TOKEN


@system(
    "rlsp",
    title="On the Emergence of Thinking in LLMs I: Searching for the Right Intuition",
    arxiv="2502.06773",
    family="shape",
    kind="shape",
    others={"credit": credited()},
)
def rlsp(C: float = 1000.0, alpha: float = 0.8, judge: bool | None = None, variant: str = "paper") -> Shaping:
    """R = alpha (outcome - C/l) + (1 - alpha) e with a judge's score e in [0, 1]; outcome - C/l without one.

    l is the reasoning length in approximate tokens. The price of short reasoning vanishes as it grows, so R
    rises towards the outcome. Where the judge failed, e = 0.5. Credit: generalised advantages against the
    column `values`; without a critic the rewards themselves.

    Args:
        C: price; 0 turns it off.
        alpha: weight of the verified part.
        judge: whether a judge takes part; default: where the signal `judge` is carried.
        variant: "paper", or "release": a box with nothing before it, and a row without a reference, are worth
            0.0 (more than a short wrong answer). "paper" counts one character instead, and calls a row
            without a reference missing.

    Inputs: `completion` (text with `\\boxed{}`), `reference` (gold answer), `judge` (rollout, null where it
    failed).
    Parts: `outcome`, `length` (tokens), `base`, `judge_failed` and `reward`.

    Reference: Ye et al., arXiv 2502.06773; openrlhf/cli/orm_server_efficient.py of
    GuanghaoYe/Emergence-of-Thinking.
    """
    released = choice(variant, ("paper", "release"), "variant") == "release"
    numbers(C=C)
    unit(alpha, "alpha")

    def parts(view: Reading) -> dict[str, np.ndarray | Signal]:
        references = view.rollouts.reference or [None] * len(view.rollouts)
        if not released and all(reference is None for reference in references):
            raise DataError("rlsp needs the column `reference` (gold answers), and no rollout has one")
        read = [outcome_and_length(text, ref) for text, ref in zip(view.texts(), references, strict=True)]
        outcome, length = np.array(read, np.float64).reshape(-1, 2).T
        lost = np.array([reference is None for reference in references], bool)
        base = outcome + (reciprocal_length(length, C) if C else 0.0)
        reward, failed = base, np.zeros(len(base))
        if judge or (judge is None and "judge" in view.signals):
            score = view.rollout("judge")
            failed = np.isnan(score).astype(np.float64)
            reward = alpha * base + (1.0 - alpha) * np.where(failed > 0, 0.5, score)
        if released:
            reward = np.where(lost | ((length == 0) & (C != 0)), 0.0, reward)
        else:
            reward = np.where(lost, np.nan, reward)
        causes = {} if released else dict.fromkeys(np.flatnonzero(lost).tolist(), "no reference")
        return {
            "outcome": outcome,
            "length": length,
            "base": base,
            "judge_failed": failed,
            "reward": Signal(reward, "rollout", "reward", causes),
        }

    return Shaping("rlsp", parts, (), {"rollout": "judge"})
