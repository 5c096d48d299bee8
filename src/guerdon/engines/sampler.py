"""Next tokens from logits by inverse CDF, one given uniform number per row; and when to stop.

    token = min{ v : sum_{w <= v} p_w > u },   p = softmax(logits / temperature), filtered

The same function serves every engine, so equal logits and equal uniforms give equal samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from guerdon.engines.protocol import Sampling, Tokenizer


def choose(
    logits: torch.Tensor, uniform: torch.Tensor, sampling: Sampling
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Choose one token per row.

    Args:
        logits: (A, V), any float type.
        uniform: float64 (A,) in [0, 1); not read when decoding greedily.
        sampling: temperature, top_k, top_p, entropy.

    Returns:
        tokens int64 (A,); their log-probs float32 (A,) under the full distribution at
        `sampling.scoring_temperature`, i.e. before top-k and top-p, as scoring would give them; the
        entropy float32 (A,) of that distribution, or None.
    """
    logits = logits.float()
    if sampling.scoring_temperature != 1.0:
        logits = logits / sampling.scoring_temperature
    logprobs = torch.log_softmax(logits, dim=-1)
    if sampling.temperature == 0:
        tokens = logprobs.argmax(dim=-1)
    else:
        cumulative = _filtered(logprobs, sampling).cumsum(dim=-1, dtype=torch.float64)
        threshold = uniform.unsqueeze(1) * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, threshold, right=True).squeeze(1)
    chosen = logprobs.gather(1, tokens.unsqueeze(1)).squeeze(1)
    entropy = entropies(logprobs) if sampling.entropy else None
    return tokens, chosen, entropy


def entropies(logprobs: torch.Tensor) -> torch.Tensor:
    """-sum p log p over the last axis, nats. (A dot product would drop to bf16 under autocast.)"""
    return logprobs.exp().mul_(logprobs).sum(dim=-1).neg_()


def _filtered(logprobs: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Unnormalised probabilities (A, V) after top-k, then top-p."""
    probs = logprobs.exp()
    vocabulary = probs.shape[-1]
    if 0 < sampling.top_k < vocabulary:
        ranked = probs.topk(sampling.top_k, dim=-1)
        probs = torch.zeros_like(probs).scatter_(1, ranked.indices, ranked.values)
    if sampling.top_p < 1.0:
        ordered, index = probs.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(dim=-1, dtype=torch.float64) - ordered
        # the token that crosses the threshold stays, so at least one does
        ordered[before >= sampling.top_p * ordered.sum(dim=-1, keepdim=True)] = 0.0
        probs = torch.zeros_like(probs).scatter_(1, index, ordered)
    return probs


class StopStrings:
    """Recognises stop strings in what each row has produced, however tokens cut them.

    Only bytes produced by the policy count: a stop string in the prompt or a prefix does not end a row.
    """

    def __init__(self, stop: Sequence[str], tokenizer: Tokenizer, rows: int) -> None:
        self._stop = [text.encode() for text in stop]
        self._reach = max((len(text) for text in self._stop), default=1) - 1
        self._tails = [b""] * rows
        self._tokenizer = tokenizer

    def hit(self, rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Append one token to each of `rows`; bool: does a stop string now end there?"""
        if not self._stop:
            return np.zeros(len(rows), dtype=bool)
        found = np.zeros(len(rows), dtype=bool)
        pieces = self._tokenizer.token_bytes(tokens.tolist())
        for at, (row, piece) in enumerate(zip(rows.tolist(), pieces, strict=True)):
            tail = self._tails[row] + piece
            found[at] = any(text in tail for text in self._stop)
            self._tails[row] = tail[-self._reach :] if self._reach else b""
        return found
