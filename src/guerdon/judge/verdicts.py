"""Reading verdicts: from a judge's reply to a label, and from a label to a number.

Enters: the text of a reply. Leaves: a label or a number, or None where there is no clear verdict: none at
all, one out of range, or several different ones. No reader raises, and none guesses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from guerdon.errors import RecipeError
from guerdon.registry import build, register

Label = TypeVar("Label", bound=Hashable)

MAX_REPLY = 20_000  # characters from the end of a reply that are read
_BRACKETED = re.compile(r"\[\[\s{0,8}([^\[\]\n]{1,24}?)\s{0,8}\]\]")
_PREFERENCE = re.compile(r"([AB])\s?(>>|>|=|<|<<)\s?([AB])", re.IGNORECASE)
_NUMBER = re.compile(r"([+-]?\d{1,6}(?:\.\d{1,6})?)(?:\s?/\s?(\d{1,6}))?")


@dataclass(frozen=True)
class Reader:
    """How a verdict is read.

    Attributes:
        name: of the kind of verdict.
        read: text -> label, or None.
        values: label -> number; None where the label is the number.
        low, high: the lowest and highest number, for rewards in [0, 1] and for empty answers.
        guard: what a verdict looks like; material is rid of it, so that a judge that quotes an answer does
            not quote a verdict.
        labels: answers to score by log-probs, with `label_values`; empty where that makes no sense.
    """

    name: str
    read: Callable[[str], Any]
    values: Mapping[Any, float] | None = None
    low: float = 0.0
    high: float = 1.0
    guard: re.Pattern[str] | None = None
    labels: tuple[str, ...] = ()
    label_values: Mapping[str, float] = field(default_factory=dict)

    def label(self, text: str) -> Any:
        """The label in a reply, thoughts (`<think>`) left out; None where there is no clear one."""
        said = conclusion(text)
        if said is None:
            return None
        try:
            return self.read(said)
        except Exception:  # a reader from outside may raise anything; no verdict is what it means
            return None

    def value(self, text: str) -> float | None:
        """The number a reply stands for; None where there is no clear verdict."""
        label = self.label(text)
        if label is None:
            return None
        try:
            number = float(label) if self.values is None else self.values.get(label, math.nan)
        except (TypeError, ValueError, OverflowError):
            return None
        return float(number) if math.isfinite(number) else None


def reader(verdict: Reader | Mapping[str, Any] | str) -> Reader:
    """The reader of a kind of verdict: a name or `{use: name, ...}`.

    Kinds are added with `register("verdict", name)`. Built in: five_level, letter, rating, boxed, json,
    yes_no, levels, zero_one, tag, scale.

    Raises:
        RecipeError: an unknown kind or parameter.
    """
    if isinstance(verdict, Reader):
        return verdict
    from guerdon.judge import verdicts_text  # noqa: F401 - registers its kinds

    made = build("verdict", {"use": verdict} if isinstance(verdict, str) else verdict, "verdict")
    return made if isinstance(made, Reader) else Reader(type(made).__name__, made)


def conclusion(text: str) -> str | None:
    """What a reply says after its thoughts; None where it never came to an end of thinking."""
    text = text[-MAX_REPLY:] if len(text) > MAX_REPLY else text
    _, ended, said = text.rpartition("</think>")
    if not ended and "<think>" in said:
        return None
    return said


def only(found: Iterable[Label | None]) -> Label | None:
    """The one label that occurs, however often; None where there is none or several different ones."""
    labels = {label for label in found if label is not None}
    return labels.pop() if len(labels) == 1 else None


def number(text: str, low: float, high: float) -> float | None:
    """A number in [low, high], also as "7/10" where `high` is 10."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or (match.group(2) is not None and float(match.group(2)) != high):
        return None
    value = float(match.group(1))
    return value if low <= value <= high else None


