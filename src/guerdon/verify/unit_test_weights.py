"""Weights of unit tests by how hard they are for a group of attempts, and by how many are equally hard."""

from __future__ import annotations

import numpy as np


def pass_rates(passed: np.ndarray) -> np.ndarray:
    """rho_j: share of attempts that pass test j; float64 (tests,).

    Args:
        passed: (attempts, tests) in [0, 1].
    """
    return np.asarray(passed, np.float64).mean(axis=0)


def crowding(rates: np.ndarray, sigma: float = 0.1) -> np.ndarray:
    """N_j = sum_k exp(-(rho_j - rho_k)^2 / (2 sigma^2)), j itself included; float64 (tests,)."""
    gaps = rates[:, None] - rates[None, :]
    return np.exp(-(gaps**2) / (2.0 * sigma**2)).sum(axis=1)


def density_weights(
    rates: np.ndarray, alpha: float = 2.0, sigma: float = 0.1, delta: float = 1e-6
) -> np.ndarray:
    """w_j = exp(-alpha rho_j) / (N_j + delta): hard tests count more, crowds of equal ones share; float64 (tests,).

    Reference: VeRPO, arXiv 2601.03525.
    """
    return np.exp(-alpha * rates) / (crowding(rates, sigma) + delta)
