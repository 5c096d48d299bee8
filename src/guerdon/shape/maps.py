"""Scalar maps: each value by itself. Arrays in, float64 arrays of the same shape out; NaN stays NaN."""

from __future__ import annotations

from functools import cache

import numpy as np


def clip_above(r: np.ndarray, eta: float = 0.9) -> np.ndarray:
    """min(r - eta, 0): good enough is worth nothing more, so every value is at most 0.

    Reference: Gao et al., arXiv 2410.15115.
    """
    return np.minimum(np.asarray(r, np.float64) - eta, 0.0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow, in [0, 1]."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(x, np.float64)))


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """log(1 / (1 + exp(-x))), without overflow; about x for very negative x.

    Reference: Wang et al., arXiv 2402.00742.
    """
    x = np.asarray(x, np.float64)
    return np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x)))


@cache
def _sigmoid_polynomial() -> np.ndarray:
    x = np.linspace(-5.0, 5.0, 1001)
    return np.polyfit(x, sigmoid(x), 5)


def polynomial_sigmoid(x: np.ndarray) -> np.ndarray:
    """Least-squares polynomial of degree 5 to the sigmoid on [-5, 5]; 0 below and 1 above."""
    x = np.asarray(x, np.float64)
    inside = np.polyval(_sigmoid_polynomial(), np.clip(x, -5.0, 5.0))
    return np.where(x < -5.0, 0.0, np.where(x > 5.0, 1.0, inside))


def hinge(x: np.ndarray, margin: np.ndarray | float, alpha: float = 1.0) -> np.ndarray:
    """max(0, x - alpha * margin)."""
    return np.maximum(0.0, np.asarray(x, np.float64) - alpha * np.asarray(margin, np.float64))


def reciprocal_length(length: np.ndarray, coef: float, shortest: float = 0.25) -> np.ndarray:
    """-coef / length: short is punished, and the punishment vanishes with length; 0 at its best.

    Args:
        shortest: lengths below it count as this, so that nothing is divided by 0.
    """
    return -coef / np.maximum(np.asarray(length, np.float64), shortest)


def exponential_bonus(z: np.ndarray, rate: float) -> np.ndarray:
    """exp(-rate * z) - 1: positive below the mean (z < 0), negative above it, 0 for rate 0."""
    return np.expm1(-rate * np.asarray(z, np.float64))


def over_limit(length: np.ndarray, limit: float, price: float) -> np.ndarray:
    """-price * max(0, length - limit): what tokens beyond a limit cost."""
    return -price * np.maximum(np.asarray(length, np.float64) - limit, 0.0)


def relative_excess(length: np.ndarray, target: np.ndarray, tolerance: float = 0.2) -> np.ndarray:
    """min(1, max(0, |l - L|/L - tolerance) / (1 - tolerance)): how far off a target length, in [0, 1]."""
    length, target = np.asarray(length, np.float64), np.asarray(target, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.abs(length - target) / target
    return np.minimum(1.0, np.maximum(0.0, off - tolerance) / (1.0 - tolerance))
