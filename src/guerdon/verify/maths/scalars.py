"""When two scalar expressions are equal: exactly, within a decimal's tolerance, or as rounded.

The path taken is part of the verdict: "rational" and "modular" are exact arithmetic, "numeric" is
agreement to at least forty digits.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from guerdon.verify.maths.evaluate import Undecided, agree, evaluate
from guerdon.verify.maths.exact import Facts, NotRational, Undefined, facts, rational, residue
from guerdon.verify.maths.guard import TooLarge
from guerdon.verify.maths.lexer import Foreign, Number, repeating_value

Node = tuple[Any, ...]

TOLERANCE = Fraction(1, 10**6)
_TOLERANCE = Decimal("1e-6")
_NOT_MODULAR = frozenset(("root", "abs", "fact", "sin", "cos", "tan", "ln", "log", "exp", "inf", "fn"))


class Scalar(NamedTuple):
    """A scalar expression with what is known about it: its exact value where it is rational."""

    node: Node
    value: Fraction | None
    facts: Facts


@lru_cache(maxsize=8192)
def scalar(node: Node) -> Scalar:
    """A node as a scalar.

    Raises:
        Undefined: no value (division by zero).
    """
    found = facts(node)
    if found.symbols:
        return Scalar(node, None, found)
    try:
        return Scalar(node, rational(node), found)
    except NotRational:
        return Scalar(node, None, found)


def infinite(node: Node) -> int:
    """+1 for infinity, -1 for minus infinity, 0 for everything else."""
    sign = 1
    while node[0] == "neg":
        sign, node = -sign, node[1]
    return sign if node == ("const", "inf") else 0


def equal(a: Node, b: Node) -> tuple[bool, str]:
    """Whether two scalar nodes are equal, and by which path.

    Raises:
        TooLarge, Undecided, Foreign: no verdict on the fast path.
    """
    if infinite(a) or infinite(b):
        return infinite(a) == infinite(b), "infinity"
    try:
        x, y = scalar(a), scalar(b)
    except Undefined:
        return False, "undefined"
    decimal = x.facts.decimal or y.facts.decimal
    if x.value is not None and y.value is not None:
        return values_equal(x.value, y.value, decimal), "rational"
    if a == b:
        return True, "identical"
    if x.facts.symbols != y.facts.symbols and not (x.facts.symbols and y.facts.symbols):
        if not _vanishing(x, y):
            return False, "letters"
    if not decimal or x.facts.symbols or y.facts.symbols:
        verdict = _modular(x, y)
        if verdict or (verdict is False and not decimal):
            return verdict, "modular"
    return agree(a, b, x.facts.symbols | y.facts.symbols, _TOLERANCE if decimal else None), "numeric"


def values_equal(x: Fraction, y: Fraction, decimal: bool) -> bool:
    """Exact equality, or equality within 1e-6 relative where a decimal is involved."""
    if x == y or not decimal:
        return x == y
    return abs(x - y) <= TOLERANCE * max(abs(x), abs(y))


def _vanishing(x: Scalar, y: Scalar) -> bool:
    """Whether the letters of the one side with letters may cancel (`x - x + 3`)."""
    node = x.node if x.facts.symbols else y.node
    return node[0] in ("add", "mul", "div", "pow", "fn", "root", "abs")


def _modular(x: Scalar, y: Scalar) -> bool | None:
    """Equality as rational functions; None where one side is no rational function."""
    if (x.facts.kinds | y.facts.kinds) & _NOT_MODULAR - {"fn"}:
        return None
    try:
        return all(residue(x.node, trial) == residue(y.node, trial) for trial in (0, 1))
    except (NotRational, Undefined):
        return None


def repeating(number: Number) -> tuple[Fraction | None, bool]:
    """What a decimal with dots means: (value of its visible period, whether that reading is certain).

    A period is visible where the decimals are one digit repeated (0.333...), or end in a block that
    stands there twice (three times for a single digit). A last digit that stands there twice (0.166...)
    is a period, though not a certain one.
    """
    whole, _, places = number.text.partition(".")
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


def rounds_to(node: Node, gold: Number, negative: bool, cut: bool = False) -> bool:
    """Whether a value rounds (half away from zero) to the written gold; with `cut`, also truncates to it.

    Raises:
        TooLarge, Undecided, Foreign: the value cannot be computed.
    """
    target = -gold.value if negative else gold.value
    step = Fraction(1, 10**gold.places) if gold.places >= 0 else Fraction(10**-gold.places)
    known = scalar(node)
    if known.facts.symbols:
        return False
    value = known.value
    if value is None:
        real, _ = evaluate(node, {}, 60)
        if not isinstance(real, Decimal):
            return False
        value = Fraction(real)
    if value and target and (value < 0) != (target < 0):
        return False
    size, goal = abs(value), abs(target)
    return goal - step / 2 <= size < goal + step / 2 or (cut and goal <= size < goal + step)


__all__ = ["Foreign", "Scalar", "TooLarge", "Undecided", "equal", "infinite", "repeating", "rounds_to", "scalar"]
