"""LabEngine: a small decoder of our own, trained from scratch, fast on two CPU cores and on one GPU."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from guerdon.data.ragged import Ragged
from guerdon.engines.export import config_from_llama, from_llama, to_llama, write_folder
from guerdon.engines.lab_decoder import LabDecoder
from guerdon.engines.lab_model import LabConfig, LabModel
from guerdon.engines.packing import pack
from guerdon.engines.policy import Contexts, pick_device
from guerdon.engines.protocol import Prompt
from guerdon.engines.tokenizer import ByteTokenizer
from guerdon.engines.torch_engine import TorchEngine
from guerdon.engines.weights import MODEL_FILE, check_shapes, read_tensors
from guerdon.errors import EngineError, RecipeError


class LabEngine(TorchEngine):
    """Policy engine over `LabModel`.

    Args:
        dim, layers, heads, hidden: shape of the model; default: LabConfig's, or what `init` holds.
        context: longest sequence; may differ from what `init` was trained with.
        init: folder whose weights to start from, saved by a lab engine (or of any Llama over the same
            tokenizer with tied embeddings and as many key heads as query heads).
        tokenizer: default ByteTokenizer.
        device: "auto", "cpu", "cuda" ...
        seed: of the initial weights.
        lr, betas, weight_decay: AdamW's.
        micro_tokens: padded tokens per micro-batch.
        cache_tokens: padded tokens generation holds at once; default: 256 MiB (8 GiB on CUDA) of them.

    Raises:
        RecipeError: a shape that is impossible or contradicts `init`.
        EngineError: `init` or the device does not exist.
    """

    tokenizer: Any
    context: int

    def __init__(
        self,
        dim: int | None = None,
        layers: int | None = None,
        heads: int | None = None,
        hidden: int | None = None,
        context: int | None = None,
        init: str | Path | None = None,
        tokenizer: Any = None,
        device: str | torch.device = "auto",
        seed: int = 0,
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        micro_tokens: int | None = None,
        cache_tokens: int | None = None,
    ) -> None:
        chosen = pick_device(device)
        on_gpu = chosen.type == "cuda"
        self.tokenizer = ByteTokenizer() if tokenizer is None else tokenizer
        shape = {"dim": dim, "layers": layers, "heads": heads, "hidden": hidden, "context": context}
        self.config = _config(self.tokenizer.vocab_size, shape, init)
        token_bytes = 8 * self.config.layers * self.config.dim
        super().__init__(
            chosen,
            lr,
            betas,
            weight_decay,
            micro_tokens or (1 << 16 if on_gpu else 1 << 12),
            cache_tokens or (1 << 33 if on_gpu else 1 << 28) // token_bytes,
        )
        self.stop_ids = (self.tokenizer.eos,)
        self.context, self.vocab_size = self.config.context, self.config.vocab_size
        self.width = self.config.dim
        self.model = LabModel(self.config, seed).to(chosen)
        if init is not None:
            self.load_model(Path(init))

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """bos and the prompt's ids; the contents of chat messages are joined by newlines."""
        text = prompt if isinstance(prompt, str) else "\n".join(str(m.get("content") or "") for m in prompt)
        lead = self.tokenizer.bos if self.tokenizer.bos is not None else self.tokenizer.eos
        return (lead, *self.tokenizer.encode(text))

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """All weights."""
        return dict(self.model.named_parameters())

    def states(
        self, contexts: Contexts, tokens: Ragged, whole: bool = False, layer: int | None = None
    ) -> torch.Tensor:
        """Hidden state (tokens, D) that predicts each token, or (`whole`) that has just read it."""
        packed = pack(contexts, tokens, self.device, whole)
        hidden = self.model(packed, self._depth(layer))
        return F.embedding(packed.source, hidden)

    def _depth(self, layer: int | None) -> int | None:
        depth = self.config.layers
        if layer is None or layer in (-1, depth):
            return None
        if not -depth - 1 <= layer < depth:
            raise EngineError(f"layer {layer} does not exist: this model has 0 (embeddings) to {depth}")
        return layer % (depth + 1)

    @property
    def blocks(self) -> Sequence[torch.nn.Module]:
        """The decoder's blocks, first to last."""
        return list(self.model.blocks)

    @contextmanager
    def shifted(self, layer: int, vector: torch.Tensor) -> Iterator[None]:
        """While it lasts, `vector` (D,) is added to what block `layer` (from 1) writes."""
        block = self.model.blocks[layer - 1]
        before = block.shift
        block.shift = vector if before is None else before + vector
        try:
            yield
        finally:
            block.shift = before

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Tied embeddings as the output head."""
        return F.linear(hidden, self.model.embedding)

    def decoder(self, contexts: Contexts, steps: int) -> LabDecoder:
        """Decoder over one row per context, with room for `steps` more tokens."""
        return LabDecoder(self, contexts, steps)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of the weights under their transformers names."""
        return to_llama(self.model.state_dict(), self.config)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over weights given under their transformers names.

        Raises:
            EngineError: a missing, unknown or differently shaped tensor.
        """
        given = {name: torch.as_tensor(value) for name, value in state.items()}
        check_shapes(given, to_llama(self.model.state_dict(), self.config), "the given state")
        with torch.no_grad():
            for name, value in from_llama(given, self.config).items():
                self.model.get_parameter(name).copy_(value)

    def save_model(self, folder: Path) -> None:
        """A folder that transformers' AutoModelForCausalLM and AutoTokenizer load."""
        write_folder(self.state_dict(), self.config, self.tokenizer, folder)

    def load_model(self, folder: Path) -> None:
        """Take over the weights of a folder written by `save`."""
        state = read_tensors(folder / MODEL_FILE)
        state.pop("lm_head.weight", None)
        self.load_state_dict(state)

    def clone(self, frozen: bool = True) -> LabEngine:
        """A copy that stays as this one is now: a reference policy or, not frozen, one to train apart."""
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model).requires_grad_(not frozen)
        other.frozen, other._optimizer = frozen, None
        return other


def _config(vocab_size: int, shape: Mapping[str, int | None], init: str | Path | None) -> LabConfig:
    """The given shape, completed by what `init` holds or by the defaults."""
    given = {name: value for name, value in shape.items() if value is not None}
    if init is None:
        return LabConfig(vocab_size=vocab_size, **given)
    try:
        held = config_from_llama(json.loads((Path(init) / "config.json").read_text()))
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(f"{init} holds no readable config.json of a lab model: {error!r}") from error
    wanted = replace(held, vocab_size=vocab_size, **given)
    for name in ("vocab_size", "dim", "layers", "heads", "hidden"):
        if getattr(wanted, name) != getattr(held, name):
            raise RecipeError(
                f"engine.{name}: {getattr(wanted, name)} was asked for, but {init} holds a model with "
                f"{getattr(held, name)}: leave the field out or start without init"
            )
    return wanted
