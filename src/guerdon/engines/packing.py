"""Rollouts packed flat for a forward pass: every unique prompt once, no padding between sequences.

Enters: prompt ids and completion ids of some rollouts. Leaves: one flat token sequence

    [prompts without their last token | last tokens of the prompts | completions]

with the indices that attention needs to see it as padded rows. Dense layers run on the flat sequence;
everything from the last prompt tokens on predicts something, so the head needs one contiguous slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from guerdon.data.ragged import Ragged

NEVER = -1e9
"""Additive mask value: exp underflows to 0 in float32, yet a fully masked row stays finite."""


def unique_contexts(contexts: Sequence[tuple[int, ...]]) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Distinct contexts in order of appearance, and the index int64 (N,) of every row's context."""
    numbered: dict[tuple[int, ...], int] = {}
    index = np.fromiter((numbered.setdefault(c, len(numbered)) for c in contexts), np.int64, len(contexts))
    return list(numbered), index


@dataclass(frozen=True)
class Packed:
    """Index tables of one packed batch of U contexts (width P) and R completions (width T), on a device.

    Attributes:
        ids, positions: int64 (flat tokens,): what to embed, and where it stands in its sequence.
        n_context: flat tokens that belong to contexts.
        head_start: flat index of the first token that predicts something.
        context_rows: int64 (U, P) flat index of every context token, right-padded with 0.
        context_flat: int64 (n_context,) place of every flat context token in the padded (U * P).
        completion_rows: int64 (R, T) flat index of every completion token, right-padded with n_context.
        completion_flat: int64 (flat completion tokens,) place of each in the padded (R * T).
        key_rows: int64 (R, P + T): context tokens and completion tokens each completion row attends to.
        mask: float32 (R or 1, 1, T, P + T) additive attention mask of the completions.
        source: int64 (tokens,): position after `head_start` that predicts each token of the rollouts
            (or, in a batch packed `whole`, that holds the state after having read it).
    """

    ids: torch.Tensor
    positions: torch.Tensor
    n_context: int
    head_start: int
    context_rows: torch.Tensor
    context_flat: torch.Tensor
    completion_rows: torch.Tensor
    completion_flat: torch.Tensor
    key_rows: torch.Tensor
    mask: torch.Tensor
    source: torch.Tensor


def pack(
    contexts: Sequence[tuple[int, ...]],
    tokens: Ragged,
    device: torch.device | str = "cpu",
    whole: bool = False,
) -> Packed:
    """Pack R rollouts.

    Args:
        contexts: prompt ids of every rollout, none empty.
        tokens: completion ids, ragged (R rows).
        whole: also read the last token of every completion, which predicts nothing that is asked for;
            `source` then points at the token itself instead of the one before it.
    """
    unique, owner = unique_contexts(contexts)
    context_rows, context_flat, context_ids, context_positions = _contexts(unique)
    context_lengths = np.array([len(c) for c in unique], dtype=np.int64)
    n_context, width = len(context_ids), context_rows.shape[1]
    head_start = n_context - len(unique)

    lengths = tokens.lengths if whole else np.maximum(tokens.lengths - 1, 0)
    read = Ragged.from_lengths(np.arange(n_context, n_context + int(lengths.sum())), lengths)
    column = np.arange(read.total) - np.repeat(read.offsets[:-1], lengths)
    row = read.row_ids()
    span = int(lengths.max(initial=0))
    completion_rows = read.to_padded(fill=n_context, width=span)
    return Packed(
        ids=_put(np.concatenate([context_ids, tokens.values[tokens.offsets[row] + column]]), device),
        positions=_put(np.concatenate([context_positions, context_lengths[owner[row]] + column]), device),
        n_context=n_context,
        head_start=head_start,
        context_rows=_put(context_rows, device),
        context_flat=_put(context_flat, device),
        completion_rows=_put(completion_rows, device),
        completion_flat=_put(row * span + column, device),
        key_rows=_put(np.concatenate([context_rows[owner], completion_rows], axis=1), device),
        mask=_mask(context_lengths[owner], width, span).to(device),
        source=_put(_source(tokens, read, owner, head_start, whole), device),
    )


def _put(array: np.ndarray, device: torch.device | str) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(device)


def _contexts(unique: list[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, places, ids and positions of the contexts; the last token of each goes to the end."""
    ids = Ragged.from_lists(unique, dtype=np.int64)
    column = np.arange(ids.total) - np.repeat(ids.offsets[:-1], ids.lengths)
    last = ids.offsets[1:] - 1
    order = np.concatenate([np.delete(np.arange(ids.total), last), last])
    place = np.empty(ids.total, np.int64)
    place[order] = np.arange(ids.total)
    rows = ids.with_values(place).to_padded(fill=0)
    padded_place = ids.row_ids() * rows.shape[1] + column
    return rows, padded_place[order], ids.values[order], column[order]


def _mask(context_lengths: np.ndarray, width: int, span: int) -> torch.Tensor:
    causal = np.triu(np.full((span, span), NEVER, np.float32), k=1)
    if (context_lengths == width).all():
        mask = np.concatenate([np.zeros((span, width), np.float32), causal], axis=1)[None, None]
    else:
        absent = np.where(np.arange(width) < context_lengths[:, None], 0, NEVER).astype(np.float32)
        mask = np.empty((len(context_lengths), 1, span, width + span), np.float32)
        mask[:, 0, :, :width] = absent[:, None, :]
        mask[:, 0, :, width:] = causal
    return torch.from_numpy(mask)


def _source(tokens: Ragged, read: Ragged, owner: np.ndarray, head_start: int, whole: bool) -> np.ndarray:
    if whole:
        return read.values - head_start
    source = np.empty(tokens.total, np.int64)
    first = np.zeros(tokens.total, bool)
    filled = tokens.lengths > 0
    first[tokens.offsets[:-1][filled]] = True
    source[first] = owner[filled]
    source[~first] = read.values - head_start
    return source
