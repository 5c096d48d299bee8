"""Answers marked as rounded: `\\approx 3.14`, `3.14...`, `0.333...`.

A rounded gold accepts what rounds to it at its written precision. Dots after a visible period mean the
repeating decimal, which is exact.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from guerdon.verify.maths.evaluate import evaluate
from guerdon.verify.maths.exact import NotRational, Undefined, rational
from guerdon.verify.maths.guard import MAX_DIGITS, TooLarge
from guerdon.verify.maths.kinds import Meaning, Named
from guerdon.verify.maths.kinds import Number as Scalar
from guerdon.verify.maths.lexer import Number, repeating_value
from guerdon.verify.maths.parser import Parser
from guerdon.verify.maths.scalars import scalar

Node = tuple[Any, ...]

_MAX_BITS = 1_400
_MAX_PLACES = 200


class Rounded(NamedTuple):
    """A rounded number: its value, the size of one unit in its last place, and how it was written.

    Attributes:
        cut: digits may have been cut off instead of rounded (`3.14...`).
        period: the exact value where a period is visible, else None.
        certain: the period is the only reading.
    """

    value: Fraction
    step: Fraction
    cut: bool = False
    period: Fraction | None = None
    certain: bool = False


def rounded_number(parser: Parser, what: Meaning, approx: bool) -> Rounded | None:
    """The rounding that an answer is marked with; None where there is no mark, or no single decimal."""
    places = [i for i, token in enumerate(parser.tokens) if token[0] == "num"]
    signs = [i for i, token in enumerate(parser.tokens) if token[:2] == ("op", "approx")]
    if not approx and parser.dots is None and not (signs and places and signs[0] < places[0]):
        return None
    numbers = [parser.tokens[i][1] for i in places]
    value = _value(what)
    if not numbers or value is None or not numbers[0].value:
        return None
    shift = _power_of_ten(abs(value) / numbers[0].value)
    if shift is None:
        return None
    step = Fraction(10) ** (shift - numbers[0].places)
    if parser.dots is None:
        return Rounded(value, step)
    period, certain = repeating(parser.dots)
    if period is not None:
        period *= Fraction(10) ** shift * (1 if value > 0 else -1)
    return Rounded(value, step, True, period, certain)


def _value(what: Meaning) -> Fraction | None:
    if isinstance(what, Named):
        what = what.value
    if not isinstance(what, Scalar):
        return None
    try:
        return rational(what.node)
    except (NotRational, Undefined, TooLarge):
        return None


def _power_of_ten(ratio: Fraction) -> int | None:
    """k where the ratio is 10^k."""
    large, small = max(ratio.numerator, ratio.denominator), min(ratio.numerator, ratio.denominator)
    if small != 1 or large.bit_length() > _MAX_BITS:
        return None
    shift = len(str(large)) - 1
    if large != 10**shift:
        return None
    return shift if ratio >= 1 else -shift


def repeating(number: Number) -> tuple[Fraction | None, bool]:
    """What a decimal with dots means: (value of its visible period, whether that reading is certain).

    A period is visible where the decimals are one digit repeated (0.333...), or end in a block that
    stands there twice (three times for a single digit). A last digit that stands there twice (0.166...)
    is a period, though not a certain one.
    """
    whole, _, places = number.text.partition(".")
    if not places.isdigit() or len(places) > _MAX_PLACES:
        return None, False
    for length in range(1, len(places) // 2 + 1):
        block = places[-length:]
        count = 1
        while places.endswith(block * (count + 1)):
            count += 1
        if count < 2 or set(block) == {"0"}:
            continue
        fixed = places[: len(places) - length * count]
        certain = length > 1 or count > 2 or not fixed
        return repeating_value(whole, fixed, block), certain
    return None, False


def rounds_to(node: Node, gold: Rounded) -> bool:
    """Whether a value rounds (half away from zero) to the written gold, or is cut to it where it may be.

    Raises:
        TooLarge, Undecided, Foreign: the value cannot be computed.
    """
    known = scalar(node)
    if known.facts.symbols:
        return False
    value = known.value
    if value is None:
        real, _ = evaluate(node, {}, 60)
        if not isinstance(real, Decimal) or abs(real.adjusted()) > 2 * MAX_DIGITS:
            return False  # no written number is that large, and as a fraction it would not fit anywhere
        value = Fraction(real)
    if value and gold.value and (value < 0) != (gold.value < 0):
        return False
    size, goal, half = abs(value), abs(gold.value), gold.step / 2
    return goal - half <= size < goal + half or (gold.cut and goal <= size < goal + gold.step)
