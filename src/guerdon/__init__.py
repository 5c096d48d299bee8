"""guerdon: rollouts in, learning signals out.

Rooms are imported when first touched, so that `import guerdon` stays instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ROOMS = (
    "credit",
    "data",
    "engines",
    "judge",
    "learn",
    "models",
    "shape",
    "store",
    "systems",
    "tasks",
    "verify",
)
_NAMES = {
    "Context": "guerdon.context",
    "DataError": "guerdon.errors",
    "EngineError": "guerdon.errors",
    "GuerdonError": "guerdon.errors",
    "Ragged": "guerdon.data.ragged",
    "RecipeError": "guerdon.errors",
    "Rollouts": "guerdon.data.rollouts",
    "Signal": "guerdon.data.signal",
    "StoreError": "guerdon.errors",
    "TrainingError": "guerdon.errors",
    "read": "guerdon.data.io",
    "register": "guerdon.registry",
    "reward": "guerdon.scoring",
    "write": "guerdon.data.io",
}

if TYPE_CHECKING:
    from guerdon import credit, data, engines, judge, learn, models, shape, store, systems, tasks, verify
    from guerdon.context import Context
    from guerdon.data.io import read, write
    from guerdon.data.ragged import Ragged
    from guerdon.data.rollouts import Rollouts
    from guerdon.data.signal import Signal
    from guerdon.errors import DataError, EngineError, GuerdonError, RecipeError, StoreError, TrainingError
    from guerdon.registry import register
    from guerdon.scoring import reward

__all__ = [
    "Context",
    "DataError",
    "EngineError",
    "GuerdonError",
    "Ragged",
    "RecipeError",
    "Rollouts",
    "Signal",
    "StoreError",
    "TrainingError",
    "credit",
    "data",
    "engines",
    "judge",
    "learn",
    "models",
    "read",
    "register",
    "reward",
    "shape",
    "store",
    "systems",
    "tasks",
    "verify",
    "write",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"guerdon.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'guerdon' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
