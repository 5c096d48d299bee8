"""Rollouts packed flat for a forward pass: every unique prompt once, no padding in the dense layers.

Enters: prompt ids and completion ids of some rollouts. Leaves: one flat token sequence

    [prompts without their last token | last tokens of the prompts | completions]

with the tables by which attention sees it as padded rows. Everything from the last prompt tokens on
predicts something; completions of one prompt stand in groups that share the prompt's keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from guerdon.data.ragged import Ragged


def unique_contexts(contexts: Sequence[tuple[int, ...]]) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Distinct contexts in order of appearance, and the index int64 (N,) of every row's context."""
    numbered: dict[tuple[int, ...], int] = {}
    index = np.fromiter((numbered.setdefault(c, len(numbered)) for c in contexts), np.int64, len(contexts))
    return list(numbered), index


@dataclass(frozen=True)
class Padded:
    """How flat tokens stand in padded rows.

    Attributes:
        tokens: int64 (..., T) flat index of every place, 0 where padded.
        present: bool, same shape.
        place: int64 (flat tokens, axes of `tokens`): coordinates of each flat token.
    """

    tokens: np.ndarray
    present: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class Packed:
    """One packed batch: U contexts of width P, V groups of G completions of width T.

    Attributes:
        ids, positions: int64 (flat tokens,): what to embed, and where it stands in its sequence.
        contexts: (U, P). completions: (V, G, T), or None where no completion token is read.
        group_context: int64 (V,), the context of each group.
        source: int64 (tokens,): flat index of the token that predicts each token of the rollouts or,
            in a batch packed `whole`, of the token itself.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    contexts: Padded
    completions: Padded | None
    group_context: np.ndarray
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
        whole: also read the last token of every completion, which predicts nothing that is asked for.
    """
    unique, owner = unique_contexts(contexts)
    context_ids, context_positions, context_table = _contexts(unique)
    n_context = len(context_ids)
    lengths = tokens.lengths if whole else np.maximum(tokens.lengths - 1, 0)
    read = Ragged.from_lengths(np.arange(n_context, n_context + int(lengths.sum())), lengths)
    row = read.row_ids()
    column = np.arange(read.total) - read.offsets[row]
    start = np.array([len(c) for c in unique], dtype=np.int64)[owner]
    group_context, completions = _completions(read, owner, row, column)
    first_head = n_context - len(unique)
    return Packed(
        ids=put(np.concatenate([context_ids, tokens.values[tokens.offsets[row] + column]]), device),
        positions=put(np.concatenate([context_positions, start[row] + column]), device),
        contexts=context_table,
        completions=completions,
        group_context=group_context,
        source=put(read.values if whole else _predictors(tokens, read, owner + first_head), device),
    )


def put(array: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """An index array on a device."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(device)


def _contexts(unique: list[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray, Padded]:
    """Ids, positions and table of the contexts; the last token of each goes to the end."""
    ids = Ragged.from_lists(unique, dtype=np.int64)
    row = ids.row_ids()
    column = np.arange(ids.total) - ids.offsets[row]
    last = ids.offsets[1:] - 1
    order = np.concatenate([np.delete(np.arange(ids.total), last), last])
    flat = np.empty(ids.total, np.int64)
    flat[order] = np.arange(ids.total)
    table = ids.with_values(flat).to_padded(fill=0)
    present = np.arange(table.shape[1]) < ids.lengths[:, None]
    place = np.stack([row, column], axis=1)[order]
    return ids.values[order], column[order], Padded(table, present, place)


def _completions(
    read: Ragged, owner: np.ndarray, row: np.ndarray, column: np.ndarray
) -> tuple[np.ndarray, Padded | None]:
    """Groups of at most the average number of completions per context, so that few places stay empty."""
    if read.total == 0:
        return np.empty(0, np.int64), None
    counts = np.bincount(owner)
    size = -(-len(owner) // len(counts))
    order = np.argsort(owner, kind="stable")
    rank = np.empty(len(owner), np.int64)
    rank[order] = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    groups = -(-counts // size)
    group = (np.cumsum(groups) - groups)[owner] + rank // size
    member = rank % size
    shape = (int(groups.sum()), size, int(read.lengths.max()))
    place = np.stack([group[row], member[row], column], axis=1)
    tokens, present = np.zeros(shape, np.int64), np.zeros(shape, bool)
    tokens[tuple(place.T)] = read.values
    present[tuple(place.T)] = True
    return np.repeat(np.arange(len(counts)), groups), Padded(tokens, present, place)


def _predictors(tokens: Ragged, read: Ragged, last_of_context: np.ndarray) -> np.ndarray:
    """The token before each: the context's last one for a first token, else the completion's."""
    out = np.empty(tokens.total, np.int64)
    first = np.zeros(tokens.total, bool)
    filled = tokens.lengths > 0
    first[tokens.offsets[:-1][filled]] = True
    out[first] = last_of_context[filled]
    out[~first] = read.values
    return out
