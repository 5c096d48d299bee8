"""Equations and inequalities in letters: equal up to rearrangement and a constant factor.

`left op right` becomes F op 0 with F = left - right and denominators cleared. Two relations are equal when
F1 / F2 is the same number everywhere: any number but zero for equations, a positive one for inequalities.
"""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction
from typing import Any

from guerdon.verify.maths import numeric as num
from guerdon.verify.maths.agreement import Undecided, sample
from guerdon.verify.maths.evaluate import PRECISION, evaluate
from guerdon.verify.maths.exact import PRIME, NotRational, Undefined, facts, residue
from guerdon.verify.maths.guard import TooLarge

Node = tuple[Any, ...]
Relation = tuple[Node, str]

_ONE: Node = ("num", Fraction(1), False)
_MAX_FRACTIONS = 12
_TRIALS = 4


def relation(left: Node, operator: str, right: Node) -> Relation:
    """`left operator right` as (F, operator) with operator one of =, !=, <, <=."""
    if operator in (">", ">="):
        left, right, operator = right, left, {">": "<", ">=": "<="}[operator]
    zero = right[0] == "num" and not right[1]
    return (left if zero else ("add", (left, ("neg", right)))), operator


def same_relation(a: Relation, b: Relation) -> bool:
    """Whether two relations hold for the same values by rearrangement.

    Raises:
        Undecided, TooLarge, Foreign: as the evaluation of their sides.
    """
    if a[1] != b[1]:
        return False
    first, second = facts(a[0]), facts(b[0])
    if first.symbols != second.symbols:
        return False
    ordered = a[1] in ("<", "<=")
    f, g = (a[0], b[0]) if ordered else (_cleared(a[0]), _cleared(b[0]))
    decimal_sides = first.decimal or second.decimal
    exact = None if ordered else _proportional_exactly(f, g)
    if exact or (exact is False and not decimal_sides):
        return bool(exact)
    return _proportional(f, g, sorted(first.symbols), ordered, Decimal("1e-6" if decimal_sides else "1e-30"))


def _proportional_exactly(f: Node, g: Node) -> bool | None:
    try:
        pairs = [(residue(f, trial), residue(g, trial)) for trial in range(3)]
    except (NotRational, Undefined):
        return None
    (x, y), *rest = pairs
    if not x or not y:
        return x == y
    return all(x * v % PRIME == y * u % PRIME for u, v in rest)


def _proportional(f: Node, g: Node, names: list[str], ordered: bool, tolerance: Decimal) -> bool:
    """Numerically: f(p) g(q) = f(q) g(p) at several points, with f g > 0 where the order matters."""
    pairs = []
    for trial in range(12):
        point = {name: sample(name, trial) for name in names}
        try:
            x, y = evaluate(f, point, PRECISION)[0], evaluate(g, point, PRECISION)[0]
        except Undefined:
            continue
        if isinstance(x, Decimal) and isinstance(y, Decimal):
            pairs.append((x, y))
        if len(pairs) == _TRIALS:
            break
    if len(pairs) < _TRIALS:
        raise Undecided("too few points where both relations are defined")
    (x, y), *rest = pairs
    if not x or not y:
        raise Undecided("a relation vanishes")
    if ordered and any((u > 0) != (v > 0) for u, v in pairs):
        return False
    with decimal.localcontext(num.context(PRECISION)):
        return all(abs(x * v - y * u) <= tolerance * max(abs(x * v), abs(y * u)) for u, v in rest)


def _cleared(node: Node) -> Node:
    """The numerator over the common denominator, where letters stand in denominators."""
    if not _divides_by_letters(node):
        return node
    count = [0]
    return _fraction(node, count)[0]


def _divides_by_letters(node: Node) -> bool:
    kinds = facts(node).kinds
    return "div" in kinds or "pow" in kinds


def _fraction(node: Node, count: list[int]) -> tuple[Node, Node]:
    """(numerator, denominator) without expansion."""
    kind = node[0]
    if kind == "neg":
        top, bottom = _fraction(node[1], count)
        return ("neg", top), bottom
    if kind == "div":
        count[0] += 1
        if count[0] > _MAX_FRACTIONS:
            raise TooLarge("too large: too many fractions in a relation")
        (a, b), (c, d) = _fraction(node[1], count), _fraction(node[2], count)
        if not facts(c).symbols:
            return ("div", a, c), _times(b, d) if d != _ONE else b
        return _times(a, d), _times(b, c)
    if kind == "add":
        top, bottom = _fraction(node[1][0], count)
        for term in node[1][1:]:
            a, b = _fraction(term, count)
            if b == bottom:
                top = ("add", (top, a))
            else:
                top, bottom = ("add", (_times(top, b), _times(a, bottom))), _times(bottom, b)
        return top, bottom
    if kind == "mul":
        top, bottom = _ONE, _ONE
        for factor in node[1]:
            a, b = _fraction(factor, count)
            top, bottom = _times(top, a), _times(bottom, b)
        return top, bottom
    if kind == "pow" and node[2][0] == "neg" and node[2][1][0] == "num":
        return _ONE, ("pow", node[1], node[2][1])
    return node, _ONE


def _times(a: Node, b: Node) -> Node:
    if a == _ONE:
        return b
    return a if b == _ONE else ("mul", (a, b))
