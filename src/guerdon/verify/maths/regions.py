"""Sets of real numbers: intervals, unions, and the solution sets of inequalities in one variable.

A region is a sorted tuple of disjoint intervals `(low, low_closed, high, high_closed)`; an end is a
`(position, node)` pair whose position orders it. A point is an interval with equal closed ends.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from guerdon.verify.maths import numeric as num
from guerdon.verify.maths.evaluate import evaluate
from guerdon.verify.maths.exact import facts
from guerdon.verify.maths.lexer import Foreign
from guerdon.verify.maths.scalars import equal, infinite

Node = tuple[Any, ...]
End = tuple[Decimal, Node]
Interval = tuple[End, bool, End, bool]
Region = tuple[Interval, ...]

_DIGITS = 40
_NEAR = Decimal("1e-25")
LOWEST: End = (Decimal("-Infinity"), ("neg", ("const", "inf")))
HIGHEST: End = (Decimal("Infinity"), ("const", "inf"))
REALS: Region = ((LOWEST, False, HIGHEST, False),)
_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


class NoRegion(Exception):
    """Not a set of real numbers that can be written as intervals."""


def end(node: Node) -> End:
    """A node as an interval's end.

    Raises:
        NoRegion: it is not a real number.
    """
    sign = infinite(node)
    if sign:
        return HIGHEST if sign > 0 else LOWEST
    if facts(node).symbols:
        raise NoRegion("an end with letters")
    value, _ = evaluate(node, {}, _DIGITS)
    if not isinstance(value, Decimal):
        raise NoRegion("a complex end")
    return value, node


def same_end(a: End, b: End) -> bool:
    """Whether two ends are equal numbers."""
    return a[0] == b[0] if a[0].is_infinite() or b[0].is_infinite() else equal(a[1], b[1])[0]


def _close(a: End, b: End) -> bool:
    """Whether two ends coincide; only close positions are worth the exact comparison."""
    if a[0].is_infinite() or b[0].is_infinite() or a[0] == b[0]:
        return a[0] == b[0]
    with decimal.localcontext(num.context(_DIGITS)):
        if a[0].adjusted() != b[0].adjusted() and abs(a[0].adjusted() - b[0].adjusted()) > 1:
            return False
        if abs(a[0] - b[0]) > _NEAR * max(abs(a[0]), abs(b[0])):
            return False
    return same_end(a, b)


def interval(low: Node, low_closed: bool, high: Node, high_closed: bool) -> Region:
    """One interval; infinity is never included, and an empty interval is the empty region."""
    a, b = end(low), end(high)
    if a[0] == HIGHEST[0] or b[0] == LOWEST[0]:
        raise NoRegion("infinity on the wrong side")
    if a[0] > b[0] and not _close(a, b):
        raise NoRegion("the ends are in descending order")
    return _valid([(a, low_closed and not a[0].is_infinite(), b, high_closed and not b[0].is_infinite())])


def points(nodes: Iterable[Node]) -> Region:
    """A finite set."""
    ends = [end(node) for node in nodes]
    if any(e[0].is_infinite() for e in ends):
        raise NoRegion("infinity is no point")
    return union(*(((e, True, e, True),) for e in ends))


def _valid(intervals: list[Interval]) -> Region:
    return tuple(i for i in intervals if not _close(i[0], i[2]) or (i[1] and i[3]))


def union(*regions: Region) -> Region:
    """Union; overlapping and touching intervals merge."""
    pieces = sorted((i for region in regions for i in region), key=lambda i: (i[0][0], not i[1]))
    merged: list[Interval] = []
    for piece in pieces:
        if merged and _joined(merged[-1], piece):
            low, low_closed, high, high_closed = merged[-1]
            if _close(high, piece[2]):
                high_closed = high_closed or piece[3]
            elif piece[2][0] > high[0]:
                high, high_closed = piece[2], piece[3]
            if _close(low, piece[0]):
                low_closed = low_closed or piece[1]
            merged[-1] = (low, low_closed, high, high_closed)
        else:
            merged.append(piece)
    return tuple(merged)


def _joined(left: Interval, right: Interval) -> bool:
    if _close(left[2], right[0]):
        return left[3] or right[1]
    return right[0][0] < left[2][0]


def intersection(first: Region, second: Region) -> Region:
    """Intersection, pair by pair."""
    found: list[Interval] = []
    for a in first:
        for b in second:
            low, low_closed = _inner(a[0], a[1], b[0], b[1], 1)
            high, high_closed = _inner(a[2], a[3], b[2], b[3], -1)
            if _close(low, high):
                if low_closed and high_closed:
                    found.append((low, True, high, True))
            elif low[0] < high[0]:
                found.append((low, low_closed, high, high_closed))
    return union(tuple(found))


def _inner(a: End, a_closed: bool, b: End, b_closed: bool, sign: int) -> tuple[End, bool]:
    if _close(a, b):
        return a, a_closed and b_closed
    return (a, a_closed) if (a[0] > b[0]) == (sign > 0) else (b, b_closed)


def complement(region: Region) -> Region:
    """All other real numbers."""
    found: list[Interval] = []
    low, low_closed = LOWEST, False
    for left, left_closed, right, right_closed in region:
        if left[0] != LOWEST[0]:
            found.append((low, low_closed, left, not left_closed))
        low, low_closed = right, not right_closed
    if low[0] != HIGHEST[0]:
        found.append((low, low_closed and not low[0].is_infinite(), HIGHEST, False))
    return _valid(found)


def same_region(a: Region, b: Region) -> bool:
    """Whether two regions are equal."""
    return len(a) == len(b) and all(
        i[1] == j[1] and i[3] == j[3] and same_end(i[0], j[0]) and same_end(i[2], j[2])
        for i, j in zip(a, b, strict=True)
    )


def solve(left: Node, operator: str, right: Node, variable: str) -> Region:
    """The solution set of `left operator right` where both are linear in the variable, or |linear|.

    Raises:
        NoRegion: not of that form.
    """
    if right == ("sym", variable) or (right[0] == "abs" and left[0] != "abs"):
        left, right, operator = right, left, _FLIP[operator]
    if variable in facts(right).symbols:
        left, right = ("add", (left, ("neg", right))), ("num", Fraction(0), False)
    if left == ("sym", variable):
        return _half_line(right, operator)
    if left[0] == "abs":
        return _absolute(left[1], operator, right, variable)
    slope, start = _linear(left, variable)
    bound: Node = ("div", ("add", (right, ("neg", start))), slope)
    direction, _ = evaluate(slope, {}, _DIGITS)
    if not isinstance(direction, Decimal) or not direction:
        raise NoRegion("no slope")
    return _half_line(bound, operator if direction > 0 else _FLIP[operator])


def _half_line(bound: Node, operator: str) -> Region:
    limit = end(bound)
    if limit[0].is_infinite():
        if (operator, limit[0] > 0) in (("<", True), (">", False)):
            return REALS
        raise NoRegion("a bound at infinity")
    if operator in ("<", "<="):
        return ((LOWEST, False, limit, operator == "<="),)
    if operator in (">", ">="):
        return ((limit, operator == ">=", HIGHEST, False),)
    point: Region = ((limit, True, limit, True),)
    return point if operator == "=" else complement(point)


def _absolute(inside: Node, operator: str, right: Node, variable: str) -> Region:
    if operator not in ("<", "<=", ">", ">="):
        raise NoRegion("an equation with an absolute value")
    limit = end(right)
    if limit[0] <= 0 or limit[0].is_infinite():
        raise NoRegion("an absolute value against a number that is not positive")
    above = solve(inside, operator, right, variable)
    below = solve(inside, _FLIP[operator], ("neg", right), variable)
    return intersection(above, below) if operator in ("<", "<=") else union(above, below)


def _linear(node: Node, variable: str) -> tuple[Node, Node]:
    """(slope, value at 0) of an expression that is linear in its only letter."""
    at = [substitute(node, variable, ("num", Fraction(k), False)) for k in (0, 1, 2, 5)]
    slope: Node = ("add", (at[1], ("neg", at[0])))
    for k, value in ((2, at[2]), (5, at[3])):
        straight = ("add", (at[0], ("mul", (("num", Fraction(k), False), slope))))
        if not equal(value, straight)[0]:
            raise NoRegion("not linear")
    return slope, at[0]


def substitute(node: Node, name: str, value: Node) -> Node:
    """The expression with a letter (or a constant) replaced."""
    if node[0] in ("sym", "const"):
        return value if node[1] == name else node
    if node[0] == "num":
        return node
    out: list[Any] = [node[0]]
    for part in node[1:]:
        if isinstance(part, tuple) and part and isinstance(part[0], tuple):
            out.append(tuple(substitute(child, name, value) for child in part))
        elif isinstance(part, tuple) and part:
            out.append(substitute(part, name, value))
        else:
            out.append(part)
    return tuple(out)


__all__ = [
    "REALS",
    "Foreign",
    "NoRegion",
    "Region",
    "complement",
    "intersection",
    "interval",
    "points",
    "union",
]
