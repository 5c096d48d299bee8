"""Losses of the learned pieces: sums over their observations, in torch, differentiable.

Every function returns the sum; whoever trains divides by the number of observations of the whole optimiser
step, so that micro-batches never change a result.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def bce(margin: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """sum of -w (q log s(m) + (1 - q) log(1 - s(m))), s the sigmoid; q may be soft.

    With two logits the margin is their difference, and this is the cross-entropy of their softmax.

    Args:
        margin, target, weight: m, q and w (default 1), float32 (m,).
    """
    return F.binary_cross_entropy_with_logits(margin, target, weight, reduction="sum")


def squared(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """sum of w (x - y)^2."""
    error = (prediction - target) ** 2
    return error.sum() if weight is None else (weight * error).sum()


def clipped_value(
    value: torch.Tensor, old: torch.Tensor, target: torch.Tensor, clip: float | None
) -> torch.Tensor:
    """1/2 sum of max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2); without c the first term alone.

    Args:
        value: V as it is now. old: V when the rollouts were scored. target: return R. All float32 (m,).
        clip: c, or None.

    Reference: Schulman et al., PPO, arXiv 1707.06347 (as in the released baselines).
    """
    free = (value - target) ** 2
    if clip is None:
        return 0.5 * free.sum()
    near = old + (value - old).clamp(-clip, clip)
    return 0.5 * torch.maximum(free, (near - target) ** 2).sum()


def implicit_outcome(total: torch.Tensor, outcome: torch.Tensor, beta: float) -> torch.Tensor:
    """sum of BCE(s(beta * sum_t log-ratio), outcome).

    Args:
        total: sum of log pi_phi - log pi_ref over a rollout's tokens (m,).
        outcome: 0/1 or in between (m,).

    Reference: Cui et al., PRIME, arXiv 2502.01456; Yuan et al., arXiv 2412.01981.
    """
    return bce(beta * total, outcome)


def preference_weights(score: np.ndarray, good: np.ndarray, bad: np.ndarray) -> tuple[float, np.ndarray]:
    """Bradley-Terry loss over given pairs, and its gradient in every score.

        L = mean over pairs of -log s(Q+ - Q-),  dL/dQ+ = -s(Q- - Q+) / pairs = -dL/dQ-

    The gradient is exact and additive over rollouts, so a pair may lie in two micro-batches.

    Args:
        score: Q of every rollout, float64 (N,).
        good, bad: int64 (pairs,), rows of the preferred and the other one.

    Returns:
        L (0.0 without pairs) and dL/dQ, float64 (N,).
    """
    gradient = np.zeros(len(score))
    if len(good) == 0:
        return 0.0, gradient
    lead = score[good] - score[bad]
    push = 1.0 / (1.0 + np.exp(np.clip(lead, -500, 500))) / len(good)
    np.add.at(gradient, good, -push)
    np.add.at(gradient, bad, push)
    return float(np.mean(np.logaddexp(0.0, -lead))), gradient


def outcome_pairs(
    outcome: np.ndarray, labels: np.ndarray, above: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """All (success, failure) pairs inside each group.

    Args:
        outcome: float64 (N,); success means greater than `above`; NaN takes part in no pair.
        labels: int64 (N,), group of each rollout.

    Returns:
        rows of the successes and of the failures, int64 (pairs,) each.
    """
    success, failure = outcome > above, outcome <= above
    good: list[np.ndarray] = []
    bad: list[np.ndarray] = []
    order = np.argsort(labels, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        won, lost = members[success[members]], members[failure[members]]
        good.append(np.repeat(won, len(lost)))
        bad.append(np.tile(lost, len(won)))
    nothing = np.empty(0, np.int64)
    return np.concatenate([nothing, *good]), np.concatenate([nothing, *bad])
