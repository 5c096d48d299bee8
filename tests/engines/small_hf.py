"""Tiny randomly initialised transformers models and a tokenizer built offline."""

from __future__ import annotations

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from guerdon.engines.hf import HFEngine

_CORPUS = ["1+1=2 and 12*3=36", "a much longer prompt, é", "the answer is the sum of the numbers"] * 4
_TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)
_SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_FAMILIES = {
    "llama": ("LlamaConfig", {}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {"head_dim": 8}),
    "gemma2": ("Gemma2Config", {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}),
    "granite": ("GraniteConfig", {"logits_scaling": 4.0, "attention_multiplier": 0.3}),
}


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with a few merges and a chat template."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(_CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=_TEMPLATE,
    )


def tiny_hf(family: str = "llama", scale: float = 6.0, **options) -> HFEngine:
    """An HFEngine over a fresh two-layer model; `scale` makes its distributions uneven."""
    words = tokenizer()
    name, extra = _FAMILIES[family]
    config = getattr(transformers, name)(**_SHAPE, **extra, vocab_size=len(words) + 5)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(scale)
    return HFEngine(model, tokenizer=words, device="cpu", **options)
