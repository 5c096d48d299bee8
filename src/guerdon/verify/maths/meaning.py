"""A parse tree to what the answer says: a number, a tuple, some values, a region, an equation, a word.

Meanings are small frozen records; ± is expanded here, so that what is compared has no choices left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from guerdon.verify.maths.exact import Undefined, facts
from guerdon.verify.maths.guard import MAX_ITEMS, TooLarge
from guerdon.verify.maths.lexer import Foreign
from guerdon.verify.maths.regions import (
    REALS,
    NoRegion,
    Region,
    complement,
    intersection,
    interval,
    points,
    solve,
    union,
)
from guerdon.verify.maths.relations import Relation, relation
from guerdon.verify.maths.scalars import equal, infinite

Node = tuple[Any, ...]

SCALARS = frozenset("num sym const add mul div neg pow root abs fact deg fn pm".split())
MAX_CHOICES = 16
_CALLED = frozenset("fghpqrstuvyFGHPQVSTAEC")


@dataclass(frozen=True)
class Number:
    """One scalar expression."""

    node: Node


@dataclass(frozen=True)
class Values:
    """Several answers, in no order; `braces` where written as a set, `listed` where written side by side.
    `name` is the letter they solve for."""

    items: tuple[Meaning, ...]
    braces: bool = False
    name: str | None = None
    listed: bool = False


@dataclass(frozen=True)
class Tuple:
    """Ordered items with their brackets; two items may also be an interval."""

    items: tuple[Meaning, ...]
    brackets: str = "()"


@dataclass(frozen=True)
class Reals:
    """A set of real numbers; `name` is the letter of an inequality."""

    region: Region
    name: str | None = None


@dataclass(frozen=True)
class Named:
    """`x = 3`: a value with a name, also as the relation it states."""

    name: str
    value: Meaning
    stated: Relation | None = None


@dataclass(frozen=True)
class Assigned:
    """`x = 3, y = 4`"""

    values: dict[str, Meaning] = field(hash=False)


@dataclass(frozen=True)
class Related:
    """Equations or inequalities that are no assignment."""

    relations: tuple[Relation, ...]


@dataclass(frozen=True)
class Matrix:
    """Rows of scalar nodes."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True)
class Ratio:
    """`3 : 4 : 5`"""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Word:
    """A name in words."""

    text: str


@dataclass(frozen=True)
class Contradiction:
    """A false statement about numbers, such as `57 = 58`."""


Meaning = (
    Number | Values | Tuple | Reals | Named | Assigned | Related | Matrix | Ratio | Word | Contradiction
)


def meaning(tree: Node) -> Meaning:
    """What a parse tree says.

    Raises:
        Foreign: a structure outside the fast path; TooLarge: too many items.
    """
    kind = tree[0]
    if kind in SCALARS:
        return _scalar(tree)
    if kind == "list":
        return _list([meaning(item) for item in _bounded(tree[1])], tree[2])
    if kind == "set":
        return Values(tuple(_flat(meaning(item) for item in _bounded(tree[1]))), braces=True)
    if kind == "seq":
        return _sequence(tree)
    if kind == "rel":
        return _relation(tree[1], tree[2])
    if kind == "such":
        return _described(tree)
    if kind in ("union", "meet", "without"):
        return _combined(kind, meaning(tree[1]), meaning(tree[2]))
    if kind == "named":
        return Reals(REALS) if tree[1] == "R" else Word(f"\\mathbb{{{tree[1]}}}")
    if kind == "matrix":
        if any(node[0] not in SCALARS or node[0] == "pm" for row in tree[1] for node in row):
            raise Foreign("a matrix of something else than numbers")
        return Matrix(tree[1])
    if kind == "ratio":
        return Ratio(tree[1])
    if kind == "name":
        return Word(tree[1])
    raise Foreign(kind)


def _bounded(items: tuple[Node, ...]) -> tuple[Node, ...]:
    if len(items) > MAX_ITEMS:
        raise TooLarge(f"too large: {len(items)} items")
    return items


def _flat(items: Any) -> list[Meaning]:
    """Items with the choices of ± side by side."""
    out: list[Meaning] = []
    for item in items:
        out.extend(item.items if isinstance(item, Values) and not item.braces else [item])
    return out


def _scalar(tree: Node) -> Meaning:
    found = facts(tree)
    strange = found.kinds
    if strange & _STRUCTURES:
        return _named_point(tree) or _difference_of_sets(tree) or _scaled_matrix(tree)
    if "pm" not in found.kinds:
        return Number(tree)
    choices = [_chosen(tree, sign) for sign in (1, -1)]
    return Values(tuple(Number(choice) for choice in choices))


_STRUCTURES = frozenset("list set seq rel such union meet without named matrix ratio name".split())
_SETS = frozenset(("named", "seq", "set", "union"))


