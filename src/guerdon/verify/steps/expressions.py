"""Arithmetic among prose: the value of a run of tokens, units between them skipped.

Grammar: sum = product (("+" | "-") product)*; product = signed (("*" | "/") signed)*; power binds tighter;
after a number or a closing parenthesis up to three words may stand as its unit. A letter glued to a number,
or a single letter anywhere, is a variable: the run then has no value.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from guerdon.verify.steps.tokens import Token

UNITS = frozenset(
    word
    for words in ("kg mg lb lbs oz km cm mm mi ft mph kph ml kb mb gb", "hr hrs min mins th st nd rd am pm")
    for word in words.split()
)
"""Abbreviations that may be glued to a number without being a variable."""
NO_UNIT = frozenset(
    word
    for words in (
        "is are was were be so then and or has have had get gets got we he she it they because since which",
        "that there need needs costs cost makes make made gives give leaves left but if when where while",
        "thus therefore by from to for with than gain in on at",
    )
    for word in words.split()
)
"""Words after which a number's unit is over: what follows belongs to another clause."""
_MAX_UNIT_WORDS = 3
_MAX_POWER = 12
_MAX_BITS = 256


class NoValue(Exception):
    """The tokens are no arithmetic expression."""


class Valued(NamedTuple):
    """An expression's value.

    Attributes:
        value: percentages count as hundredths.
        face: the same with percentages at face value (30% as 30).
        places: decimals shown where the expression is a single number, else -1.
        operands: the numbers in it, as written.
        units: whether words stood in it.
        rounded: whether an operand looks like a rounded repeating decimal (0.33, 1.67).
    """

    value: Fraction
    face: Fraction
    places: int
    operands: tuple[Fraction, ...]
    units: bool
    rounded: bool


def valued(tokens: Sequence[Token]) -> Valued | None:
    """The value of all tokens as one expression; None where they are none."""
    if not any(token.kind == "number" for token in tokens):
        return None
    try:
        values = []
        for percent in (Fraction(1, 100), Fraction(1)):
            reader = _Reader(tokens, percent)
            values.append(reader.whole())
    except (NoValue, ZeroDivisionError, RecursionError):
        return None
    numbers = [token for token in tokens if token.kind == "number"]
    single = len(numbers) == 1 and not any(token.kind == "op" and token.text != "-" for token in tokens)
    return Valued(
        values[0],
        values[1],
        numbers[0].places if single else -1,
        tuple(token.value for token in numbers),
        any(token.kind == "word" for token in tokens),
        any(looks_rounded(token) for token in numbers),
    )


def looks_rounded(token: Token) -> bool:
    """A number with two or more decimals that end like a third, a sixth, a seventh or a ninth."""
    if token.places < 2:
        return False
    places = token.text.rpartition(".")[2]
    return places[-2:] in (
        "33",
        "66",
        "67",
        "83",
        "17",
        "16",
        "11",
        "22",
        "44",
        "55",
        "56",
        "77",
        "78",
        "88",
        "89",
    ) or (token.places >= 3)


class _Reader:
    def __init__(self, tokens: Sequence[Token], percent: Fraction) -> None:
        self.tokens, self.at, self.percent = tokens, 0, percent

    def whole(self) -> Fraction:
        value = self.sum()
        if self.at < len(self.tokens):
            raise NoValue
        return value

    def peek(self, *texts: str) -> bool:
        if self.at >= len(self.tokens):
            return False
        token = self.tokens[self.at]
        return token.kind == "op" and token.text in texts

    def sum(self) -> Fraction:
        value = self.product()
        while self.peek("+", "-"):
            minus = self.tokens[self.at].text == "-"
            self.at += 1
            term = self.product()
            value = _bounded(value - term if minus else value + term)
        return value

    def product(self) -> Fraction:
        value = self.signed()
        while self.peek("*", "/", "("):
            sign = self.tokens[self.at].text
            if sign != "(":
                self.at += 1
            elif self.tokens[self.at - 1].kind == "word":
                raise NoValue  # "the penny weighs (3/4) ..." multiplies nothing
            factor = self.signed()
            value = _bounded(value / factor if sign == "/" else value * factor)
        return value

    def signed(self) -> Fraction:
        if self.peek("-", "+"):
            minus = self.tokens[self.at].text == "-"
            self.at += 1
            value = self.signed()
            return -value if minus else value
        base = self.atom()
        if self.peek("^"):
            self.at += 1
            power = self.signed()
            if power.denominator != 1 or abs(power) > _MAX_POWER:
                raise NoValue
            return _bounded(base ** int(power))
        return base

    def atom(self) -> Fraction:
        if self.at >= len(self.tokens):
            raise NoValue
        token = self.tokens[self.at]
        self.at += 1
        if token.kind == "op" and token.text == "(":
            value = self.sum()
            if not self.peek(")"):
                raise NoValue
            self.at += 1
        elif token.kind == "number":
            value = token.value * self.percent if token.percent else token.value
        else:
            raise NoValue
        self.unit()
        return value

    def unit(self) -> None:
        """Skip up to three words."""
        count = 0
        while self.at < len(self.tokens) and self.tokens[self.at].kind == "word":
            token = self.tokens[self.at]
            known = token.text.lower() in UNITS
            variable = len(token.text) == 1 or (token.glued and count == 0)
            if (variable and not known) or token.text.lower() in NO_UNIT:
                raise NoValue
            count += 1
            self.at += 1
        if count > _MAX_UNIT_WORDS:
            raise NoValue


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > _MAX_BITS:
        raise NoValue
    return value
