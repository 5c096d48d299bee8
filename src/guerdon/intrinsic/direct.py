"""A loss for rewards that depend on the weights: the policy gradient of the thought, and the reward's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.engines.protocol import LossFn, TokenStats
from guerdon.errors import DataError, RecipeError

if TYPE_CHECKING:
    import torch


def direct_loss(tokens: Ragged, answer: np.ndarray, advantages: np.ndarray, how: str = "sum") -> LossFn:
    """L = -1/N sum_i [ A_i sum_{thought} log pi(z_u) + R_i ], whose gradient is that of E[R(theta)].

    Args:
        tokens: thought followed by the reference, N rows.
        answer: bool (tokens,), the reference's tokens.
        advantages: (N,) sg(R - b); NaN leaves a row out.
        how: "sum", "mean", "prob", "mean_prob" or "geometric".

    Returns:
        a loss for `engine.train_step(rollouts, loss, entropy=False)`.

    Raises:
        RecipeError: an unknown reducer. DataError: a row without answer tokens.

    Reference: Likelihood-Based Reward Designs for General LLM Reasoning, arXiv 2602.03979.
    """
    if how not in ("sum", "mean", "prob", "mean_prob", "geometric"):
        raise RecipeError(f"direct loss: unknown reducer {how!r}")
    rows_mask = tokens.with_values(np.asarray(answer, bool))
    empty = [i for i in range(len(tokens)) if not rows_mask[i].any()]
    if empty:
        raise DataError(f"direct loss: row {empty[0]} has no answer tokens")
    known = ~np.isnan(advantages)
    count = max(int(known.sum()), 1)

    def loss(stats: TokenStats, rows: np.ndarray) -> tuple[torch.Tensor, Mapping[str, float]]:
        import torch

        lengths = tokens.lengths[rows].tolist()
        total = stats.logprobs.sum() * 0.0
        for row, part in zip(rows.tolist(), torch.split(stats.logprobs, lengths), strict=True):
            if known[row]:
                mask = torch.from_numpy(rows_mask[row].copy()).to(part.device)
                total = total - float(advantages[row]) * part[~mask].sum() - reduced(part[mask], how)
        return total / count, {}

    return loss


def reduced(logprobs: torch.Tensor, how: str) -> torch.Tensor:
    """`reduce_logprobs` of one span, with gradients."""
    if how == "mean_prob":
        return logprobs.exp().mean()
    value = logprobs.sum() if how in ("sum", "prob") else logprobs.mean()
    return value.exp() if how in ("prob", "geometric") else value
