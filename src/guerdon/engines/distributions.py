"""What a whole next-token distribution says, token by token, without holding tokens x vocabulary logits.

Enters: an engine, contexts and token ids. Leaves: one number per token and statistic. Logits live for one
chunk of tokens; of each chunk only the statistics are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from guerdon.data.ragged import Ragged
from guerdon.engines.drawing import check_room
from guerdon.engines.packing import unique_contexts
from guerdon.engines.policy import Contexts
from guerdon.errors import RecipeError

if TYPE_CHECKING:
    from guerdon.engines.torch_engine import TorchEngine

CHUNK_BYTES = {"cpu": 1 << 25, "cuda": 1 << 28}
"""Log-probs of one chunk, by kind of device: it has as many tokens as fit, whatever the vocabulary. Two such
blocks live at once, the logits and their log-probs, or these and what an entropy is summed from."""

STATISTICS = ("logprob", "entropy", "kl_to_uniform", "kl_from_uniform", "rank")


def distribution_stats(
    hidden: torch.Tensor,
    head: Callable[[torch.Tensor], torch.Tensor],
    targets: torch.Tensor,
    vocab_size: int,
    statistics: Sequence[str] = STATISTICS,
    chunk: int | None = None,
) -> dict[str, torch.Tensor]:
    """Statistics of p = softmax(head(hidden)) over V entries, float32 (tokens,) each:

        logprob          log p[target]
        entropy          H = -sum_v p_v log p_v
        kl_to_uniform    KL(p || U) = log V - H
        kl_from_uniform  KL(U || p) = -log V - 1/V sum_v log p_v, the self-certainty
        rank             number of entries more likely than the target, 0 for the first

    Args:
        hidden: (tokens, D). targets: int64 (tokens,).
        chunk: tokens whose logits are held at once; default: as many as `CHUNK_BYTES` hold.

    Raises:
        RecipeError: an unknown statistic.
    """
    unknown = set(statistics) - set(STATISTICS)
    if unknown:
        raise RecipeError(f"statistics: unknown {sorted(unknown)[0]!r} (valid: {', '.join(STATISTICS)})")
    size = chunk or chunk_tokens(vocab_size, hidden.device.type)
    out = {name: torch.empty(len(hidden), device=hidden.device) for name in statistics}
    for start in range(0, len(hidden), size):
        end = min(start + size, len(hidden))
        logprobs = torch.log_softmax(head(hidden[start:end]), dim=-1, dtype=torch.float32)
        for name, values in _of_chunk(logprobs, targets[start:end], statistics).items():
            out[name][start:end] = values
    return out


def chunk_tokens(vocab_size: int, device: str = "cpu") -> int:
    """Tokens of a chunk: as many rows of float32 log-probs as `CHUNK_BYTES` hold, at least 1."""
    return max(1, CHUNK_BYTES.get(device, CHUNK_BYTES["cpu"]) // (4 * vocab_size))


def _of_chunk(
    logprobs: torch.Tensor, targets: torch.Tensor, wanted: Sequence[str]
) -> dict[str, torch.Tensor]:
    log_v = math.log(logprobs.shape[1])
    chosen = logprobs.gather(1, targets.unsqueeze(1))
    out: dict[str, torch.Tensor] = {}
    if "logprob" in wanted:
        out["logprob"] = chosen.squeeze(1)
    if "rank" in wanted:
        out["rank"] = (logprobs > chosen).sum(dim=1).float()
    if "kl_from_uniform" in wanted:
        out["kl_from_uniform"] = -log_v - logprobs.mean(dim=1)
    if "entropy" in wanted or "kl_to_uniform" in wanted:
        entropy = torch.special.entr(logprobs.exp_()).sum(dim=1)
        out |= {"entropy": entropy, "kl_to_uniform": log_v - entropy}
    return {name: out[name] for name in wanted}


def forced(
    engine: TorchEngine,
    contexts: Contexts,
    tokens: Ragged,
    statistics: Sequence[str] = ("logprob",),
    names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Statistics of given tokens behind given contexts, float32 (total tokens,) each, without gradients.

    Equal contexts are read once per micro-batch, whatever follows them.

    Args:
        contexts: ids of every row, none empty. tokens: ids of every row.
        names: what to call the contexts in messages.

    Raises:
        EngineError: a row longer than the context of the engine.
    """
    check_room(contexts, names or [f"row {i}" for i in range(len(contexts))], engine.context, tokens.lengths)
    out = {name: np.empty(tokens.total, np.float32) for name in statistics}
    if tokens.total == 0:
        return out
    with torch.no_grad(), engine.precision():
        for rows in engine._batches(contexts, tokens):
            part = tokens.select(rows)
            if part.total == 0:
                continue
            targets = torch.from_numpy(part.values.astype(np.int64)).to(engine.device)
            states = engine.states([contexts[i] for i in rows], part)
            found = distribution_stats(states, engine.logits, targets, engine.vocab_size, statistics)
            at = tokens.positions(rows)
            for name, values in found.items():
                out[name][at] = values.cpu().numpy()
    return out


def forwarded(engine: TorchEngine, contexts: Contexts, tokens: Ragged) -> tuple[int, int]:
    """Token-forwards `forced` takes, and those of one pass per row: (shared, apart)."""
    read = np.maximum(tokens.lengths - 1, 0)
    shared = int(read.sum())
    for rows in engine._batches(contexts, tokens):
        shared += sum(len(c) for c in unique_contexts([contexts[i] for i in rows])[0])
    return shared, int(read.sum()) + sum(len(c) for c in contexts)
