"""The equations of a step: chains `a = b = c` found in prose, each with the sides that have a value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from guerdon.verify.steps.expressions import Valued, valued
from guerdon.verify.steps.tokens import Token, tokenize

_LONGEST = 60
_CONJUNCTIONS = frozenset(
    "and so then or because since which that but if when where while thus therefore".split()  # noqa: SIM905
)


class Equation(NamedTuple):
    """Two sides that a step says are equal.

    Attributes:
        left, right: their values; the left side holds an operator.
        approximate: written with an approximation sign.
    """

    left: Valued
    right: Valued
    approximate: bool

    @property
    def holds(self) -> bool:
        """Whether the sides agree, rounding to the shown decimals allowed."""
        sides = (self.left.value, self.left.face), (self.right.value, self.right.face)
        return any(self._agree(a, b) for a in sides[0] for b in sides[1])

    def _agree(self, a: Fraction, b: Fraction) -> bool:
        if a == b:
            return True
        gap, size = abs(a - b), max(abs(a), abs(b))
        if self.approximate and gap <= size / 50:
            return True
        if (self.left.rounded or self.right.rounded) and gap <= size / 100:
            return True
        for shown, exact in ((self.right, a), (self.left, b)):
            if (
                shown.places >= 0
                and gap < Fraction(1, 10**shown.places)
                and not _terminates(exact, shown.places)
            ):
                return True
        return False


def _terminates(value: Fraction, places: int) -> bool:
    """Whether the value needs no more decimals than that."""
    return (value * 10**places).denominator == 1


def equations(text: str) -> list[Equation]:
    """All equations of a text whose neighbouring known sides can be compared."""
    found = []
    for segment in _segments(tokenize(text)):
        found += list(_chain(segment))
    return found


def _segments(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    part: list[Token] = []
    for token in tokens:
        if token.kind == "break" or (token.kind == "word" and token.text.lower() in _CONJUNCTIONS):
            if part:
                yield part
            part = []
        else:
            part.append(token)
    if part:
        yield part


def _chain(segment: Sequence[Token]) -> Iterator[Equation]:
    cuts = [i for i, token in enumerate(segment) if token.kind == "relation"]
    if not cuts:
        return
    bounds = [-1, *cuts, len(segment)]
    sides = [segment[a + 1 : b] for a, b in pairwise(bounds)]
    values = [
        _suffix(side) if i == 0 else _prefix(side) if i == len(sides) - 1 else valued(side)
        for i, side in enumerate(sides)
    ]
    last: Valued | None = None
    approximate = False
    for i, value in enumerate(values):
        if i:
            approximate |= segment[cuts[i - 1]].text == "≈"
        if value is None:
            if any(token.kind == "number" for token in sides[i]):
                last = None  # not read: what stands before it and what follows need not be equal
            continue
        if last is not None and _comparable(last, value):
            yield Equation(last, value, approximate)
        last, approximate = value, False


def _comparable(left: Valued, right: Valued) -> bool:
    """Not two bare numbers with units ("2 hours = 120 minutes" converts)."""
    bare = left.places >= 0 and right.places >= 0
    return not bare or not (left.units or right.units)


def _suffix(side: Sequence[Token]) -> Valued | None:
    """The longest end of the side that is an expression, after a word or nothing.

    After a word it must hold an operator: the 5 of "for 5 days = 15 hours" says nothing.
    """
    start = max(0, len(side) - _LONGEST)
    for at in range(start, len(side)):
        first = side[at]
        if first.kind == "word" or (first.kind == "op" and first.text in "+*/^)"):
            continue
        before = side[at - 1] if at else None
        if before is not None and (before.kind != "word" or len(before.text) == 1):
            continue
        value = valued(side[at:])
        if value is not None and (at == 0 or value.places < 0):
            return value
    return None


def _prefix(side: Sequence[Token]) -> Valued | None:
    """The longest beginning of the side that is an expression, before words or nothing."""
    for end in range(min(len(side), _LONGEST), 0, -1):
        if end < len(side):
            after = side[end]
            if after.kind != "word" or len(after.text) == 1 or after.glued:
                continue
        if side[end - 1].kind == "word":
            continue
        value = valued(side[:end])
        if value is not None:
            return value
    return None
