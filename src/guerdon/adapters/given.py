"""What users hand to an adapter: a reward or method or its name, and what a missing verdict is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
