"""Policy: what a torch engine must supply so that sampling, scoring and training can be shared.

A concrete engine says how token ids become hidden states, how those become logits, how to decode one
token at a time, and how its weights are named and stored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from guerdon.data.ragged import Ragged
from guerdon.engines.generation import Decoder
from guerdon.engines.protocol import Prompt
from guerdon.errors import EngineError

Contexts = Sequence[tuple[int, ...]]


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """CUDA where there is one, else the CPU; anything but "auto" is taken as asked.

    Raises:
        EngineError: CUDA was asked for and is not there.
    """
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise EngineError(f"device {device!r} is unknown to torch: use auto, cpu, cuda or cuda:0") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise EngineError(f"device {device!r}: torch sees no CUDA device here; use auto or cpu")
    return chosen


class Policy(ABC):
    """The abstract half of an engine.

    Attributes:
        device: where the weights are.
    """

    device: torch.device

    @abstractmethod
    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """Ids the completion continues from; never empty."""

    @abstractmethod
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """What training changes, by name."""

    @abstractmethod
    def states(
        self, contexts: Contexts, tokens: Ragged, whole: bool = False, layer: int | None = None
    ) -> torch.Tensor:
        """Hidden state (tokens, D) that predicts each token, or (`whole`) that has just read it."""

    @abstractmethod
    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Normalised hidden states (M, D) to logits (M, V)."""

    @abstractmethod
    def decoder(self, contexts: Contexts, steps: int) -> Decoder:
        """Decoder over one row per context, with room for `steps` more tokens."""

    @abstractmethod
    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of the weights under their transformers names."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over weights given under their transformers names."""

    @abstractmethod
    def clone(self, frozen: bool = True) -> Policy:
        """A copy that stays as this one is now: a reference policy or, not frozen, one to train apart."""

    @abstractmethod
    def save_model(self, folder: Path) -> None:
        """Write weights, configuration and tokenizer into an existing folder."""

    @abstractmethod
    def load_model(self, folder: Path) -> None:
        """Take over the weights of a folder written by `save_model`."""

    def precision(self) -> AbstractContextManager[Any]:
        """bf16 arithmetic over float32 weights on CUDA, float32 elsewhere."""
        if self.device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()
