"""Length and repetition: bands around a wanted length, a soft limit, repeated n-grams."""

from __future__ import annotations

import math
from functools import partial

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.composite import Composite, Explained, given
from guerdon.verify.sequences import ngrams

UNITS = ("words", "characters")


def measure(text: str, unit: str) -> int:
    """Length of a text in "words" (split on white space) or "characters"."""
    return len(text.split()) if unit == "words" else len(text)


def length_band(length: float, target: float, tolerance: float = 0.1, span: float = 0.9) -> float:
    """1 within `tolerance` of the target, falling linearly to 0 over `span` beyond it, in relative length.

    d = |length - target| / target;  1 if d <= tolerance else max(0, 1 - (d - tolerance) / span)
    """
    off = abs(length - target) / target
    return 1.0 if off <= tolerance else max(0.0, 1.0 - (off - tolerance) / span)


def soft_limit(length: float, limit: float, cache: float) -> float:
    """0 up to limit - cache, falling linearly to -1 at the limit, -1 beyond.

    Reference: Yu et al., DAPO, arXiv 2503.14476 (soft overlong punishment).
    """
    if length <= limit - cache:
        return 0.0
    return -1.0 if length > limit else (limit - cache - length) / cache


def repetition(text: str, n: int = 4, unit: str = "words") -> float:
    """Share of n-grams that are repeats of an earlier one, in [0, 1); 0 for texts shorter than n."""
    items = text.split() if unit == "words" else list(text)
    found = ngrams(items, n)
    return 1.0 - len(set(found)) / len(found) if found else 0.0


def length(
    target: float | None = None,
    unit: str = "words",
    tolerance: float = 0.1,
    span: float = 0.9,
    on_error: str | float = "nan",
) -> Composite:
    """Reward a length near the wanted one, in [0, 1]; see `length_band`.

    Args:
        target: wanted length; None: each row's `meta["target_length"]`.
        unit: "words" or "characters".
        tolerance, span: relative widths of the plateau and of the slope.
        on_error: what a row without a target is worth.
    """
    _check_unit("verify.length", unit)
    if (target is not None and not target > 0) or not tolerance >= 0 or not span > 0:
        raise RecipeError("verify.length: target and span must be above 0, tolerance at least 0")
    score = partial(_length, target=target, unit=unit, tolerance=tolerance, span=span)
    version = f"1-{target}-{unit}-{tolerance}-{span}"
    return Composite("length", score, {"length": 1.0}, version=version, on_error=on_error)


def overlong(limit: int, cache: int) -> Explained:
    """0 for short rollouts, -1 at the limit of tokens (characters where there are none); see `soft_limit`.

    Args:
        limit: length from which the penalty is -1.
        cache: how long before the limit the penalty begins to grow.
    """
    if not 0 < cache <= limit:
        raise RecipeError(f"verify.overlong: cache must lie in 1..limit, got cache={cache}, limit={limit}")
    explain = partial(_overlong, limit=limit, cache=cache)
    return Explained("overlong", explain, f"1-{limit}-{cache}", shape="sample")


def repeats(
    n: int = 4, unit: str = "words", penalty: float = 1.0, on_error: str | float = "nan"
) -> Composite:
    """-penalty times the share of repeated n-grams, in [-penalty, 0]; see `repetition`.

    Reference: Yeo et al., Demystifying Long Chain-of-Thought Reasoning, arXiv 2502.03373.
    """
    _check_unit("verify.repeats", unit)
    if n < 1 or penalty < 0:
        raise RecipeError(f"verify.repeats: n must be at least 1 and penalty at least 0, got {n}, {penalty}")
    score = partial(_repeats, n=n, unit=unit)
    return Composite(
        "repeats", score, {"repetition": -float(penalty)}, version=f"1-{n}-{unit}", on_error=on_error
    )


def target_of(row: Row, target: float | None = None) -> float | Verdict:
    """The wanted length of a row, or a missing verdict."""
    wanted = given(row, "target_length") if target is None else target
    try:
        value = float(wanted) if wanted is not None else math.nan
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        return missing(
            f"no target length: expected a number above 0 in meta['target_length'], got {wanted!r}"[:120]
        )
    return value


def _length(
    row: Row, target: float | None, unit: str, tolerance: float, span: float
) -> dict[str, float] | Verdict:
    wanted = target_of(row, target)
    if isinstance(wanted, Verdict):
        return wanted
    return {"length": length_band(measure(row.completion, unit), wanted, tolerance, span)}


def _overlong(
    rollouts: Rollouts, ctx: Context | None, limit: int, cache: int
) -> tuple[Signal, dict[str, Signal]]:
    values = [soft_limit(float(n), limit, cache) for n in rollouts.lengths]
    signal = Signal(values, "rollout", "overlong")  # type: ignore[arg-type]
    return signal, {"overlong": signal}


def _repeats(row: Row, n: int, unit: str) -> dict[str, float]:
    return {"repetition": repetition(row.completion, n, unit)}


def _check_unit(where: str, unit: str) -> None:
    if unit not in UNITS:
        raise RecipeError(f"{where}.unit must be one of {', '.join(UNITS)}, got {unit!r}")
