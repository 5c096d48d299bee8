"""What a log-prob depends on besides the text, as a digest: weights, tokenizer, shape, arithmetic."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from guerdon.engines.hf_tokenizer import HFTokenizer

_PROBE = "Aa 0 é\n<eos>\t"
_NAMES = ("_name_or_path", "transformers_version")


def fingerprint(engine: Any) -> str | None:
    """32 hexadecimal digits that differ where scores may; None for an engine whose weights are out of sight.

    Batches of other sizes and other releases of the libraries may still differ in the last digits of float32.
    """
    model: Any = getattr(engine, "model", None)
    if not callable(getattr(model, "state_dict", None)):
        return None
    digest = hashlib.blake2b(digest_size=16)
    about = [type(engine).__name__, _shape(engine), engine.context, engine.device.type]
    digest.update(json.dumps([about, _tokenizer(engine.tokenizer)], sort_keys=True, default=repr).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _shape(engine: Any) -> Any:
    config = getattr(engine, "config", None)
    if config is not None:
        return repr(config)
    given = engine.model.config.to_dict()
    return {name: value for name, value in given.items() if name not in _NAMES}


def _bytes(tensor: Any) -> Any:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())


def _tokenizer(tokenizer: Any) -> Any:
    if isinstance(tokenizer, HFTokenizer):
        inner = tokenizer.inner
        backend = getattr(inner, "backend_tokenizer", None)
        words = backend.to_str() if backend is not None else sorted(inner.get_vocab().items())
        return [words, inner.chat_template, tokenizer.eos, tokenizer.pad, tokenizer.bos]
    about = [getattr(tokenizer, name) for name in ("vocab_size", "eos", "pad", "bos")]
    return [type(tokenizer).__qualname__, *about, list(tokenizer.encode(_PROBE))]
