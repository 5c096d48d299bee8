"""Which rollouts go through the model together.

Enters: the context and length of every rollout. Leaves: micro-batches as row indices.
"""

from __future__ import annotations

import numpy as np


def micro_batches(
    owner: np.ndarray,
    context_lengths: np.ndarray,
    lengths: np.ndarray,
    budget: int,
    micro_rollouts: int | None = None,
) -> list[np.ndarray]:
    """Split rollouts so that rows of a context stay together and rows of like length share a batch.

    Args:
        owner: int64 (N,), context of each rollout.
        context_lengths: int64 (U,), tokens.
        lengths: int64 (N,), completion tokens.
        budget: most padded tokens of a batch, contexts counted once; a single rollout may exceed it.
        micro_rollouts: exactly this many rollouts per batch (the last may be smaller) instead.

    Returns:
        int64 row indices, every row in exactly one batch.
    """
    if len(owner) == 0:
        return []
    longest = np.zeros(len(context_lengths), np.int64)
    np.maximum.at(longest, owner, lengths)
    order = np.lexsort((lengths, owner, (context_lengths + longest)[owner]))
    if micro_rollouts is not None:
        size = max(1, int(micro_rollouts))
        return [order[start : start + size] for start in range(0, len(order), size)]
    batches, start = [], 0
    contexts: set[int] = set()
    width = span = 0
    for at, row in enumerate(order.tolist()):
        held = contexts | {int(owner[row])}
        wider, longer = max(width, int(context_lengths[owner[row]])), max(span, int(lengths[row]))
        if at > start and len(held) * wider + (at - start + 1) * longer > budget:
            batches.append(order[start:at])
            start, held = at, {int(owner[row])}
            wider, longer = int(context_lengths[owner[row]]), int(lengths[row])
        contexts, width, span = held, wider, longer
    batches.append(order[start:])
    return batches
