"""Rollouts, signals and the kernels over them. The bottom room: nothing here needs a model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "Ragged": "ragged",
    "Rollouts": "rollouts",
    "Signal": "signal",
    "iter_batches": "io",
    "read": "io",
    "split": "spans",
    "write": "io",
    "write_batches": "io",
}

if TYPE_CHECKING:
    from guerdon.data.io import iter_batches, read, write, write_batches
    from guerdon.data.ragged import Ragged
    from guerdon.data.rollouts import Rollouts
    from guerdon.data.signal import Signal
    from guerdon.data.spans import split

__all__ = ["Ragged", "Rollouts", "Signal", "iter_batches", "read", "split", "write", "write_batches"]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"guerdon.data.{_NAMES[name]}"), name)
    return importlib.import_module(f"guerdon.data.{name}") if name == "kernels" else _missing(name)


def _missing(name: str) -> Any:
    raise AttributeError(f"module 'guerdon.data' has no attribute {name!r}")
