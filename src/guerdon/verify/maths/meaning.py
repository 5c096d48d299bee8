"""A parse tree to what the answer says: a number, a tuple, some values, a region, an equation, a word."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from guerdon.verify.maths.exact import Undefined, facts
from guerdon.verify.maths.guard import MAX_ITEMS, TooLarge
from guerdon.verify.maths.kinds import (
    SCALARS,
    Matrix,
    Meaning,
    Named,
    Number,
    Ratio,
    Reals,
    Tuple,
    Values,
    Word,
    flat,
)
from guerdon.verify.maths.lexer import Foreign, Unreadable
from guerdon.verify.maths.regions import (
    REALS,
    NoRegion,
    Region,
    complement,
    intersection,
    interval,
    points,
    union,
)
from guerdon.verify.maths.scalars import infinite
from guerdon.verify.maths.statements import listed, stated

Node = tuple[Any, ...]

MAX_CHOICES = 16
_STRUCTURES = frozenset(
    ["list", "set", "seq", "rel", "such", "union", "meet", "without", "named", "matrix", "ratio", "name"]
)
_SETS = frozenset(("named", "seq", "set", "union"))


def meaning(tree: Node) -> Meaning:
    """What a parse tree says.

    Raises:
        Foreign: a structure outside the fast path; TooLarge: too many items.
    """
    kind = tree[0]
    if kind in SCALARS:
        return _scalar(tree)
    if kind == "list":
        return listed([meaning(item) for item in _bounded(tree[1])], tree[2])
    if kind == "set":
        return Values(tuple(flat(meaning(item) for item in _bounded(tree[1]))), braces=True)
    if kind == "seq":
        return _sequence(tree)
    if kind == "rel":
        return stated(tree[1], tree[2], meaning)
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
        if any(part[0] not in SCALARS for part in tree[1]):
            raise Unreadable("a ratio of words")
        return Ratio(tree[1])
    if kind == "name":
        return Word(tree[1])
    raise Foreign(kind)


def _bounded(items: tuple[Node, ...]) -> tuple[Node, ...]:
    if len(items) > MAX_ITEMS:
        raise TooLarge(f"too large: {len(items)} items")
    return items


def _scalar(tree: Node) -> Meaning:
    found = facts(tree)
    strange = found.kinds
    if strange & _STRUCTURES:
        return _named_point(tree) or _difference_of_sets(tree) or _scaled_matrix(tree)
    if "pm" not in found.kinds:
        return Number(tree)
    choices = [_chosen(tree, sign) for sign in (1, -1)]
    return Values(tuple(Number(choice) for choice in choices))


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


def _described(tree: Node) -> Meaning:
    """`{x | condition}`"""
    if tree[1][0] not in ("sym", "rel"):
        raise Foreign("a described set")
    inside = meaning(tree[2])
    if isinstance(inside, Reals):
        return Reals(inside.region)  # the letter of a described set is bound
    if isinstance(inside, Values):
        return inside
    if isinstance(inside, Named):
        return Values(tuple(flat([inside.value])), braces=True)
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
    if kind != "without" and (isinstance(a, Number) or isinstance(b, Number)):
        raise Foreign(f"{kind} of what is no set")
    try:
        first, second = as_region(a), as_region(b)
    except (NoRegion, Undefined):
        raise Foreign(f"{kind} of sets that are no intervals") from None
    if kind == "union":
        return Reals(union(first, second))
    return Reals(intersection(first, second if kind == "meet" else complement(second)))
