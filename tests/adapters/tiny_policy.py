"""A tiny causal language model and its tokenizer, made offline."""

from __future__ import annotations

from typing import Any


def tiny_policy(seed: int = 0, **shape: int) -> tuple[Any, Any]:
    """Model (two layers, 32 wide, unless told otherwise) and tokenizer (one token per character)."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    characters = "0123456789 abcdefghijklmnopqrstuvwxyz+=?.;"
    letters = [pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(c)[0][0] for c in characters]
    names = ["<pad>", "<s>", "</s>", *letters, "Ċ"]  # the last stands for a line break
    inner = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    torch.manual_seed(seed)
    usual = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = transformers.LlamaConfig(
        vocab_size=len(names),
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **(usual | shape),
    )
    return transformers.AutoModelForCausalLM.from_config(config), tokenizer
