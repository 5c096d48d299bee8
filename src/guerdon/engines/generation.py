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
from guerdon.engines.protocol import Sampling, Tokenizer
from guerdon.engines.sampler import StopStrings, choose

COMPACT_BELOW = 0.75
"""Rows are compacted when this share or less is still running: copying the cache costs about a step."""


class Decoder(Protocol):
    """Keys and values of some rows, advanced one token at a time."""

    def prefill(self) -> torch.Tensor:
        """Logits (A, V) after every row's context; each unique context is computed once."""
        ...

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (A, V) after one more token per row, int64 (A,)."""
        ...

    def keep(self, slots: torch.Tensor) -> None:
        """Drop all rows but these, int64 indices into the current rows."""
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
    device: torch.device,
) -> Drawn:
    """Run the loop until every row has ended.

    Args:
        decoder: positioned before the contexts.
        uniforms: float64 (N, S), S the largest limit.
        limits: int64 (N,) most new tokens per row, at least 1.
        sampling: temperature and filters.
        tokenizer: its eos ends a row, its bytes are searched for stop strings.
    """
    n, steps = uniforms.shape
    tokens = np.zeros((n, steps), np.int32)
    records = np.zeros((2 if sampling.entropy else 1, n, steps), np.float32)
    lengths, truncated = np.zeros(n, np.int64), np.zeros(n, bool)
    stops = StopStrings(sampling.stop, tokenizer, n)
    table = torch.from_numpy(uniforms.T.copy()).to(device)
    rows, slots = np.arange(n), None
    running = np.ones(n, bool)
    logits = decoder.prefill()
    for position in range(steps):
        uniform = table[position] if slots is None else table[position, slots]
        chosen, *scores = choose(logits, uniform, sampling)
        new = chosen.cpu().numpy()
        tokens[rows, position] = new
        for record, score in zip(records, scores, strict=False):
            record[rows, position] = score.cpu().numpy()  # type: ignore[union-attr]
        finished = (new == tokenizer.eos) | stops.hit(rows, new)
        cut = ~finished & (limits[rows] == position + 1)
        ending = running & (finished | cut)
        lengths[rows[ending]] = position + 1
        truncated[rows[ending & cut]] = True
        running &= ~ending
        alive = np.count_nonzero(running)
        if alive == 0:
            break
        if alive <= COMPACT_BELOW * len(rows):
            kept = np.flatnonzero(running)
            rows, running = rows[kept], np.ones(len(kept), bool)
            index = torch.from_numpy(kept).to(device)
            slots = index if slots is None else slots[index]
            decoder.keep(index)
            chosen = chosen[index]
        logits = decoder.step(chosen)
    columns = [Ragged.from_padded(values, lengths) for values in (tokens, *records)]
    return Drawn(columns[0], columns[1], columns[2] if sampling.entropy else None, truncated)


def decode_in_batches(
    make: Callable[[list[tuple[int, ...]], int], Decoder],
    contexts: Sequence[tuple[int, ...]],
    uniforms: np.ndarray,
    limits: np.ndarray,
    cache_tokens: int,
    sampling: Sampling,
    tokenizer: Tokenizer,
    device: torch.device,
) -> Drawn:
    """`decode` in batches whose keys and values fit in memory; the batches do not change the samples.

    Args:
        make: (context of every row of the batch, most new tokens) -> decoder.
        contexts: ids every row continues from (N,).
        uniforms, limits: as in `decode`.
        cache_tokens: most rows * (context + new tokens) of a batch.
    """
    lengths = np.array([len(c) for c in contexts], dtype=np.int64)
    order = np.argsort(lengths, kind="stable")  # rows of like length share a batch: little padding
    size = max(1, cache_tokens // int(lengths.max(initial=0) + limits.max(initial=1)))
    parts: list[Drawn] = []
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        steps = int(limits[rows].max())
        decoder = make([contexts[i] for i in rows], steps)
        parts.append(
            decode(decoder, uniforms[rows, :steps], limits[rows], sampling, tokenizer, device)
        )
    if not parts:
        nothing = Ragged.from_lists([], dtype=np.float32)
        entropy = nothing if sampling.entropy else None
        return Drawn(nothing, nothing, entropy, np.zeros(0, dtype=bool))
    back = np.argsort(order)
    columns = [Ragged.concat([getattr(p, name) for p in parts]).select(back) for name in ("tokens", "logprobs")]
    entropy = None
    if sampling.entropy:
        entropy = Ragged.concat([p.entropy for p in parts if p.entropy is not None]).select(back)
    return Drawn(columns[0], columns[1], entropy, np.concatenate([p.truncated for p in parts])[back])
