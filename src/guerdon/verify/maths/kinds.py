"""What an answer can say: a number, several values, a tuple, a region, an equation, a word ...

Small frozen records; ± is expanded when they are made, so that what is compared has no choices left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from guerdon.verify.maths.regions import Region
from guerdon.verify.maths.relations import Relation

Node = tuple[Any, ...]

SCALARS = frozenset(
    ["num", "sym", "const", "add", "mul", "div", "neg", "pow", "root", "abs", "fact", "deg", "fn", "pm"]
)


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


Meaning = Number | Values | Tuple | Reals | Named | Assigned | Related | Matrix | Ratio | Word | Contradiction


def flat(items: Any) -> list[Meaning]:
    """Items with the choices of ± side by side."""
    out: list[Meaning] = []
    for item in items:
        out.extend(item.items if isinstance(item, Values) and not item.braces else [item])
    return out
