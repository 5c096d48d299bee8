"""Statements: equations, assignments, inequalities, and several of them side by side."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from guerdon.verify.maths.exact import Undefined, facts
from guerdon.verify.maths.kinds import (
    SCALARS,
    Assigned,
    Contradiction,
    Meaning,
    Named,
    Number,
    Reals,
    Related,
    Values,
    flat,
)
from guerdon.verify.maths.lexer import Foreign, Unreadable
from guerdon.verify.maths.regions import REALS, NoRegion, intersection, solve, union
from guerdon.verify.maths.relations import Relation, relation
from guerdon.verify.maths.scalars import equal

Node = tuple[Any, ...]
Read = Callable[[Node], Meaning]

_CALLED = frozenset("fghpqrstuvyFGHPQVSTAEC")


def listed(items: list[Meaning], joiner: str) -> Meaning:
    """Items side by side: assignments, solutions, regions, or plain values; joined by ",", "or" or "and"."""
    named = [item for item in items if isinstance(item, Named)]
    if len(named) == len(items):
        names = [item.name for item in named]
        if len(set(names)) == len(names) and not _one_letter(names):
            return Assigned({item.name: item.value for item in named})
    if named and (len(named) == len(items) or named == items[:1]) and _one_letter([n.name for n in named]):
        values = [item.value if isinstance(item, Named) else item for item in items]
        return Values(tuple(flat(values)), name=named[0].name)
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
        return Related(tuple(relation for item in items for relation in _relations(item)))
    found = tuple(flat(items))
    return Values(found, listed=len(found) == len(items))


def _relations(item: Meaning) -> tuple[Relation, ...]:
    if isinstance(item, Related):
        return item.relations
    return (item.stated,) if isinstance(item, Named) and item.stated is not None else ()


def _one_letter(names: list[str]) -> bool:
    """Whether all names are one letter, with or without different indices (`x_1 = 1, x_2 = 4`)."""
    stems = {name.split("_")[0] for name in names}
    return len(stems) == 1 and (len(set(names)) == 1 or all("_" in name for name in names))


def stated(sides: tuple[Node, ...], operators: tuple[str, ...], read: Read) -> Meaning:
    """What sides joined by relation signs say.

    Args:
        sides: n + 1 nodes; operators: n relation signs; read: the meaning of a node.

    Raises:
        Foreign: structures outside the fast path; Unreadable: a statement about structures, a mixed chain.
    """
    if "approx" in operators:
        sides, operators = _without_approximation(sides, operators)
        if not operators:
            return read(sides[0])
    if operators == ("in",):
        inside = read(sides[1])
        name = sides[0][1] if sides[0][0] == "sym" else None
        return Reals(inside.region, name) if isinstance(inside, Reals) else inside
    if set(operators) == {"="}:
        return _equation(sides, read)
    if "in" in operators or ("=" in operators and len(set(operators)) > 1):
        raise Unreadable("a chain of different relations")
    for side in sides:
        if side[0] not in SCALARS or "pm" in facts(side).kinds:
            raise Foreign("an inequality between structures")
    return _inequality(sides, operators)


def _without_approximation(
    sides: tuple[Node, ...], operators: tuple[str, ...]
) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """What stands before the first approximation sign, where that is a value; `x = 1.41` for `x ~ 1.41`."""
    at = operators.index("approx")
    if at > 0 or (sides[0][0] in SCALARS and not facts(sides[0]).symbols):
        return sides[: at + 1], operators[:at]
    return sides[:2], ("=",)


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


def _equation(sides: tuple[Node, ...], read: Read) -> Meaning:
    """Chains of equal sides: a checked number, a named value, or an equation."""
    first, last = sides[0], sides[-1]
    plain = all(side[0] in SCALARS for side in sides)
    letters = [facts(side).symbols for side in sides]
    if plain and not any(letters):
        return read(last) if _chain_holds(sides) else Contradiction()
    name = _name_of(first)
    if name is None and len(sides) == 2 and _name_of(last) is not None and first[0] in SCALARS:
        first, last, name = last, first, _name_of(last)
        letters.reverse()
    if name is not None and not any(name in symbols for symbols in letters[1:]):
        if len(sides) > 2 and not any(letters[1:]) and plain and not _chain_holds(sides[1:]):
            return Contradiction()
        value = read(last)
        left = _product_named(first)
        states = (
            relation(left, "=", last) if last[0] in SCALARS and left and isinstance(value, Number) else None
        )
        return Named(name, value, states)
    if first[0] == "seq" and last[0] == "seq" and len(sides) == 2 and len(first[3]) == len(last[3]):
        names = [item[1] for item in first[3] if item[0] == "sym"]
        if len(names) == len(first[3]):
            return Assigned({n: read(item) for n, item in zip(names, last[3], strict=True)})
    if not plain or any("pm" in facts(side).kinds for side in sides):
        raise Unreadable("an equation between structures")
    return Related(tuple(relation(left, "=", right) for left, right in pairwise(sides)))


def _product_named(node: Node) -> Node | None:
    """The named side of an assignment as a scalar, so that `PV = nRT` also states a relation."""
    if node[0] == "name" and len(node[1]) < 4 and node[1].isalpha() and node[1].isupper():
        return ("mul", tuple(("sym", letter) for letter in node[1]))
    if node[0] == "mul":
        return node if all(part[0] == "sym" for part in node[1]) else None
    return node if node[0] == "sym" else None


def _chain_holds(sides: tuple[Node, ...]) -> bool:
    return all(equal(left, right)[0] for left, right in pairwise(sides))


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
