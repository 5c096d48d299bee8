"""Simulated reward models with their own noise, and what best-of-N with them gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Model:
    """A score: gap where right, plus noise; some wrong answers draw an exponential bonus (a blind spot)."""

    gap: float
    blind: float
    bonus: float

    def scores(self, right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One score per answer."""
        fooled = ~right & (rng.random(right.shape) < self.blind)
        extra = fooled * rng.exponential(self.bonus, right.shape)
        return self.gap * right + rng.standard_normal(right.shape) + extra


def models(rng: np.random.Generator, count: int) -> list[Model]:
    """Models that differ in how well they separate and in how often they are fooled."""
    return [Model(rng.uniform(1.0, 2.0), rng.uniform(0.0, 0.1), rng.uniform(1.0, 5.0)) for _ in range(count)]


def best_of(model: Model, rng: np.random.Generator, n: int, problems: int, share: float = 0.25) -> float:
    """Accuracy of the best-scored of n answers, a share of which is right."""
    right = rng.random((problems, n)) < share
    chosen = model.scores(right, rng).argmax(axis=1)
    return float(right[np.arange(problems), chosen].mean())


def one_right(model: Model, rng: np.random.Generator, wrong: int, problems: int) -> np.ndarray:
    """Scores (problems, 1 + wrong), the right answer first."""
    right = np.zeros((problems, 1 + wrong), bool)
    right[:, 0] = True
    return model.scores(right, rng)


def saved(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    """The path of a file of rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
