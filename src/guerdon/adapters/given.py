"""What adapters share: rewards and methods by name, missing verdicts, the one value a sample gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.registry import build


def built(kind: str, given: Any, where: str) -> Any:
    """A registered name or `{"use": name, parameter: value}` made into what it names; all else as it is.

    Args:
        kind: of the registry: reward, credit ...
        where: what messages call it.

    Raises:
        RecipeError: an unknown name or parameter.
    """
    if isinstance(given, str | Mapping):
        return build(kind, {"use": given} if isinstance(given, str) else given, where)
    return given


def check_worth(given: str | float, words: Sequence[str], where: str) -> None:
    """Refuse what is neither one of the words nor a number.

    Raises:
        RecipeError: names the words.
    """
    if isinstance(given, str) and given not in words:
        raise RecipeError(f"{where}: expected {', '.join(map(repr, words))} or a number, got {given!r}")


def per_rollout(rollouts: Rollouts, signal: Signal, reduce: str) -> Signal:
    """What a trainer that takes one value per sample gets of a signal of any level.

    Args:
        reduce: how values of parts of a rollout become one; a group's value goes to each of its rollouts.
    """
    if signal.level == "rollout":
        return signal
    if signal.level == "group":
        return rollouts.spread(signal, to="rollout")
    return rollouts.reduce(signal, to="rollout", how=reduce)
