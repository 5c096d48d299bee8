"""Weights of unit tests by how hard they are for a group of attempts, and by how many are equally hard."""

from __future__ import annotations

import math

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.scoring import SampleReward


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
    """w_j = exp(-alpha rho_j) / (N_j + delta): hard tests count more, equal ones share; float64 (tests,).

    Reference: VeRPO, arXiv 2601.03525.
    """
    return np.exp(-alpha * rates) / (crowding(rates, sigma) + delta)


def with_test_results(rollouts: Rollouts, tests: SampleReward) -> Rollouts:
    """Rollouts with `meta["passed"]`, 0/1 per test, where it was not given.

    Args:
        tests: a reward whose verdicts list the tests under `detail["tests"]`, each with `passed`. Where it
            lists none (no code was found) all tests of the row's group count as failed; where it cannot
            score, the entry is the cause, a text.
    """
    metas = [dict(meta or {}) for meta in rollouts.meta or [{}] * len(rollouts)]
    todo = [i for i, meta in enumerate(metas) if meta.get("passed") is None]
    verdicts = tests.verdicts(rollouts.select(todo)) if todo else []
    for i, verdict in zip(todo, verdicts, strict=True):
        metas[i]["passed"] = [int(test.passed) for test in verdict.detail.get("tests", ())]
        if math.isnan(verdict.value):
            metas[i]["passed"] = verdict.cause or "not scored"
    labels = rollouts.groups()[0].tolist()
    widths: dict[int, int] = {}
    for label, meta in zip(labels, metas, strict=True):
        if isinstance(meta["passed"], list):
            widths[label] = max(widths.get(label, 0), len(meta["passed"]))
    for i in todo:
        if metas[i]["passed"] == []:
            metas[i]["passed"] = [0] * widths[labels[i]]
    return rollouts.replace(meta=metas)
