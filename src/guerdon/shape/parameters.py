"""Checks of parameters, so that a wrong one is named before anything is computed."""

from __future__ import annotations

import math
from typing import Any

from guerdon.errors import RecipeError


def number(value: Any, name: str) -> float:
    """A finite number; RecipeError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RecipeError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def numbers(**named: Any) -> None:
    """Every one of them is a finite number; RecipeError names the first that is not."""
    for name, value in named.items():
        number(value, name)


def unit(value: Any, name: str) -> float:
    """A number in [0, 1]; RecipeError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise RecipeError(f"{name} must be a number in [0, 1], got {value!r}")
    return float(value)


def one_of(value: Any, valid: tuple[str, ...], name: str) -> str:
    """One of a few words; RecipeError otherwise."""
    if value not in valid:
        raise RecipeError(f"{name} must be one of {', '.join(valid)}; got {value!r}")
    return value
