"""Rollouts through a transformers body: each unique prompt once, its keys and values shared.

Enters: contexts and completions. Leaves: hidden states per token (training, scoring), or a decoder
(generation). Contexts are padded on the left and completions on the right, so that every row's real
tokens are contiguous and sliding windows measure true distances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from guerdon.data.ragged import Ragged
from guerdon.engines.hf_model import Head
from guerdon.engines.packing import put, unique_contexts
from guerdon.engines.policy import Contexts


def shared_states(
    body: Any,
    contexts: Contexts,
    tokens: Ragged,
    whole: bool,
    layer: int | None,
    pad: int,
    device: torch.device,
) -> torch.Tensor:
    """Hidden state (tokens, D) that predicts each token, or (`whole`) that has just read it.

    Gradients flow through the shared keys and values into the contexts.
    """
    unique, owner = unique_contexts(contexts)
    ids, present = _left_padded(unique, pad)
    first = _run(body, ids, present, None, layer, device, keep=True)
    lengths = tokens.lengths if whole else np.maximum(tokens.lengths - 1, 0)
    read, reading = _right_padded(tokens, lengths, pad)
    states = [_state(first, layer)[:, -1]]
    if lengths.any():
        first.past_key_values.reorder_cache(put(owner, device))
        seen = np.concatenate([present[owner], reading], axis=1)
        more = _run(body, read, seen, first.past_key_values, layer, device, keep=True)
        states.append(_state(more, layer).flatten(0, 1))
    at = len(unique) + np.arange(len(read))[:, None] * read.shape[1] + np.arange(read.shape[1])
    if not whole:
        at = np.concatenate([owner[:, None], at], axis=1)
    index = Ragged.from_padded(at[:, : int(tokens.lengths.max(initial=0))], tokens.lengths).values
    return torch.cat(states).index_select(0, put(index, device))


def full_states(
    body: Any,
    contexts: Contexts,
    tokens: Ragged,
    whole: bool,
    layer: int | None,
    pad: int,
    device: torch.device,
) -> torch.Tensor:
    """The same by whole sequences, for contexts that nothing shares or caches that cannot be shared."""
    lengths = tokens.lengths if whole else np.maximum(tokens.lengths - 1, 0)
    rows = [(*context, *tokens[i][: lengths[i]].tolist()) for i, context in enumerate(contexts)]
    sequence = Ragged.from_lists(rows, dtype=np.int64)
    ids = sequence.to_padded(fill=pad)
    present = np.arange(ids.shape[1]) < sequence.lengths[:, None]
    states = _state(_run(body, ids, present, None, layer, device, keep=False), layer).flatten(0, 1)
    start = np.array([len(c) for c in contexts]) - (0 if whole else 1)
    row = tokens.row_ids()
    column = start[row] + np.arange(tokens.total) - tokens.offsets[row]
    return states.index_select(0, put(row * ids.shape[1] + column, device))


def _run(
    body: Any,
    ids: np.ndarray,
    present: np.ndarray,
    past: Any,
    layer: int | None,
    device: torch.device,
    keep: bool,
) -> Any:
    """One forward of the body; positions count the tokens that are present."""
    positions = np.maximum(np.cumsum(present, axis=1) - 1, 0)[:, -ids.shape[1] :]
    return body(
        input_ids=put(ids, device),
        attention_mask=put(present, device),
        position_ids=put(positions, device),
        past_key_values=past,
        use_cache=keep,
        output_hidden_states=layer is not None,
    )


def _state(output: Any, layer: int | None) -> torch.Tensor:
    return output.last_hidden_state if layer is None else output.hidden_states[layer]


def _left_padded(contexts: Contexts, pad: int) -> tuple[np.ndarray, np.ndarray]:
    width = max(len(c) for c in contexts)
    ids = np.full((len(contexts), width), pad, np.int64)
    present = np.zeros_like(ids, dtype=bool)
    for row, context in enumerate(contexts):
        ids[row, width - len(context) :] = context
        present[row, width - len(context) :] = True
    return ids, present


def _right_padded(tokens: Ragged, lengths: np.ndarray, pad: int) -> tuple[np.ndarray, np.ndarray]:
    present = np.arange(int(lengths.max(initial=0))) < lengths[:, None]
    ids = tokens.to_padded(fill=pad).astype(np.int64)[:, : present.shape[1]]
    return np.where(present, ids, pad), present


class HFDecoder:
    """Keys and values of a transformers model for the rows of one batch."""

    def __init__(self, body: Any, head: Head, contexts: Contexts, pad: int, device: torch.device) -> None:
        self._body, self._head, self._pad, self._device = body, head, pad, device
        self._unique, self._owner = unique_contexts(contexts)
        self._past: Any = None
        self._seen: torch.Tensor
        self._position: torch.Tensor

    def prefill(self) -> torch.Tensor:
        """Logits after every row's context; each unique context is computed once."""
        ids, present = _left_padded(self._unique, self._pad)
        output = _run(self._body, ids, present, None, None, self._device, keep=True)
        owner = put(self._owner, self._device)
        self._past = output.past_key_values
        self._past.reorder_cache(owner)
        self._seen = put(present[self._owner], self._device)
        self._position = self._seen.sum(dim=1)
        return self._head(output.last_hidden_state[:, -1])[owner]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits after one more token per row."""
        self._seen = torch.cat([self._seen, torch.ones_like(self._seen[:, :1])], dim=1)
        output = self._body(
            input_ids=tokens[:, None],
            attention_mask=self._seen,
            position_ids=self._position[:, None],
            past_key_values=self._past,
            use_cache=True,
        )
        self._position = self._position + 1
        return self._head(output.last_hidden_state[:, -1])

    def worth_keeping(self, running: np.ndarray) -> np.ndarray:
        """Rows to keep where only `running` ones matter."""
        return np.flatnonzero(running)

    def keep(self, rows: np.ndarray) -> None:
        """Drop all rows but these."""
        index = put(rows, self._device)
        self._past.reorder_cache(index)
        self._seen, self._position = self._seen[index], self._position[index]
