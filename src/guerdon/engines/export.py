"""Lab weights as a transformers checkpoint and back: LlamaForCausalLM with a byte-level tokenizer.

Enters: lab weights and configuration. Leaves: a folder with config.json, model.safetensors and the
tokenizer's files, from which AutoModelForCausalLM and AutoTokenizer give the same scores and ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from guerdon.engines.hf_tokenizer import byte_characters
from guerdon.engines.lab_model import LabConfig
from guerdon.engines.tokenizer import ByteTokenizer
from guerdon.engines.weights import MODEL_FILE, write_tensors
from guerdon.errors import EngineError

if TYPE_CHECKING:
    from guerdon.engines.lab import LabEngine

_SPECIALS = ("<pad>", "<bos>", "<eos>")


def export_checkpoint(engine: LabEngine, path: str | Path) -> Path:
    """Write a folder that transformers loads and scores identically (float32, within 1e-4).

    Returns:
        the folder.
    """
    engine.save(path)
    return Path(path)


def to_llama(state: Mapping[str, torch.Tensor], config: LabConfig) -> dict[str, torch.Tensor]:
    """Copies of lab weights under Llama's names; fused projections are split, RoPE rows reordered."""
    out = {
        "model.embed_tokens.weight": state["embedding"].clone(),
        "model.norm.weight": state["final_norm"].clone(),
    }
    for layer in range(config.layers):
        source, target = f"blocks.{layer}.", f"model.layers.{layer}."
        query, key, value = state[source + "qkv"].chunk(3)
        gate, up = state[source + "gate_up"].chunk(2)
        out |= {
            target + "input_layernorm.weight": state[source + "attention_norm"].clone(),
            target + "self_attn.q_proj.weight": _half_rotation(query, config.heads),
            target + "self_attn.k_proj.weight": _half_rotation(key, config.heads),
            target + "self_attn.v_proj.weight": value.clone(),
            target + "self_attn.o_proj.weight": state[source + "out"].clone(),
            target + "post_attention_layernorm.weight": state[source + "mlp_norm"].clone(),
            target + "mlp.gate_proj.weight": gate.clone(),
            target + "mlp.up_proj.weight": up.clone(),
            target + "mlp.down_proj.weight": state[source + "down"].clone(),
        }
    return out


def from_llama(state: Mapping[str, torch.Tensor], config: LabConfig) -> dict[str, torch.Tensor]:
    """The inverse of `to_llama`."""
    out = {"embedding": state["model.embed_tokens.weight"], "final_norm": state["model.norm.weight"]}
    for layer in range(config.layers):
        source, target = f"model.layers.{layer}.", f"blocks.{layer}."
        query = _pairs(state[source + "self_attn.q_proj.weight"], config.heads)
        key = _pairs(state[source + "self_attn.k_proj.weight"], config.heads)
        out |= {
            target + "attention_norm": state[source + "input_layernorm.weight"],
            target + "qkv": torch.cat([query, key, state[source + "self_attn.v_proj.weight"]]),
            target + "out": state[source + "self_attn.o_proj.weight"],
            target + "mlp_norm": state[source + "post_attention_layernorm.weight"],
            target + "gate_up": torch.cat(
                [state[source + "mlp.gate_proj.weight"], state[source + "mlp.up_proj.weight"]]
            ),
            target + "down": state[source + "mlp.down_proj.weight"],
        }
    return out


def _half_rotation(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head from pairs (2i, 2i+1) to halves (i, i + width/2)."""
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).reshape(weight.shape).contiguous()


def _pairs(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The inverse of `_half_rotation`."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(weight.shape).contiguous()


def write_folder(state: Mapping[str, torch.Tensor], config: LabConfig, tokenizer: Any, folder: Path) -> None:
    """config.json, model.safetensors and, for a ByteTokenizer, tokenizer files."""
    write_tensors(state, folder / MODEL_FILE)
    _write_json(folder / "config.json", llama_config(config, tokenizer))
    if isinstance(tokenizer, ByteTokenizer):
        _write_json(folder / "tokenizer.json", byte_level_tokenizer(tokenizer))
        names = dict(zip(("pad_token", "bos_token", "eos_token"), _SPECIALS, strict=True))
        _write_json(
            folder / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_max_length": config.context,
                "clean_up_tokenization_spaces": False,
                # text that spells "<eos>" is bytes like any other text
                "split_special_tokens": True,
                **names,
            },
        )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def llama_config(config: LabConfig, tokenizer: Any) -> dict[str, Any]:
    """The configuration transformers reads."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.dim,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "head_dim": config.dim // config.heads,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "pad_token_id": tokenizer.pad,
        "bos_token_id": tokenizer.bos,
        "eos_token_id": tokenizer.eos,
        "torch_dtype": "float32",
    }


def config_from_llama(given: Mapping[str, Any]) -> LabConfig:
    """Shape of a lab model from a Llama configuration.

    Raises:
        EngineError: an architecture the lab model does not have; the field is named.
    """
    rope = given.get("rope_parameters") or {}
    ungrouped = given.get("num_key_value_heads") == given.get("num_attention_heads")
    demands = (
        ("model_type", given.get("model_type") == "llama", "llama"),
        ("tie_word_embeddings", bool(given.get("tie_word_embeddings")), "true"),
        ("num_key_value_heads", ungrouped, "as many as query heads"),
        ("rope_parameters", rope.get("rope_type", "default") == "default", "plain RoPE"),
    )
    for field, valid, expected in demands:
        if not valid:
            raise EngineError(f"config.json: {field} is {given.get(field)!r}; the lab model needs {expected}")
    return LabConfig(
        vocab_size=given["vocab_size"],
        dim=given["hidden_size"],
        layers=given["num_hidden_layers"],
        heads=given["num_attention_heads"],
        hidden=given["intermediate_size"],
        context=given["max_position_embeddings"],
        rope_theta=given.get("rope_theta") or rope.get("rope_theta", 10000.0),
        norm_eps=given["rms_norm_eps"],
    )


def byte_level_tokenizer(tokenizer: ByteTokenizer) -> dict[str, Any]:
    """tokenizer.json of the `tokenizers` library: byte-level BPE without merges, bos in front."""
    vocabulary = {name: index for index, name in enumerate(_SPECIALS)}
    for value, character in enumerate(byte_characters()):
        vocabulary[character] = len(_SPECIALS) + value
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    template = [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": index, "content": name, "special": True, **plain} for index, name in enumerate(_SPECIALS)
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template,
            "pair": [*template, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [tokenizer.bos], "tokens": ["<bos>"]}},
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [],
        },
    }
