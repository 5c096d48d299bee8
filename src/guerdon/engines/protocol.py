"""What an engine is: the calls the trainer, rewards and search make, and the data they exchange.

Nothing here imports torch, so a recipe or a command can talk about sampling before a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from guerdon.errors import RecipeError

if TYPE_CHECKING:
    import torch

    from guerdon.data.ragged import Ragged
    from guerdon.data.rollouts import Rollouts

Prompt = str | Sequence[Mapping[str, Any]]
"""Text, or chat messages with `role` and `content`."""


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Attributes:
        max_new_tokens: limit per completion, in tokens (a given prefix does not count).
        temperature: logits are divided by it; 0 takes the most likely token.
        top_p: keep the smallest set of most likely tokens whose mass reaches this; 1 keeps all.
        top_k: keep the k most likely tokens; 0 keeps all.
        stop: strings that end a completion; the text keeps the stop string.
        seed: a completion depends on (seed, prompt, draw) only, not on the batch it was drawn in.
        entropy: also record the entropy of every next-token distribution, in nats.

    Raises:
        RecipeError: a value out of range; the field is named.
    """

    max_new_tokens: int = 64
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    seed: int = 0
    entropy: bool = False

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        checks = (
            ("max_new_tokens", self.max_new_tokens >= 1, "an integer >= 1"),
            ("temperature", 0 <= self.temperature < float("inf"), "a number >= 0"),
            ("top_p", 0 < self.top_p <= 1, "a number in (0, 1]"),
            ("top_k", self.top_k >= 0, "an integer >= 0"),
            ("stop", all(stop), "non-empty strings"),
        )
        for field, valid, expected in checks:
            if not valid:
                raise RecipeError(f"sampling.{field}: got {getattr(self, field)!r}, expected {expected}")

    @property
    def scoring_temperature(self) -> float:
        """Temperature under which recorded log-probs were taken (greedy decoding records those at 1)."""
        return self.temperature or 1.0


@dataclass
class TokenStats:
    """What a loss sees of the policy: flat torch tensors over the tokens of the rollouts, with gradients.

    Attributes:
        logprobs: log-prob of every token, float32 (total tokens,).
        entropy: entropy of the distribution each token was drawn from, nats, or None.
    """

    logprobs: torch.Tensor
    entropy: torch.Tensor | None = None


@dataclass
class PrefixStates:
    """What a head sees of the policy: its state after reading the prompt and 0, 1, ..., L tokens.

    Attributes:
        states: normalised hidden states, float32 (prefixes, D), L + 1 for a rollout of L tokens, row by row.
    """

    states: torch.Tensor


LossFn = Callable[[TokenStats, np.ndarray], "tuple[torch.Tensor, Mapping[str, float | torch.Tensor]]"]
"""(stats of some rollouts, their indices int64) -> (scalar loss, metrics)."""

StatesLossFn = Callable[[PrefixStates, np.ndarray], "tuple[torch.Tensor, Mapping[str, float | torch.Tensor]]"]
"""The same over hidden states."""


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token ids and back."""

    vocab_size: int
    eos: int
    pad: int
    bos: int | None

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens are dropped."""
        ...

    def token_bytes(self, ids: Sequence[int]) -> list[bytes]:
        """UTF-8 bytes of every id (b"" for special tokens): their concatenation is the text."""
        ...


@runtime_checkable
class Engine(Protocol):
    """A policy that samples, scores and (unless frozen) learns. See `TorchEngine` for the details."""

    tokenizer: Any
    device: Any
    context: int

    def generate(
        self,
        prompts: Sequence[Prompt],
        n: int = 1,
        sampling: Sampling = ...,
        prefix: Sequence[Sequence[int]] | None = None,
        group: Sequence[int] | None = None,
        draws: Sequence[int] | None = None,
    ) -> Rollouts: ...

    def logprobs(self, rollouts: Rollouts, temperature: float = 1.0) -> Ragged: ...

    def forward(self, rollouts: Rollouts, temperature: float = 1.0, entropy: bool = True) -> TokenStats: ...

    def train_step(
        self,
        rollouts: Rollouts,
        loss_fn: LossFn,
        micro_rollouts: int | None = None,
        max_grad_norm: float = 1.0,
        lr: float | None = None,
        temperature: float = 1.0,
        entropy: bool = True,
    ) -> dict[str, float]: ...

    def rollouts_from_text(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Rollouts: ...

    def hidden(self, rollouts: Rollouts, layer: int = -1) -> np.ndarray: ...

    def embed(self, texts: Sequence[str]) -> np.ndarray: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    def save(self, path: str | Path, optimizer: bool = False) -> None: ...

    def load(self, path: str | Path) -> None: ...

    def clone(self, frozen: bool = True) -> Engine: ...
