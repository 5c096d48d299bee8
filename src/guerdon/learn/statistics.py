"""Success rates with intervals: pass@k, means over problems, paired differences.

Problems are the independent observations; draws of one problem are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A mean with a 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def pass_at_k(n: np.ndarray, correct: np.ndarray, k: int) -> np.ndarray:
    """Unbiased chance that at least one of k draws is right: 1 - C(n-c, k) / C(n, k).

    Args:
        n: draws per problem, int (P,).
        correct: right ones among them, int (P,).
        k: at most n.

    Returns:
        float64 (P,); NaN where a problem has fewer than k draws.

    Reference: Chen et al., Evaluating Large Language Models Trained on Code, arXiv 2107.03374.
    """
    n, correct = np.asarray(n, np.int64), np.asarray(correct, np.int64)
    miss = np.ones(len(n))
    for j in range(k):
        left = n - j
        miss *= np.clip(np.where(left > 0, (n - correct - j) / np.maximum(left, 1), 0.0), 0.0, None)
    return np.where(n >= k, 1.0 - miss, np.nan)


def wilson(successes: float, n: int) -> Estimate:
    """Wilson score interval of a rate; NaN without observations."""
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan)
    p, z2 = successes / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Estimate(p, max(0.0, centre - half), min(1.0, centre + half))


def mean_interval(per_problem: np.ndarray) -> Estimate:
    """Mean over problems; Wilson where every value is 0 or 1, else the normal interval of the mean."""
    x = np.asarray(per_problem, dtype=np.float64)
    x = x[~np.isnan(x)]
    if len(x) == 0:
        return Estimate(math.nan, math.nan, math.nan)
    if np.isin(x, (0.0, 1.0)).all():
        return wilson(float(x.sum()), len(x))
    half = Z95 * float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    mean = float(x.mean())
    return Estimate(mean, mean - half, mean + half)


def paired_difference(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Mean of a - b over the same problems, with its normal 95 % interval."""
    d = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    d = d[~np.isnan(d)]
    if len(d) < 2:
        return Estimate(float(d.mean()) if len(d) else math.nan, math.nan, math.nan)
    half = Z95 * float(d.std(ddof=1)) / math.sqrt(len(d))
    return Estimate(float(d.mean()), float(d.mean()) - half, float(d.mean()) + half)
