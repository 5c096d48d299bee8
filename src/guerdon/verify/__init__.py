"""Rewards by rule or by execution: every name here is imported when first touched."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "extract": "guerdon.verify.extract:",
    "extract_answer": "guerdon.verify.maths.locate:locate",
    "math": "guerdon.verify.maths.reward:math",
    "math_equal": "guerdon.verify.maths.reward:math_equal",
    "math_verify": "guerdon.verify.maths.peer:math_verify",
    "second_opinion": "guerdon.verify.second_opinions:second_opinion",
}

if TYPE_CHECKING:
    from guerdon.verify import extract
    from guerdon.verify.maths.locate import locate as extract_answer
    from guerdon.verify.maths.peer import math_verify
    from guerdon.verify.maths.reward import math, math_equal
    from guerdon.verify.second_opinions import second_opinion

__all__ = ["extract", "extract_answer", "math", "math_equal", "math_verify", "second_opinion"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'guerdon.verify' has no attribute {name!r}")
    module, attribute = _NAMES[name].split(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted(__all__)
