"""HFEngine: any transformers causal language model as a policy, trained in full or through LoRA."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from guerdon.data.ragged import Ragged
from guerdon.engines.hf_forward import HFDecoder, full_states, shared_states
from guerdon.engines.hf_model import (
    add_lora,
    all_attention,
    body_and_head,
    cache_bytes_per_token,
    load_model,
    load_tokenizer,
)
from guerdon.engines.hf_tokenizer import HFTokenizer
from guerdon.engines.packing import unique_contexts
from guerdon.engines.policy import Contexts, pick_device
from guerdon.engines.protocol import Prompt, Tokenizer
from guerdon.engines.torch_engine import TorchEngine
from guerdon.engines.weights import check_shapes, read_tensors
from guerdon.errors import EngineError

_REMEMBERED_PROMPTS = 1 << 16


class HFEngine(TorchEngine):
    """Policy engine over a transformers model.

    Args:
        model: hub name, local folder or a model object (which is then trained in place).
        tokenizer: hub name, folder, transformers tokenizer or guerdon Tokenizer; default: the model's.
        lora: settings of LoRA adapters ({r, alpha, target_modules, ...}); None trains all weights.
        init: folder saved by this engine whose weights (or adapters) to start from.
        device: "auto", "cpu", "cuda" ...
        dtype: of the weights, "auto", "float32" or "bfloat16"; arithmetic on CUDA is bf16 in any case.
        context: longest sequence; default: the model's.
        seed: of the initial adapters.
        lr, betas, weight_decay: AdamW's.
        shared_prefix: compute each unique prompt once in training and scoring; default: where the
            model's layers are all attention (a recurrent state cannot be continued from padded rows).
        micro_tokens: padded tokens per micro-batch.
        cache_tokens: padded tokens generation holds at once; default: what fits the memory.

    Raises:
        EngineError: model or tokenizer cannot be loaded, they do not fit each other, or the model's head
            is of an unknown kind.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        lora: Mapping[str, Any] | None = None,
        init: str | Path | None = None,
        device: str | torch.device = "auto",
        dtype: str = "auto",
        context: int | None = None,
        seed: int = 0,
        lr: float = 1e-5,
        betas: Sequence[float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        shared_prefix: bool | None = None,
        micro_tokens: int | None = None,
        cache_tokens: int | None = None,
    ) -> None:
        chosen = pick_device(device)
        on_gpu = chosen.type == "cuda"
        found = load_tokenizer(model, tokenizer)
        self.tokenizer = found if isinstance(found, Tokenizer) else HFTokenizer(found)
        self.model = load_model(model, chosen, dtype, adapters_only=lora is not None)
        config = self.model.config.get_text_config()
        self.lora = lora is not None
        if lora is not None:
            self.model = add_lora(self.model, lora, seed)
        self._trained = frozenset(name for name, p in self.model.named_parameters() if p.requires_grad)
        self._body, self._head = body_and_head(self.model)
        self.context = context or int(getattr(config, "max_position_embeddings", 0) or 2048)
        self.vocab_size, self.width = int(config.vocab_size), int(config.hidden_size)
        if self.tokenizer.vocab_size > self.vocab_size:
            raise EngineError(f"{self.tokenizer.vocab_size} tokenizer ids, but {self.vocab_size} embeddings")
        self.shared_prefix = all_attention(config) if shared_prefix is None else shared_prefix
        super().__init__(
            chosen,
            lr,
            betas,
            weight_decay,
            micro_tokens or (1 << 14 if on_gpu else 1 << 12),
            cache_tokens or _cache_tokens(config, chosen),
        )
        self.stop_ids = _stop_ids(self.model, self.tokenizer.eos)
        self._remembered: dict[str, tuple[int, ...]] = {}
        if init is not None:
            self.load_model(Path(init))

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """Ids of a text or of chat messages (by the tokenizer's chat template); bos or eos if empty."""
        key = prompt if isinstance(prompt, str) else repr(prompt)
        known = self._remembered.get(key)
        if known is None:
            ids = self._encode_prompt(prompt)
            lead = self.tokenizer.bos if self.tokenizer.bos is not None else self.tokenizer.eos
            known = tuple(ids) or (lead,)
            if len(self._remembered) >= _REMEMBERED_PROMPTS:
                self._remembered.clear()
            self._remembered[key] = known
        return known

    def _encode_prompt(self, prompt: Prompt) -> list[int]:
        if isinstance(self.tokenizer, HFTokenizer):
            return self.tokenizer.encode_prompt(prompt)
        if not isinstance(prompt, str):
            raise EngineError("chat messages need a transformers tokenizer with a chat template: give text")
        lead = [] if self.tokenizer.bos is None else [self.tokenizer.bos]
        return [*lead, *self.tokenizer.encode(prompt)]

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """All weights, or the adapters' where LoRA is on."""
        return {name: p for name, p in self.model.named_parameters() if name in self._trained}

    def states(
        self, contexts: Contexts, tokens: Ragged, whole: bool = False, layer: int | None = None
    ) -> torch.Tensor:
        """Hidden state (tokens, D) that predicts each token, or (`whole`) that has just read it."""
        shared = self.shared_prefix and len(unique_contexts(contexts)[0]) < len(contexts)
        run = shared_states if shared else full_states
        if layer is not None:
            depth = int(self.model.config.get_text_config().num_hidden_layers)
            if not -depth - 1 <= layer <= depth:
                raise EngineError(f"layer {layer} does not exist: this model has 0 (embeddings) to {depth}")
        return run(self._body, contexts, tokens, whole, layer, self.tokenizer.pad, self.device)

    @property
    def blocks(self) -> Sequence[torch.nn.Module]:
        """The decoder's blocks, first to last.

        Raises:
            EngineError: the body holds no one list of as many modules as the model has layers.
        """
        depth = int(self.model.config.get_text_config().num_hidden_layers)
        lists = [m for m in self._body.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == depth]
        if len(lists) != 1:
            raise EngineError(f"the blocks of {type(self._body).__name__} were not found")
        return list(lists[0])

    @contextmanager
    def shifted(self, layer: int, vector: torch.Tensor) -> Iterator[None]:
        """While it lasts, `vector` (D,) is added to what block `layer` (from 1) writes."""

        def add(_module: Any, _inputs: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (output[0] + vector.to(output[0].dtype), *output[1:])
            return output + vector.to(output.dtype)

        handle = self.blocks[layer - 1].register_forward_hook(add, prepend=True)
        try:
            yield
        finally:
            handle.remove()

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """The model's own output head."""
        return self._head(hidden)

    def decoder(self, contexts: Contexts, steps: int) -> HFDecoder:
        """Decoder over one row per context; its cache grows as needed."""
        return HFDecoder(self._body, self._head, contexts, self.tokenizer.pad, self.device)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of what training changes: all weights, or the adapters'."""
        return {name: parameter.detach().clone() for name, parameter in self.parameters().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            EngineError: a missing, unknown or differently shaped tensor.
        """
        own = self.parameters()
        check_shapes(state, own, "the given state")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(torch.as_tensor(state[name]))

    def save_model(self, folder: Path) -> None:
        """Model (or adapters) and tokenizer as transformers and peft write them."""
        self.model.save_pretrained(folder)
        if isinstance(self.tokenizer, HFTokenizer):
            self.tokenizer.inner.save_pretrained(folder)

    def load_model(self, folder: Path) -> None:
        """Take over the weights or adapters of a folder written by `save`."""
        if self.lora:
            import peft

            adapters = read_tensors(folder / "adapter_model.safetensors")
            expected = peft.get_peft_model_state_dict(self.model)
            check_shapes(adapters, expected, str(folder))
            peft.set_peft_model_state_dict(self.model, adapters)
            return
        if not (folder / "config.json").is_file():
            raise EngineError(f"there is no model at {folder}: expected a folder written by save()")
        other = load_model(folder, torch.device("cpu"), "float32", adapters_only=False)
        self.load_state_dict(dict(other.named_parameters()))

    def clone(self, frozen: bool = True) -> HFEngine:
        """A copy that stays as this one is now, a reference policy or, not frozen, one to train apart.

        Weights that training never changes (under LoRA) are shared, not copied.
        """
        other = copy.copy(self)
        fixed = {id(p): p for name, p in self.model.named_parameters() if name not in self._trained}
        other.model = copy.deepcopy(self.model, fixed)
        for name, parameter in other.model.named_parameters():
            if name in self._trained:
                parameter.requires_grad_(not frozen)
        other._body, other._head = body_and_head(other.model)
        other.frozen, other._optimizer = frozen, None
        return other


def _stop_ids(model: Any, eos: int) -> tuple[int, ...]:
    """eos of the tokenizer and whatever else the model's generation settings end on."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    extra = configured if isinstance(configured, list) else [] if configured is None else [configured]
    return tuple(dict.fromkeys([eos, *extra]))


def _cache_tokens(config: Any, device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return max(1, int(0.4 * free) // cache_bytes_per_token(config, 2))
    return max(1, (2 << 30) // cache_bytes_per_token(config, 4))
