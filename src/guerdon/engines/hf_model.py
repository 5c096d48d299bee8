"""Loading a transformers causal LM for training: precision, LoRA, its body and its head.

Enters: a name, folder or model. Leaves: the model, the body that gives normalised hidden states and a
head that turns those into the same logits the whole model would give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from guerdon.errors import EngineError, RecipeError

Head = Callable[[torch.Tensor], torch.Tensor]

_LORA_NAMES = {"alpha": "lora_alpha", "r": "r", "target_modules": "target_modules"}


def load_model(model: Any, device: torch.device, dtype: str, adapters_only: bool) -> Any:
    """A model by hub name or local folder, or the given one, on the device and in evaluation mode.

    Dropout stays off in training too, so that scoring and training see the same policy.

    Args:
        dtype: "float32", "bfloat16" or "auto": float32 where all weights are trained (AdamW needs them)
            and on the CPU; bfloat16 for a base whose adapters alone are trained on CUDA.
        adapters_only: whether only LoRA adapters are trained.

    Raises:
        EngineError: the model cannot be found or loaded.
    """
    if dtype not in ("auto", "float32", "bfloat16"):
        raise RecipeError(f"engine.dtype: got {dtype!r}, expected auto, float32 or bfloat16")
    if dtype == "auto":
        dtype = "bfloat16" if adapters_only and device.type == "cuda" else "float32"
    precision = getattr(torch, dtype)
    if not isinstance(model, str | Path):
        return model.to(device=device, dtype=precision).eval()
    import transformers

    try:
        loaded = transformers.AutoModelForCausalLM.from_pretrained(str(model), dtype=precision)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"the model {str(model)!r} cannot be loaded: {error}. Give a folder with config.json "
            f"and safetensors, or a hub name while online"
        ) from error
    return loaded.to(device).eval()


def load_tokenizer(model: Any, tokenizer: Any) -> Any:
    """The tokenizer given by name or folder or as an object; default: the one beside the model."""
    source = tokenizer if tokenizer is not None else model
    if not isinstance(source, str | Path):
        if tokenizer is None:
            raise EngineError("a model given as an object needs tokenizer=... beside it")
        return source
    import transformers

    try:
        return transformers.AutoTokenizer.from_pretrained(str(source))
    except (OSError, ValueError) as error:
        raise EngineError(f"no tokenizer at {str(source)!r}: {error}; pass tokenizer=...") from error


def add_lora(model: Any, lora: Mapping[str, Any], seed: int) -> Any:
    """Freeze the model and add trainable low-rank adapters, drawn from `seed`.

    Args:
        lora: r (default 16), alpha (default 2 r), target_modules (default all linear layers), and
            whatever else peft.LoraConfig takes.

    Raises:
        EngineError: peft is not installed. RecipeError: peft refuses a setting.

    Reference: Hu et al., LoRA, arXiv 2106.09685.
    """
    try:
        import peft
    except ImportError as error:
        raise EngineError("lora needs peft: pip install 'guerdon[hf]'") from error
    settings = {_LORA_NAMES.get(name, name): value for name, value in lora.items()}
    settings.setdefault("r", 16)
    settings.setdefault("lora_alpha", 2 * settings["r"])
    settings.setdefault("target_modules", "all-linear")
    if settings.get("lora_dropout"):
        raise RecipeError("engine.lora.lora_dropout: dropout is off in this engine; leave it out")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
        except (TypeError, ValueError) as error:
            raise RecipeError(f"engine.lora: {error}") from error


def body_and_head(model: Any) -> tuple[Any, Head]:
    """The decoder below the head, and a function from its output to the model's logits.

    Some families scale or cap their logits; the right rule is found by comparing with the whole model.

    Raises:
        EngineError: no known rule reproduces the model's logits.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    body, projection = causal.base_model, causal.get_output_embeddings()
    config = causal.config.get_text_config()
    probe = torch.arange(3, device=causal.device)[None] % config.vocab_size
    with torch.no_grad():
        hidden = body(input_ids=probe, use_cache=False).last_hidden_state
        expected = causal(input_ids=probe, use_cache=False).logits
        for head in _heads(projection, config):
            logits = head(hidden)
            if logits.shape == expected.shape and torch.allclose(logits, expected, rtol=1e-3, atol=1e-3):
                return body, head
    raise EngineError(
        f"{type(causal).__name__} computes its logits in a way this engine does not know (neither plain, "
        f"scaled nor soft-capped)"
    )


def _heads(projection: Any, config: Any) -> list[Head]:
    heads: list[Head] = [projection]
    cap = getattr(config, "final_logit_softcapping", None)
    if cap:
        heads.append(lambda hidden: torch.tanh(projection(hidden) / cap) * cap)
    for name, power in (("logit_scale", 1), ("logits_scaling", -1), ("logits_scaling", 1)):
        scale = getattr(config, name, None)
        if scale:
            heads.append(_scaled(projection, float(scale) ** power))
    return heads


def _scaled(projection: Any, factor: float) -> Head:
    return lambda hidden: projection(hidden) * factor


def all_attention(config: Any) -> bool:
    """Whether every layer attends; a recurrent state cannot be continued from padded rows."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return kinds <= {"full_attention", "sliding_attention", "chunked_attention"}


def cache_bytes_per_token(config: Any, element_size: int) -> int:
    """Keys and values of one token over all layers, in bytes."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * width * element_size)