def _bounds(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise RecipeError(f"low must be below high, got {low!r} and {high!r}")


@register("verdict", "five_level")
def five_level(slight: float = 1.0) -> Reader:
    """[[A>>B]], [[A>B]], [[A=B]], [[B>A]], [[B>>A]]: win share of A.

    Args:
        slight: what a slight win (one `>`) is worth; .75 keeps the grades apart, 1 collapses them.

    Reference: the verdicts of Arena-Hard; several different ones are no verdict.
    """
    if not 0.5 < slight <= 1.0:
        raise RecipeError(f"verdict.slight must lie in (0.5, 1], got {slight!r}")
    values = {"A>>B": 1.0, "A>B": slight, "A=B": 0.5, "B>A": 1.0 - slight, "B>>A": 0.0}

    def read(text: str) -> str | None:
        return only(_preference(inner) for inner in _BRACKETED.findall(text))

    guard = re.compile(r"\[\[(?=\s{0,8}[AB]\s?[<>=]{1,2}\s?[AB]\s{0,8}\]\])", re.IGNORECASE)
    return Reader("five_level", read, values, guard=guard)


def _preference(text: str) -> str | None:
    match = _PREFERENCE.fullmatch(text.strip())
    if match is None:
        return None
    left, sign, right = match.group(1).upper(), match.group(2), match.group(3).upper()
    if left == right:
        return None
    if sign == "=":
        return "A=B"
    winner, loser = (left, right) if sign[0] == ">" else (right, left)
    return f"{winner}{'>' * len(sign)}{loser}"


@register("verdict", "letter")
def letter(values: Mapping[str, float] | None = None) -> Reader:
    """[[A]], [[B]], [[C]] (tie): one of the given choices in double brackets, in any case.

    Args:
        values: choice -> number; default: win share of A, {"A": 1, "B": 0, "C": 0.5, "tie": 0.5}.
    """
    chosen = {"A": 1.0, "B": 0.0, "C": 0.5, "tie": 0.5} if values is None else _numbers(values)
    folded = {str(label).casefold(): label for label in chosen}

    def read(text: str) -> str | None:
        return only(folded.get(inner.casefold()) for inner in _BRACKETED.findall(text))

    words = "|".join(re.escape(label) for label in folded)
    guard = re.compile(rf"\[\[(?=\s{{0,8}}(?:{words})\s{{0,8}}\]\])", re.IGNORECASE)
    singles = {label: value for label, value in chosen.items() if len(label) == 1}
    return Reader(
        "letter", read, chosen, min(chosen.values()), max(chosen.values()), guard, tuple(singles), singles
    )


@register("verdict", "rating")
def rating(low: float = 1, high: float = 10) -> Reader:
    """[[k]] with a number in [low, high]; "[[7/10]]" where high is 10. Out of range is no verdict."""
    _bounds(low, high)

    def read(text: str) -> float | None:
        # a number out of range is a verdict gone wrong, not a verdict to be overlooked
        inner = [found for found in _BRACKETED.findall(text) if _NUMBER.fullmatch(found)]
        found = {number(item, low, high) for item in inner}
        return found.pop() if len(found) == 1 else None

    guard = re.compile(r"\[\[(?=\s{0,8}[+-]?[\d.]{1,14}(?:\s?/\s?\d{1,6})?\s{0,8}\]\])")
    return Reader("rating", read, None, float(low), float(high), guard, *_digits(low, high))


@register("verdict", "boxed")
def boxed(low: int = 0, high: int = 100) -> Reader:
    r"""The last \boxed{k} with an integer in [low, high].

    Answers keep their own \boxed{}: taking it away would change what is judged. The last one counts, since
    a judge concludes after it has quoted.
    """
    _bounds(low, high)

    def read(text: str) -> int | None:
        from guerdon.verify.markup import last_boxed

        inside = (last_boxed(text) or "").strip().strip("$")
        if not re.fullmatch(r"[+-]?\d{1,9}", inside):
            return None
        return int(inside) if low <= int(inside) <= high else None

    return Reader("boxed", read, None, float(low), float(high))


def _digits(low: float, high: float) -> tuple[tuple[str, ...], dict[str, float]]:
    """Labels of a scale of single digits; none for any other scale, whose labels begin one another."""
    if low != int(low) or high != int(high) or not 0 <= low < high <= 9:
        return (), {}
    values = {str(k): float(k) for k in range(int(low), int(high) + 1)}
    return tuple(values), values


def _numbers(values: Mapping[Any, Any]) -> dict[str, float]:
    """A mapping of choices to finite numbers, two or more."""
    try:
        numbers = {str(label): float(value) for label, value in values.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise RecipeError(f"verdict.values must map choices to numbers, got {values!r}") from error
    if len(numbers) < 2 or not all(map(math.isfinite, numbers.values())):
        raise RecipeError(f"verdict.values needs two or more choices with finite numbers, got {values!r}")
    return numbers
