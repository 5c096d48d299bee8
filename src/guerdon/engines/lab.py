"""LabEngine: a small decoder of our own, trained from scratch, fast on two CPU cores and on one GPU."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from guerdon.data.ragged import Ragged
from guerdon.engines.export import config_from_llama, from_llama, to_llama, write_folder
from guerdon.engines.lab_model import KeyValueCache, LabConfig, LabModel
from guerdon.engines.lab_attention import NEVER
from guerdon.engines.packing import Packed, pack, put, unique_contexts
from guerdon.engines.protocol import Prompt
from guerdon.engines.tokenizer import ByteTokenizer
from guerdon.engines.torch_engine import Contexts, TorchEngine, pick_device
from guerdon.engines.weights import MODEL_FILE, check_shapes, read_tensors
from guerdon.errors import EngineError


class LabEngine(TorchEngine):
    """Policy engine over `LabModel`.

    Args:
        dim, layers, heads, hidden, context: shape of the model; hidden 0 takes 3 * dim.
        init: folder of a saved lab engine (or of any byte-level Llama with tied embeddings and as many
            key heads as query heads); it decides the shape.
        tokenizer: default ByteTokenizer.
        device: "auto", "cpu", "cuda" ...
        seed: of the initial weights.
        lr, betas, weight_decay: AdamW's.
        micro_tokens: padded tokens per micro-batch; default: what fits the cache of a CPU core, or a GPU.
        cache_tokens: padded tokens generation holds at once.
    """

    tokenizer: Any
    context: int

    def __init__(
        self,
        dim: int = 128,
        layers: int = 4,
        heads: int = 4,
        hidden: int = 0,
        context: int = 512,
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
        super().__init__(
            chosen,
            lr,
            betas,
            weight_decay,
            micro_tokens or (1 << 16 if on_gpu else 1 << 12),
            cache_tokens or (1 << 20 if on_gpu else 1 << 16),
        )
        self.tokenizer = ByteTokenizer() if tokenizer is None else tokenizer
        shape = LabConfig(self.tokenizer.vocab_size, dim, layers, heads, hidden, context)
        self.config = shape if init is None else _read_config(Path(init))
        self.context, self.vocab_size = self.config.context, self.config.vocab_size
        self.model = LabModel(self.config, seed).to(chosen)
        if init is not None:
            self.load(init)

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

    def clone(self) -> LabEngine:
        """A frozen copy: a reference policy that stays as this one is now."""
        shape = {f.name: getattr(self.config, f.name) for f in fields(self.config) if f.name in _SHAPE}
        other = LabEngine(**shape, tokenizer=self.tokenizer, device=self.device)
        other.config = self.config
        other.model = LabModel(self.config).to(self.device)
        other.model.load_state_dict(self.model.state_dict())
        other.model.requires_grad_(False)
        other.frozen = True
        return other


_SHAPE = ("dim", "layers", "heads", "hidden", "context")


def _read_config(folder: Path) -> LabConfig:
    try:
        return config_from_llama(json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError) as error:
        raise EngineError(f"{folder} holds no readable config.json of a lab model: {error}") from error


class LabDecoder:
    """Keys and values of a lab model for the rows of one batch."""

    def __init__(self, engine: LabEngine, contexts: Contexts, steps: int) -> None:
        self._engine, self._steps = engine, steps
        self._unique, self._owner = unique_contexts(contexts)
        lengths = np.array([len(c) for c in contexts], dtype=np.int64)
        self._positions = torch.from_numpy(lengths).to(engine.device)
        self._cache: KeyValueCache

    def prefill(self) -> torch.Tensor:
        """Logits after every row's context; each unique context is computed once."""
        engine, heads = self._engine, self._engine.config.heads
        nothing = Ragged.from_lengths(np.empty(0, np.int32), np.zeros(len(self._unique), np.int64))
        packed = pack(self._unique, nothing, engine.device)
        kept: list[torch.Tensor] = []
        hidden = engine.model(packed, keep=kept)
        rows, mask = self._right_aligned(packed)
        owner = torch.from_numpy(self._owner).to(engine.device)
        width = rows.shape[1]
        shape = (len(kept), 2, len(owner), heads, width + self._steps, engine.model.head_dim)
        store = kept[0].new_empty(shape)
        for layer, tensor in enumerate(kept):
            unique = tensor[rows].unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4)
            store[layer, :, :, :, :width] = unique[:, owner]
        self._cache = KeyValueCache(store, None if mask is None else mask[owner].to(store.dtype), width)
        return engine.logits(hidden[-len(self._unique) :])[owner]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits after one more token per row."""
        hidden = self._engine.model.step(tokens, self._positions, self._cache)
        self._positions = self._positions + 1
        return self._engine.logits(hidden)

    def keep(self, slots: torch.Tensor) -> None:
        """Drop all rows but these."""
        self._cache.keep(slots)
        self._positions = self._positions[slots]

    def _right_aligned(self, packed: Packed) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Flat index (U, P) of the context tokens padded on the left, and the mask (U, 1, 1, P + steps).

        New tokens of all rows then share a column, which makes appending one slice assignment.
        """
        table = packed.contexts
        absent = (~table.present).sum(axis=1, keepdims=True)
        width = table.tokens.shape[1]
        column = np.arange(width) - absent
        rows = put(np.take_along_axis(table.tokens, column.clip(0), axis=1), packed.ids.device)
        if not absent.any():
            return rows, None
        mask = torch.zeros(len(column), 1, 1, width + self._steps)
        mask[:, 0, 0, :width].masked_fill_(torch.from_numpy(column < 0), NEVER)
        return rows, mask.to(packed.ids.device)
