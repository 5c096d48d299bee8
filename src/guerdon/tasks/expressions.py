"""Exact arithmetic expressions: parse, evaluate on fractions, print. No eval, no floats, bounded size.

Grammar (spaces are free, digits are ASCII, no leading zeros, no implicit multiplication):

    sum     = product (("+" | "-") product)*
    product = signed (("*" | "/") signed)*
    signed  = "-" signed | power
    power   = atom ("^" ("2" | "3"))?          with powers=True; ** and // never parse
    atom    = number | "(" sum ")"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from guerdon.errors import DataError

_TOKEN = re.compile(r"[ \t\n]*(?:([0-9]+(?:\.[0-9]+)?)|(.))", re.DOTALL)
_CLEAN_NUMBER = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_BITS_PER_DIGIT = 3.33
_END = "end of the expression"


class ExpressionError(DataError):
    """Text that is not an expression, or an expression without a (bounded) value."""


@dataclass(frozen=True, slots=True)
class Number:
    """A non-negative number; one with a denominator prints as a quotient (`3/4`, `\\frac{3}{4}`)."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Power:
    """Square or cube of `base`."""

    base: Expression
    exponent: int


@dataclass(frozen=True, slots=True)
class Negative:
    """Unary minus."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Operation:
    """`left symbol right` with symbol one of + - * /."""

    symbol: str
    left: Expression
    right: Expression


Expression = Number | Power | Negative | Operation


class _Parser:
    """Recursive descent over the tokens; `depth` bounds the recursion."""

    def __init__(self, text: str, powers: bool, decimals: bool, max_depth: int) -> None:
        self.tokens = [match.group(1) or match.group(2) for match in _TOKEN.finditer(text.rstrip(" \t\n"))]
        self.powers, self.decimals, self.room = powers, decimals, max_depth
        self.at = 0

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else _END

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def sum(self) -> Expression:
        left = self.product()
        while self.next in "+-":
            symbol = self.take()
            left = Operation(symbol, left, self.product())
        return left

    def product(self) -> Expression:
        left = self.signed()
        while self.next in "*/":
            symbol = self.take()
            left = Operation(symbol, left, self.signed())
        return left

    def signed(self) -> Expression:
        if self.next != "-":
            return self.power()
        self.take()
        self.room -= 1
        if self.room < 0:
            raise ExpressionError("the expression is nested too deeply")
        operand = self.signed()
        self.room += 1
        return Negative(operand)

    def power(self) -> Expression:
        base = self.atom()
        if not self.powers or self.next != "^":
            return base
        self.take()
        if self.next not in ("2", "3"):
            raise ExpressionError(f"only squares and cubes are known, found ^{self.next}")
        return Power(base, int(self.take()))

    def atom(self) -> Expression:
        if self.next == "(":
            self.take()
            self.room -= 1
            if self.room < 0:
                raise ExpressionError("the expression is nested too deeply")
            inside = self.sum()
            self.room += 1
            if self.next != ")":
                raise ExpressionError(f"expected ')', found {self.next!r}")
            self.take()
            return inside
        text = self.next
        if not _CLEAN_NUMBER.fullmatch(text) or ("." in text and not self.decimals):
            raise ExpressionError(f"expected a number, found {text[:20]!r}")
        return Number(Fraction(self.take()))


def parse(
    text: str, powers: bool = False, decimals: bool = False, max_chars: int = 400, max_depth: int = 40
) -> Expression:
    """The expression written in `text`.

    Args:
        text: ASCII; see the module's grammar.
        powers: allow `^2` and `^3`.
        decimals: allow `1.25` (read as the exact fraction 5/4).
        max_chars, max_depth: refuse longer text and deeper brackets.

    Raises:
        ExpressionError: anything else; the message says what was found instead.
    """
    if len(text) > max_chars:
        raise ExpressionError(f"the expression has {len(text)} characters, more than {max_chars}")
    parser = _Parser(text, powers, decimals, max_depth)
    found = parser.sum()
    if parser.next != _END:
        raise ExpressionError(f"unexpected {parser.next[:20]!r} after the expression")
    return found


def apply(symbol: str, left: Fraction, right: Fraction) -> Fraction:
    """`left symbol right`, exactly.

    Raises:
        ExpressionError: division by zero.
    """
    if symbol == "+":
        return left + right
    if symbol == "-":
        return left - right
    if symbol == "*":
        return left * right
    if right == 0:
        raise ExpressionError("division by zero")
    return left / right


def evaluate(expression: Expression, max_digits: int = 200) -> Fraction:
    """The exact value.

    Raises:
        ExpressionError: division by zero, or a numerator or denominator (also of a part) with more than
            about `max_digits` digits.
    """
    if isinstance(expression, Number):
        value = expression.value
    elif isinstance(expression, Power):
        value = evaluate(expression.base, max_digits) ** expression.exponent
    elif isinstance(expression, Negative):
        value = -evaluate(expression.operand, max_digits)
    else:
        left, right = evaluate(expression.left, max_digits), evaluate(expression.right, max_digits)
        value = apply(expression.symbol, left, right)
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > max_digits * _BITS_PER_DIGIT:
        raise ExpressionError(f"a value has more than {max_digits} digits")
    return value


def leaves(expression: Expression) -> Iterator[Fraction]:
    """Values of all numbers, from left to right."""
    if isinstance(expression, Number):
        yield expression.value
    elif isinstance(expression, Power):
        yield from leaves(expression.base)
    elif isinstance(expression, Negative):
        yield from leaves(expression.operand)
    else:
        yield from leaves(expression.left)
        yield from leaves(expression.right)


def calculations(expression: Expression) -> Iterator[tuple[Fraction, str, Fraction, Fraction]]:
    """The operations in the order a person works them out: (left, symbol, right, result)."""
    if isinstance(expression, Operation):
        yield from calculations(expression.left)
        yield from calculations(expression.right)
        left, right = evaluate(expression.left), evaluate(expression.right)
        yield left, expression.symbol, right, apply(expression.symbol, left, right)
    elif isinstance(expression, Power):
        yield from calculations(expression.base)
    elif isinstance(expression, Negative):
        yield from calculations(expression.operand)


def _binding(expression: Expression, latex: bool) -> int:
    """How tightly the printed form holds together: 1 sum, 2 product, 3 power, 4 atom."""
    if isinstance(expression, Operation):
        return 1 if expression.symbol in "+-" else 2
    if isinstance(expression, Negative):
        return 1
    if isinstance(expression, Power):
        return 3
    if expression.value.denominator == 1:
        return 4
    return 3 if latex else 2


def show(expression: Expression, notation: str = "plain") -> str:
    r"""Text of an expression with the fewest brackets that keep its tree; `parse` reads the plain form.

    Args:
        expression: what to print.
        notation: "plain" (`(3/4+5^2)*7`) or "latex" (`(\frac{3}{4}+5^{2})\times7`).
    """
    latex = notation == "latex"

    def part(inner: Expression, at_least: int) -> str:
        text = show(inner, notation)
        return text if _binding(inner, latex) >= at_least else f"({text})"

    if isinstance(expression, Number):
        value = expression.value
        if value.denominator == 1:
            return str(value.numerator)
        return f"\\frac{{{value.numerator}}}{{{value.denominator}}}" if latex else str(value)
    if isinstance(expression, Power):
        exponent = f"{{{expression.exponent}}}" if latex else str(expression.exponent)
        return f"{part(expression.base, 4)}^{exponent}"
    if isinstance(expression, Negative):
        return f"-{part(expression.operand, 3)}"
    binds = _binding(expression, latex)
    symbol = (
        {"*": "\\times ", "/": "\\div "}.get(expression.symbol, expression.symbol)
        if latex
        else expression.symbol
    )
    return f"{part(expression.left, binds)}{symbol}{part(expression.right, binds + 1)}"
