"""Do two meanings say the same? One rule per pair of kinds, each symmetric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from guerdon.verify.maths.agreement import Undecided
from guerdon.verify.maths.exact import Undefined, facts
from guerdon.verify.maths.guard import TooLarge
from guerdon.verify.maths.kinds import (
    Assigned,
    Contradiction,
    Matrix,
    Meaning,
    Named,
    Number,
    Ratio,
    Reals,
    Related,
    Tuple,
    Values,
    Word,
)
from guerdon.verify.maths.lexer import Foreign
from guerdon.verify.maths.meaning import as_region
from guerdon.verify.maths.regions import NoRegion, same_region, substitute
from guerdon.verify.maths.relations import same_relation
from guerdon.verify.maths.scalars import equal, scalar
from guerdon.verify.maths.words import plain_text

Node = tuple[Any, ...]

MAX_PAIRS = 2_000


def same(a: Meaning, b: Meaning) -> tuple[bool, str]:
    """Whether two meanings are equal, and by which path.

    Raises:
        TooLarge, Undecided, Foreign: no verdict.
    """
    if isinstance(a, Number) and isinstance(b, Number):
        return equal(a.node, b.node)
    if isinstance(a, Contradiction) or isinstance(b, Contradiction):
        return False, "contradiction"
    if isinstance(a, Named) and not isinstance(b, Named | Assigned | Related):
        return same(_unnamed(a, b), b)
    if isinstance(b, Named) and not isinstance(a, Named | Assigned | Related):
        return same(a, _unnamed(b, a))
    first, second = type(a), type(b)
    rule = _RULES.get((first, second))
    if rule is not None:
        return rule(a, b), "structure"
    rule = _RULES.get((second, first))
    return (rule(b, a), "structure") if rule is not None else (False, "structure")


def _unnamed(named: Named, other: Meaning) -> Meaning:
    """The value of `x = ..`, which keeps its letter where the other side has one."""
    value = named.value
    if isinstance(value, Values) and isinstance(other, Values):
        return Values(value.items, value.braces, named.name)
    if isinstance(other, Reals) and other.name not in (None, named.name):
        return Contradiction()
    return value


def _equal(a: Meaning, b: Meaning) -> bool:
    return same(a, b)[0]


def _all_equal(a: Sequence[Meaning], b: Sequence[Meaning]) -> bool:
    return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))


def _values(a: Values, b: Values) -> bool:
    """Without order and repetition: every item of one side is among the other's."""
    if a.name and b.name and a.name.split("_")[0] != b.name.split("_")[0]:
        return False
    if not a.items or not b.items:
        return not a.items and not b.items
    exact = _exact_values(a), _exact_values(b)
    if exact[0] is not None and exact[1] is not None:
        return exact[0] == exact[1]
    if len(a.items) * len(b.items) > MAX_PAIRS:
        raise TooLarge("too large: pairs of set members")
    return _matched(a.items, b.items, _same_member)


def _matched(a: Sequence[Any], b: Sequence[Any], alike: Callable[[Any, Any], bool]) -> bool:
    """Whether every item of either side has its like on the other, whatever the order of evaluation.

    Raises:
        Foreign, Undecided: a pair without verdict decides.
    """
    table: list[list[bool | Exception]] = []
    for x in a:
        row: list[bool | Exception] = []
        for y in b:
            try:
                row.append(alike(x, y))
            except (Foreign, Undecided) as error:
                row.append(error)
        table.append(row)
    lines = [*table, *map(list, zip(*table, strict=True))]
    if any(all(cell is False for cell in line) for line in lines):
        return False
    for line in lines:
        if not any(cell is True for cell in line):
            raise next(cell for cell in line if isinstance(cell, Exception))
    return True


def _same_member(a: Meaning, b: Meaning) -> bool:
    """Equal members; a set among the members is no number, not even a set of one."""
    return isinstance(a, Values) == isinstance(b, Values) and _equal(a, b)


def _exact_values(values: Values) -> frozenset[Any] | None:
    """The members as exact numbers where all are rational and none is a decimal."""
    found = set()
    for item in values.items:
        if not isinstance(item, Number):
            return None
        try:
            known = scalar(item.node)
        except Undefined:
            return None
        if known.value is None or known.facts.decimal:
            return None
        found.add(known.value)
    return frozenset(found)


def _value_among(a: Number | Word, b: Values) -> bool:
    """One answer against several: only if all of them are that answer, and it was not given repeatedly."""
    if b.listed and len(b.items) > 1:
        return False
    return bool(b.items) and all(_equal(a, item) for item in b.items)


def _tuples(a: Tuple, b: Tuple) -> bool:
    if len(a.items) == 2 and a.brackets != b.brackets:
        return False
    return _all_equal(a.items, b.items)


def _tuple_values(a: Tuple, b: Values) -> bool:
    """`(3, 4)` is `3, 4` in this order; it is not the set {3, 4}."""
    if len(b.items) == 1:
        return _equal(a, b.items[0])
    return b.listed and a.brackets == "()" and _all_equal(a.items, b.items)


