"""Step scores to one score per solution.

Scores are probabilities p in [0, 1] where an aggregation says so; an empty list has no score (NaN).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from guerdon.errors import RecipeError
from guerdon.registry import nearest

_TINY = 1e-12


def _prod(p: np.ndarray) -> float:
    out = 1.0
    for value in p.tolist():  # in order: products of many small numbers depend on it in the last digits
        out *= value
    return out


def _geometric(p: np.ndarray) -> float:
    product = _prod(p)
    return product ** (1 / len(p)) if product >= 0 else math.nan


def _clipped(p: np.ndarray) -> np.ndarray:
    """Off 0 and 1, where logit and odds are infinite."""
    return np.clip(p, _TINY, 1 - _TINY)


def _mean_logit(p: np.ndarray) -> float:
    p = _clipped(p)
    return float(1 / (1 + np.exp(-np.mean(np.log(p / (1 - p))))))


def _mean_odds(p: np.ndarray) -> float:
    p = _clipped(p)
    return float(max(0.0, np.mean(p / (1 - p))))


AGGREGATIONS: dict[str, Callable[[np.ndarray], float]] = {
    "min": lambda p: float(p.min()),
    "max": lambda p: float(p.max()),
    "prod": _prod,
    "geometric_mean": _geometric,
    "mean": lambda p: sum(p.tolist()) / len(p),
    "mean_logit": _mean_logit,
    "mean_odd": _mean_odds,
    "last": lambda p: float(p[-1]),
}
"""By name: min, max, prod, geometric_mean, mean, mean_logit = sigmoid(mean logit p),
mean_odd = max(0, mean p / (1 - p)), last."""


def aggregate(scores: Sequence[float], how: str) -> float:
    """One score of a solution from its steps' scores; NaN where there are none or one is missing.

    Raises:
        RecipeError: an unknown aggregation.
    """
    if how not in AGGREGATIONS:
        raise RecipeError(f"unknown aggregation {how!r}{nearest(how, AGGREGATIONS)}")
    p = np.asarray(scores, np.float64)
    if p.size == 0 or np.isnan(p).any():
        return math.nan
    return AGGREGATIONS[how](p)