def _chosen(node: Node, sign: int) -> Node:
    """The expression with every ± read as one sign and every ∓ as the other."""
    if node[0] == "pm":
        inner = _chosen(node[1], sign)
        return inner if node[2] * sign > 0 else ("neg", inner)
    if node[0] in ("num", "sym", "const"):
        return node
    out: list[Any] = [node[0]]
    for part in node[1:]:
        if isinstance(part, tuple) and part and isinstance(part[0], tuple):
            out.append(tuple(_chosen(child, sign) for child in part))
        else:
            out.append(_chosen(part, sign) if isinstance(part, tuple) and part else part)
    return tuple(out)


def _named_point(tree: Node) -> Meaning | None:
    """`P(3, -1)`"""
    if tree[0] == "mul" and len(tree[1]) == 2 and tree[1][1][0] == "seq":
        name = tree[1][0]
        return meaning(tree[1][1]) if name[0] == "sym" and name[1][:1].isupper() else None
    return None


def _difference_of_sets(tree: Node) -> Meaning | None:
    """`R - {3}`, a set difference written with a minus sign."""
    if tree[0] != "add" or len(tree[1]) != 2 or tree[1][1][0] != "neg":
        return None
    first, second = tree[1][0], tree[1][1][1]
    if first[0] not in _SETS or second[0] not in _SETS:
        return None
    return _combined("without", meaning(first), meaning(second))


def _scaled_matrix(tree: Node) -> Meaning:
    """A number times a matrix."""
    sign = 1
    while tree[0] == "neg":
        sign, tree = -sign, tree[1]
    factors = tree[1] if tree[0] == "mul" else (tree,)
    matrices = [f for f in factors if f[0] == "matrix"]
    others = tuple(f for f in factors if f[0] != "matrix")
    if len(matrices) != 1 or any(facts(f).kinds & _STRUCTURES for f in others):
        raise Foreign("an operation on structures")
    scale: Node = ("mul", (*others, ("num", Fraction(sign), False)))
    return Matrix(tuple(tuple(("mul", (scale, cell)) for cell in row) for row in matrices[0][1]))


def _sequence(tree: Node) -> Meaning:
    _, opener, closer, items = tree
    parts = [meaning(item) for item in _bounded(items)]
    if len(items) == 2 and (opener + closer not in ("()", "[]") or infinite(items[0]) or infinite(items[1])):
        try:
            return Reals(interval(items[0], opener == "[", items[1], closer == "]"))
        except (NoRegion, Undefined):
            return Tuple(tuple(parts), opener + closer)
    free = [i for i, part in enumerate(parts) if isinstance(part, Values) and not part.braces]
    if not free:
        return Tuple(tuple(parts), opener + closer)
    if 2 ** len(free) > MAX_CHOICES:
        raise TooLarge("too large: choices of signs")
    rows: list[list[Meaning]] = [[]]
    for part in parts:
        options = part.items if isinstance(part, Values) and not part.braces else (part,)
        rows = [[*row, option] for row in rows for option in options]
    return Values(tuple(Tuple(tuple(row), opener + closer) for row in rows))


def _list(items: list[Meaning], joiner: str) -> Meaning:
    """Items side by side: assignments, solutions, regions, or plain values."""
    named = [item for item in items if isinstance(item, Named)]
    if len(named) == len(items):
        names = [item.name for item in named]
        if len(set(names)) == len(names) and not _one_letter(names):
            return Assigned({item.name: item.value for item in named})
    if named and (len(named) == len(items) or named == items[:1]) and _one_letter([n.name for n in named]):
        values = [item.value if isinstance(item, Named) else item for item in items]
        return Values(tuple(_flat(values)), name=named[0].name)
    if all(isinstance(item, Reals) for item in items):
        regions = [item.region for item in items if isinstance(item, Reals)]
        name = next((item.name for item in items if isinstance(item, Reals) and item.name), None)
        if joiner == "or" or name is None:
            return Reals(union(*regions), name)
        common = regions[0]
        for region in regions[1:]:
            common = intersection(common, region)
        return Reals(common if common or joiner == "and" else union(*regions), name)
    if all(isinstance(item, Related | Named) for item in items):
        stated = [item.relations if isinstance(item, Related) else (item.stated,) for item in items]  # type: ignore[union-attr]
        return Related(tuple(r for some in stated for r in some if r is not None))
    values = tuple(_flat(items))
    return Values(values, listed=len(values) == len(items))


def _one_letter(names: list[str]) -> bool:
    """Whether all names are one letter, with or without different indices (`x_1 = 1, x_2 = 4`)."""
    stems = {name.split("_")[0] for name in names}
    return len(stems) == 1 and (len(set(names)) == 1 or all("_" in name for name in names))


def _relation(sides: tuple[Node, ...], operators: tuple[str, ...]) -> Meaning:
    if operators == ("in",):
        inside = meaning(sides[1])
        name = sides[0][1] if sides[0][0] == "sym" else None
        return Reals(inside.region, name) if isinstance(inside, Reals) else inside
    if set(operators) <= {"=", "approx"}:
        return _equation(sides)
    if "in" in operators or "approx" in operators or ("=" in operators and len(set(operators)) > 1):
        raise Foreign("a chain of different relations")
    for side in sides:
        if side[0] not in SCALARS or "pm" in facts(side).kinds:
            raise Foreign("an inequality between structures")
    return _inequality(sides, operators)


