"""What a small classifier sees of a step: signs with the words around them, sources of numbers, checks.

Enters: a problem and the steps of its solution. Leaves: a bag of features per step, as strings, from exact
arithmetic (`guerdon.verify.steps`) and from words near the numbers. Lengths and positions are left out on
purpose: they tell who wrote a solution rather than whether it is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from guerdon.verify.steps.equations import Equation, equations
from guerdon.verify.steps.support import Ledger, mentioned
from guerdon.verify.steps.tokens import Token, tokenize

_WINDOW = 4
_SIGNS = "+-*/"


def features(problem: str, steps: Sequence[str]) -> list[list[str]]:
    """Features of every step, distinct and sorted, given the problem and the steps before it."""
    reader = _Reader(problem)
    return [sorted(set(reader.read(step))) for step in steps]


class _Reader:
    """What has been read so far."""

    def __init__(self, problem: str) -> None:
        self.ledger = Ledger(problem)
        self.given = mentioned(problem)
        self.near = _neighbours(tokenize(problem))
        self.results: list[Fraction] = []
        self.used: set[Fraction] = set()

    def read(self, step: str) -> Iterator[str]:
        tokens, found = tokenize(step), equations(step)
        words = [t.text.lower() for t in tokens if t.kind == "word"]
        orphan = self.ledger.unsupported(step, found)
        yield "equations" if found else "no equation"
        if orphan is not None:
            yield "orphan"
        wrong = [e for e in found if not e.holds]
        if wrong:
            yield "false"
            yield f"false, off by {_gap(wrong[0])}"
        elif found:
            yield "true"
        for sign in sorted(_signs(tokens)):
            yield sign
            yield from (f"{sign} with {word}" for word in words)
        yield from self._operands(tokens)
        yield from self._outcomes(found)

    def _operands(self, tokens: Sequence[Token]) -> Iterator[str]:
        for left, sign, right in _binary(tokens):
            sources = [self._source(left), self._source(right)]
            yield f"{sign} of {sources[0]} and {sources[1]}"
            for value in (left, right):
                self.used.add(value)
                yield from (f"{sign} near {word}" for word in self.near.get(value, ()))

    def _source(self, value: Fraction) -> str:
        if self.results and value == self.results[-1]:
            return "last"
        if value in self.results:
            return "earlier again" if value in self.used else "earlier"
        return "given" if value in self.given else "new"

    def _outcomes(self, found: Sequence[Equation]) -> Iterator[str]:
        for equation in found:
            value = equation.right.value
            if value < 0:
                yield "negative"
            if value.denominator > 100:
                yield "long decimal"
            if value in self.results:
                yield "result again"
            elif value in self.given:
                yield "result was given"
        self.results += [e.right.value for e in found]


def _signs(tokens: Sequence[Token]) -> set[str]:
    return {t.text for t in tokens if t.kind == "op" and t.text in _SIGNS}


def _binary(tokens: Sequence[Token]) -> Iterator[tuple[Fraction, str, Fraction]]:
    """Numbers on both sides of a sign, words between them skipped."""
    left: Fraction | None = None
    sign = ""
    for token in tokens:
        if token.kind == "number":
            if left is not None and sign:
                yield left, sign, token.value
            left, sign = token.value, ""
        elif token.kind == "op" and token.text in _SIGNS:
            sign = token.text
        elif token.kind in ("relation", "break"):
            left, sign = None, ""


def _neighbours(tokens: Sequence[Token]) -> dict[Fraction, list[str]]:
    """Words around every number of the problem."""
    near: dict[Fraction, list[str]] = {}
    for at, token in enumerate(tokens):
        if token.kind == "number":
            around = tokens[max(0, at - _WINDOW) : at + _WINDOW + 1]
            near.setdefault(token.value, []).extend(t.text.lower() for t in around if t.kind == "word")
    return near


def _gap(equation: Equation) -> str:
    """How far a false equation is off: little ones may be rounding."""
    left, right = equation.left.value, equation.right.value
    size = max(abs(left), abs(right))
    share = abs(left - right) / size if size else Fraction(0)
    return "a hundredth" if share < Fraction(1, 100) else "a tenth" if share < Fraction(1, 10) else "much"
