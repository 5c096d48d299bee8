"""Log-probs and entropies of given tokens from hidden states, without holding what can be recomputed.

A vocabulary of 150 000 makes the logits the largest tensor of a training step: they are taken in chunks
of tokens and, where there is more than one chunk, recomputed in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from guerdon.engines.protocol import TokenStats
from guerdon.engines.sampler import entropies

CHUNK_LOGITS = {"cpu": 1 << 25, "cuda": 1 << 28}
"""Logits held at once, by kind of device (128 MiB and 1 GiB in float32)."""


class TokenLogprobs(torch.autograd.Function):
    """log p[target] and the entropy H of p = softmax(logits), both with one fused backward.

        dlogits = g (1[target] - p) - h p (log p + H)

    for incoming gradients g of log p[target] and h of H.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, targets: torch.Tensor, entropy: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        ctx.set_materialize_grads(False)
        logprobs = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
        chosen = logprobs.gather(1, targets.unsqueeze(1)).squeeze(1)
        spread = entropies(logprobs) if entropy else None
        ctx.save_for_backward(logprobs, targets, spread)
        ctx.dtype = logits.dtype
        return chosen, spread

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: torch.Tensor | None, grad_entropy: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, None, None]:
        logprobs, targets, spread = ctx.saved_tensors
        if grad is None:
            if grad_entropy is None:
                return None, None, None
            grad = torch.zeros_like(grad_entropy)
        weight = grad.unsqueeze(1)
        if grad_entropy is not None:
            weight = (logprobs + spread.unsqueeze(1)).mul_(grad_entropy.unsqueeze(1)).add_(weight)
        out = logprobs.exp().mul_(weight).neg_().scatter_add_(1, targets.unsqueeze(1), grad.unsqueeze(1))
        return out.to(ctx.dtype), None, None


def token_stats(
    hidden: torch.Tensor,
    head: Callable[[torch.Tensor], torch.Tensor],
    targets: torch.Tensor,
    vocab_size: int,
    temperature: float = 1.0,
    entropy: bool = True,
) -> TokenStats:
    """Log-prob (and entropy) of each target under head(hidden) / temperature.

    Args:
        hidden: (tokens, D), the state that predicts each target.
        head: hidden states to logits (tokens, V).
        targets: int64 (tokens,).
        vocab_size: V, which decides the size of a chunk.
    """

    def chunk_stats(part: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        logits = head(part)
        if temperature != 1.0:
            logits = logits / temperature
        return TokenLogprobs.apply(logits, wanted, entropy)

    size = max(1, CHUNK_LOGITS.get(hidden.device.type, 1 << 25) // vocab_size)
    if len(hidden) <= size:
        return TokenStats(*chunk_stats(hidden, targets))
    parts = [
        checkpoint(chunk_stats, *pair, use_reentrant=False, preserve_rng_state=False)
        if torch.is_grad_enabled()
        else chunk_stats(*pair)
        for pair in zip(hidden.split(size), targets.split(size), strict=True)
    ]
    logprobs, spread = zip(*parts, strict=True)
    return TokenStats(torch.cat(logprobs), torch.cat(spread) if entropy else None)
