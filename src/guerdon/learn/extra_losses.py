"""A recipe's `losses`: built, and shown what is theirs of a micro-batch. See `guerdon.intrinsic.tails`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.engines.protocol import TokenStats
from guerdon.intrinsic.tails import Extended, ExtraLoss
from guerdon.registry import build


def build_losses(section: Sequence[Mapping[str, Any]]) -> list[ExtraLoss]:
    """The recipe's extra losses, in order."""
    return [build("loss", spec, f"losses.{i}") for i, spec in enumerate(section)]


def seen_by(extra: Extended, stats: TokenStats, rows: np.ndarray, tokens: Ragged) -> TokenStats:
    """The log-probs of a micro-batch without what later losses added.

    Args:
        stats: of the given rows of `tokens`, the step's token ids with all additions.
    """
    own = extra.rollouts.tokens
    assert own is not None
    lengths = np.zeros(len(tokens), np.int64)
    lengths[: len(own)] = own.lengths
    here = tokens.lengths[rows]
    if (lengths[rows] == here).all():
        return TokenStats(stats.logprobs)
    import torch

    column = np.arange(here.sum()) - np.repeat(np.cumsum(here) - here, here)
    inside = torch.from_numpy(column < np.repeat(lengths[rows], here)).to(stats.logprobs.device)
    return TokenStats(stats.logprobs[inside])
