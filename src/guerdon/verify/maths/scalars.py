"""When two scalar expressions are equal: exactly, within a decimal's tolerance, or as rounded.

The path taken is part of the verdict: "rational" and "modular" are exact arithmetic, "numeric" is
agreement to at least forty digits.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from guerdon.verify.maths.agreement import agree
from guerdon.verify.maths.exact import Facts, NotRational, Undefined, facts, rational, residue

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
    if node[0] == "mul" and len(node[1]) == 2 and node[1][0][0] == "num" and node[1][0][1]:
        sign, node = sign if node[1][0][1] > 0 else -sign, node[1][1]
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
    if bool(x.facts.symbols) != bool(y.facts.symbols) and not _vanishing(x, y):
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
