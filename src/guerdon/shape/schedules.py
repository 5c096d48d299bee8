"""Weights that change over training: functions of the context, with values in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from guerdon.context import Context
from guerdon.errors import RecipeError
from guerdon.shape.parameters import unit

Schedule = Callable[[Context], float]


def decay(step: float, horizon: float, name: str = "T") -> float:
    """exp(-step / horizon).

    Raises:
        RecipeError: a horizon that is not above 0, or a step below 0.
    """
    if isinstance(horizon, bool) or not isinstance(horizon, int | float) or not horizon > 0:
        raise RecipeError(f"{name} must be a number above 0, got {horizon!r}")
    if isinstance(step, bool) or not isinstance(step, int | float) or not step >= 0:
        raise RecipeError(f"step must be a number, 0 or more; got {step!r}")
    return math.exp(-step / horizon)


def linear(start: float = 1.0, end: float = 0.0) -> Schedule:
    """start + progress * (end - start), both in [0, 1]."""
    first, last = unit(start, "start"), unit(end, "end")
    return lambda ctx: first + ctx.progress * (last - first)


def cosine(start: float = 1.0, end: float = 0.0) -> Schedule:
    """From start to end along half a cosine, both in [0, 1]."""
    first, last = unit(start, "start"), unit(end, "end")
    return lambda ctx: last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * ctx.progress))


def exponential(horizon: float) -> Schedule:
    """exp(-step / horizon)."""
    decay(0, horizon, "horizon")
    return lambda ctx: decay(ctx.step, horizon)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "linear": linear,
    "cosine": cosine,
    "exponential": exponential,
}


def schedule(spec: Any, name: str) -> Schedule:
    """A schedule from a number in [0, 1], a name, `{use: name, ...}` or a function of the context.

    Raises:
        RecipeError: none of these, or a value that leaves [0, 1]; checked at every call too.
    """
    if isinstance(spec, int | float) and not isinstance(spec, bool):
        constant = unit(spec, name)
        return lambda ctx: constant
    if isinstance(spec, str):
        spec = {"use": spec}
    if isinstance(spec, dict) and spec.get("use") in SCHEDULES:
        made = SCHEDULES[spec["use"]](**{key: value for key, value in spec.items() if key != "use"})
    elif callable(spec):
        made = spec
    else:
        raise RecipeError(
            f"{name} must be a number in [0, 1] or a schedule ({', '.join(SCHEDULES)}), got {spec!r}"
        )
    return lambda ctx: unit(made(ctx), name)
