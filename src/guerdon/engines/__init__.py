"""Policy engines: what samples, scores and learns. `lab` is a small decoder, `hf` any transformers model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "ByteTokenizer": "tokenizer",
    "Engine": "protocol",
    "HFEngine": "hf",
    "LabEngine": "lab",
    "Sampling": "protocol",
    "TokenStats": "protocol",
    "Tokenizer": "protocol",
    "export_checkpoint": "export",
    "steer": "steering",
}

if TYPE_CHECKING:
    from guerdon.engines.export import export_checkpoint
    from guerdon.engines.hf import HFEngine
    from guerdon.engines.lab import LabEngine
    from guerdon.engines.protocol import Engine, Sampling, Tokenizer, TokenStats
    from guerdon.engines.steering import steer
    from guerdon.engines.tokenizer import ByteTokenizer

__all__ = [
    "ByteTokenizer",
    "Engine",
    "HFEngine",
    "LabEngine",
    "Sampling",
    "TokenStats",
    "Tokenizer",
    "export_checkpoint",
    "steer",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"guerdon.engines.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'guerdon.engines' has no attribute {name!r}")
