"""The sampling loop all torch engines share: one forward per position, finished rows dropped on the way.

Enters: unique contexts, a decoder that holds their keys and values, a table of uniform numbers. Leaves:
token ids, log-probs and why each row ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from guerdon.data.ragged import Ragged
from guerdon.engines.packing import unique_contexts
from guerdon.engines.protocol import Sampling, Tokenizer
from guerdon.engines.sampler import StopStrings, choose

COMPACT_BELOW = 0.75
"""Rows are compacted when this share or less is kept: copying the cache costs about a step."""


class Decoder(Protocol):
    """Keys and values of some rows, advanced one token at a time."""

    def prefill(self) -> torch.Tensor:
        """Logits (A, V) after every row's context; each unique context is computed once."""
        ...

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (A, V) after one more token per row, int64 (A,)."""
        ...

    def worth_keeping(self, running: np.ndarray) -> np.ndarray:
        """Rows to keep where only `running` ones (bool) matter: all of those, perhaps a few others."""
        ...

    def keep(self, rows: np.ndarray) -> None:
        """Drop all rows but these, int64 indices into the current ones."""
        ...


@dataclass(frozen=True)
class Drawn:
    """New tokens of N rows.

    Attributes:
        tokens: int32 ragged, with the final eos where the policy chose it.
        logprobs: float32 ragged.
        entropy: float32 ragged or None.
        truncated: bool (N,), ended by a limit.
    """

    tokens: Ragged
    logprobs: Ragged
    entropy: Ragged | None
    truncated: np.ndarray


def decode(
    decoder: Decoder,
    uniforms: np.ndarray,
    limits: np.ndarray,
    sampling: Sampling,
    tokenizer: Tokenizer,
    stop_ids: Sequence[int],
    device: torch.device,
) -> Drawn:
    """Run the loop until every row has ended.

    Args:
        decoder: positioned before the contexts.
        uniforms: float64 (N, S), S the largest limit.
        limits: int64 (N,) most new tokens per row, at least 1.
        sampling: temperature and filters.
        tokenizer: its bytes are searched for stop strings.
        stop_ids: ids that end a row (eos).
    """
    n, steps = uniforms.shape
    record = _Record(n, steps, sampling.entropy)
    stops = StopStrings(sampling.stop, tokenizer, n)
    table = torch.from_numpy(uniforms.T.copy()).to(device)
    rows, slots = np.arange(n), torch.arange(n, device=device)
    running = np.ones(n, bool)
    logits = decoder.prefill()
    for position in range(steps):
        uniform = table[position] if len(rows) == n else table[position, slots]
        chosen, *scores = choose(logits, uniform, sampling)
        new = chosen.cpu().numpy()
        record.add(rows, position, new, scores)
        finished = np.isin(new, stop_ids) | stops.hit(rows, new)
        cut = ~finished & (limits[rows] == position + 1)
        record.end(rows[running & finished], position, truncated=False)
        record.end(rows[running & cut], position, truncated=True)
        running &= ~(finished | cut)
        alive = np.count_nonzero(running)
        if alive == 0:
            break
        if alive <= COMPACT_BELOW * len(rows):
            kept = decoder.worth_keeping(running)
            if len(kept) <= COMPACT_BELOW * len(rows):
                decoder.keep(kept)
                rows, running = rows[kept], running[kept]
                index = torch.from_numpy(kept).to(device)
                slots, chosen = slots[index], chosen[index]
        logits = decoder.step(chosen)
    return record.drawn()


class _Record:
    """What each row has produced so far; rows that have ended may still be written to, and are cut off."""

    def __init__(self, n: int, steps: int, entropy: bool) -> None:
        self._tokens = np.zeros((n, steps), np.int32)
        self._scores = np.zeros((2 if entropy else 1, n, steps), np.float32)
        self._lengths, self._truncated = np.zeros(n, np.int64), np.zeros(n, bool)

    def add(
        self, rows: np.ndarray, position: int, new: np.ndarray, scores: Sequence[torch.Tensor | None]
    ) -> None:
        self._tokens[rows, position] = new
        for column, score in zip(self._scores, scores, strict=False):
            column[rows, position] = score.cpu().numpy()  # type: ignore[union-attr]

    def end(self, rows: np.ndarray, position: int, truncated: bool) -> None:
        self._lengths[rows] = position + 1
        self._truncated[rows] = truncated

    def drawn(self) -> Drawn:
        columns = [Ragged.from_padded(x, self._lengths) for x in (self._tokens, *self._scores)]
        return Drawn(columns[0], columns[1], columns[2] if len(columns) > 2 else None, self._truncated)


def _cut(order: np.ndarray, owner: np.ndarray, size: int) -> list[np.ndarray]:
    """Runs of at most `size` rows that end where a context ends, unless one context alone is larger."""
    parts, start = [], 0
    while start < len(order):
        end = start + size
        if end < len(order):
            begins = np.flatnonzero(np.diff(owner[start : end + 1])) + 1
            end = start + int(begins[-1]) if len(begins) else end
        parts.append(order[start:end])
        start = end
    return parts


def decode_in_batches(
    make: Callable[[list[tuple[int, ...]], int], Decoder],
    contexts: Sequence[tuple[int, ...]],
    uniforms: np.ndarray,
    limits: np.ndarray,
    cache_tokens: int,
    sampling: Sampling,
    tokenizer: Tokenizer,
    stop_ids: Sequence[int],
    device: torch.device,
) -> Drawn:
    """`decode` in batches whose keys and values fit in memory; the batches do not change the samples.

    Args:
        make: (context of every row of the batch, most new tokens) -> decoder.
        contexts: ids every row continues from (N,).
        uniforms, limits, sampling, tokenizer, stop_ids: as in `decode`.
        cache_tokens: most rows * (context + new tokens) of a batch.
    """
    lengths = np.array([len(c) for c in contexts], dtype=np.int64)
    owner = unique_contexts(contexts)[1]
    order = np.lexsort((owner, lengths))  # rows of like length share a batch: little padding
    size = max(1, cache_tokens // int(lengths.max(initial=0) + limits.max(initial=1)))
    parts: list[Drawn] = []
    for rows in _cut(order, owner[order], size):
        steps = int(limits[rows].max())
        decoder = make([contexts[i] for i in rows], steps)
        table = uniforms[rows, :steps]
        parts.append(decode(decoder, table, limits[rows], sampling, tokenizer, stop_ids, device))
    if not parts:
        nothing = Ragged.from_lists([], dtype=np.float32)
        entropy = nothing if sampling.entropy else None
        return Drawn(nothing, nothing, entropy, np.zeros(0, dtype=bool))
    back = np.argsort(order)
    return Drawn(
        Ragged.concat([p.tokens for p in parts]).select(back),
        Ragged.concat([p.logprobs for p in parts]).select(back),
        Ragged.concat([p.entropy for p in parts if p.entropy]).select(back) if sampling.entropy else None,
        np.concatenate([p.truncated for p in parts])[back],
    )