def _inequality(sides: tuple[Node, ...], operators: tuple[str, ...]) -> Meaning:
    letters = frozenset().union(*(facts(side).symbols for side in sides))
    if len(letters) == 1:
        (name,) = letters
        try:
            region = REALS
            for left, operator, right in zip(sides, operators, sides[1:], strict=False):
                region = intersection(region, solve(left, operator, right, name))
            return Reals(region, name)
        except (NoRegion, Undefined):
            pass
    steps = zip(sides, operators, sides[1:], strict=False)
    return Related(tuple(relation(left, operator, right) for left, operator, right in steps))


def _equation(sides: tuple[Node, ...]) -> Meaning:
    """Chains of equal sides: a checked number, a named value, or an equation."""
    first, last = sides[0], sides[-1]
    plain = all(side[0] in SCALARS for side in sides)
    letters = [facts(side).symbols for side in sides]
    if plain and not any(letters):
        return meaning(last) if _chain_holds(sides) else Contradiction()
    name = _name_of(first)
    if name is None and len(sides) == 2 and _name_of(last) is not None and first[0] in SCALARS:
        first, last, name = last, first, _name_of(last)
        letters.reverse()
    if name is not None and not any(name in symbols for symbols in letters[1:]):
        if len(sides) > 2 and not any(letters[1:]) and plain and not _chain_holds(sides[1:]):
            return Contradiction()
        value = meaning(last)
        stated = relation(first, "=", last) if plain and first[0] == "sym" and isinstance(value, Number) else None
        return Named(name, value, stated)
    if first[0] == "seq" and last[0] == "seq" and len(sides) == 2 and len(first[3]) == len(last[3]):
        names = [item[1] for item in first[3] if item[0] == "sym"]
        if len(names) == len(first[3]):
            return Assigned({n: meaning(item) for n, item in zip(names, last[3], strict=True)})
    if not plain or any("pm" in facts(side).kinds for side in sides):
        raise Foreign("an equation between structures")
    return Related(tuple(relation(left, "=", right) for left, right in zip(sides, sides[1:], strict=False)))


def _chain_holds(sides: tuple[Node, ...]) -> bool:
    return all(equal(left, right)[0] for left, right in zip(sides, sides[1:], strict=False))


def _name_of(node: Node) -> str | None:
    """The name on one side of an assignment: a letter, words, or a call such as f(x)."""
    if node[0] in ("sym", "name"):
        return node[1]
    if node[0] == "mul" and len(node[1]) == 2 and node[1][0][0] == "sym":
        head, argument = node[1]
        simple = argument[0] in ("sym", "num") or (argument[0] == "seq" and argument[1] == "(")
        if simple and head[1].rstrip("'")[:1] in _CALLED:
            return f"{head[1]}()"
    if node[0] == "mul" and all(part[0] == "sym" and part[1].isupper() for part in node[1]):
        return "".join(part[1] for part in node[1])
    return None


def _described(tree: Node) -> Meaning:
    """`{x | condition}`"""
    if tree[1][0] not in ("sym", "rel"):
        raise Foreign("a described set")
    inside = meaning(tree[2])
    if isinstance(inside, Reals | Values):
        return inside
    if isinstance(inside, Named):
        return Values(tuple(_flat([inside.value])), braces=True)
    raise Foreign("a described set")


def as_region(what: Meaning) -> Region:
    """A meaning as a set of real numbers.

    Raises:
        NoRegion: it is none.
    """
    if isinstance(what, Reals):
        return what.region
    if isinstance(what, Tuple) and len(what.items) == 2:
        a, b = what.items
        if isinstance(a, Number) and isinstance(b, Number):
            return interval(a.node, what.brackets[0] == "[", b.node, what.brackets[1] == "]")
    if isinstance(what, Number):
        return points([what.node])
    if isinstance(what, Values):
        if all(isinstance(item, Number) for item in what.items):
            return points([item.node for item in what.items if isinstance(item, Number)])
        if not what.braces:
            return union(*(as_region(item) for item in what.items))
    raise NoRegion(type(what).__name__)


def _combined(kind: str, a: Meaning, b: Meaning) -> Meaning:
    """Set operations on regions; unions of listed sets stay listed."""
    if kind == "union" and isinstance(a, Values) and isinstance(b, Values):
        return Values((*a.items, *b.items), braces=True)
    try:
        first, second = as_region(a), as_region(b)
    except (NoRegion, Undefined):
        raise Foreign(f"{kind} of sets that are no intervals") from None
    if kind == "union":
        return Reals(union(first, second))
    return Reals(intersection(first, second if kind == "meet" else complement(second)))