def _tuple_assigned(a: Tuple, b: Assigned) -> bool:
    return _all_equal(a.items, [b.values[name] for name in sorted(b.values)])


def _tuple_number(a: Tuple, b: Number) -> bool:
    """`(2, -3, 1)` against `2i - 3j + k` in unit vectors."""
    found = facts(b.node)
    if (
        len(a.items) not in (2, 3)
        or "i" not in found.kinds | found.symbols
        or not found.symbols <= {"j", "k"}
    ):
        return False
    if not found.symbols:
        return False
    linear = _at(b.node, 0, 0, 0), _at(b.node, 1, 1, 1), [_at(b.node, *unit) for unit in _UNITS]
    zero: Node = ("num", Fraction(0), False)
    total: Node = ("add", tuple(linear[2]))
    if not equal(linear[0], zero)[0] or not equal(linear[1], total)[0]:
        return False
    parts = [Number(node) for node in linear[2]]
    return _all_equal((*a.items, Number(zero))[:3], parts)


_UNITS = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def _at(node: Node, *values: int) -> Node:
    """A combination of unit vectors at numbers for i, j and k."""
    for letter, value in zip("ijk", values, strict=True):
        node = substitute(node, letter, ("num", Fraction(value), False))
    return node


def _regions(a: Meaning, b: Meaning) -> bool:
    names = {what.name for what in (a, b) if isinstance(what, Reals) and what.name}
    if len(names) > 1:
        return False
    try:
        return same_region(as_region(a), as_region(b))
    except (NoRegion, Undefined):
        return False


def _assigned(a: Assigned, b: Assigned) -> bool:
    return a.values.keys() == b.values.keys() and all(_equal(a.values[n], b.values[n]) for n in a.values)


def _named(a: Named, b: Named) -> bool:
    if a.name == b.name or a.name.rstrip("()") == b.name.rstrip("()"):
        return _equal(a.value, b.value)
    return a.stated is not None and b.stated is not None and same_relation(a.stated, b.stated)


def _named_related(a: Named, b: Related) -> bool:
    return a.stated is not None and len(b.relations) == 1 and same_relation(a.stated, b.relations[0])


def _related(a: Related, b: Related) -> bool:
    return len(a.relations) == len(b.relations) and _matched(a.relations, b.relations, same_relation)


def _matrices(a: Matrix, b: Matrix) -> bool:
    return len(a.rows) == len(b.rows) and all(
        len(x) == len(y) and all(equal(u, v)[0] for u, v in zip(x, y, strict=True))
        for x, y in zip(a.rows, b.rows, strict=True)
    )


def _vector(a: Matrix, b: Tuple) -> bool:
    """A single row or column against a tuple."""
    if len(a.rows) > 1 and any(len(row) > 1 for row in a.rows):
        return False
    cells = [cell for row in a.rows for cell in row]
    return len(cells) > 1 and _all_equal([Number(cell) for cell in cells], b.items)


def _vector_in_units(a: Matrix, b: Number) -> bool:
    """A single row or column against a combination of unit vectors."""
    cells = [cell for row in a.rows for cell in row]
    single = len(a.rows) == 1 or all(len(row) == 1 for row in a.rows)
    return single and _tuple_number(Tuple(tuple(map(Number, cells))), b)


def _ratios(a: Ratio, b: Ratio) -> bool:
    """a1 : a2 : .. = b1 : b2 : .. when a1 bi = ai b1 for all i."""
    if len(a.parts) != len(b.parts):
        return False
    return all(
        equal(("mul", (a.parts[0], y)), ("mul", (b.parts[0], x)))[0]
        for x, y in zip(a.parts[1:], b.parts[1:], strict=True)
    )


def _ratio_number(a: Ratio, b: Number) -> bool:
    return len(a.parts) == 2 and equal(("div", a.parts[0], a.parts[1]), b.node)[0]


def _words(a: Word, b: Word) -> bool:
    return plain_text(a.text) == plain_text(b.text)


_RULES: dict[tuple[type, type], Callable[[Any, Any], bool]] = {
    (Values, Values): _values,
    (Number, Values): _value_among,
    (Word, Values): _value_among,
    (Tuple, Tuple): _tuples,
    (Tuple, Values): _tuple_values,
    (Tuple, Assigned): _tuple_assigned,
    (Tuple, Number): _tuple_number,
    (Tuple, Reals): _regions,
    (Reals, Reals): _regions,
    (Reals, Values): _regions,
    (Reals, Number): _regions,
    (Assigned, Assigned): _assigned,
    (Named, Named): _named,
    (Named, Related): _named_related,
    (Related, Related): _related,
    (Matrix, Matrix): _matrices,
    (Matrix, Tuple): _vector,
    (Matrix, Number): _vector_in_units,
    (Ratio, Ratio): _ratios,
    (Ratio, Number): _ratio_number,
    (Word, Word): _words,
}
