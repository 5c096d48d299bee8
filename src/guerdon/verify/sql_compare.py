"""Tables compared: row order, column order, duplicates, NULL and rounding, each by a stated rule.

NULL equals NULL and nothing else. Two integers are equal when they are the same; otherwise two numbers are
equal when |a - b| <= tolerance * max(1, |a|, |b|). Text equals the same text. Column names never count.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from guerdon.verify.sql_tables import Table

Row = tuple[Any, ...]

_SMALL = 300
"""Rows that a one-to-one pairing is looked for among, where sorting them side by side did not do."""

_TRIES = 2000
"""Column orders that are looked at."""


def same_value(a: Any, b: Any, tolerance: float = 1e-6) -> bool:
    """Equality of two cells; see the module's text."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        if a == b or (a != a and b != b):
            return True
        if (isinstance(a, int) and isinstance(b, int)) or math.isinf(a) or math.isinf(b):
            return False
        return abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))
    return type(a) is type(b) and a == b


def same_row(a: Row, b: Row, tolerance: float = 1e-6) -> bool:
    """Equality of two rows, cell by cell."""
    return len(a) == len(b) and all(same_value(x, y, tolerance) for x, y in zip(a, b, strict=True))


def same_rows(
    gold: Sequence[Row], said: Sequence[Row], ordered: bool = False, tolerance: float = 1e-6
) -> bool:
    """Equality of two lists of rows, as sequences or as multisets."""
    if len(gold) != len(said):
        return False
    if ordered:
        return all(same_row(a, b, tolerance) for a, b in zip(gold, said, strict=True))
    left, right = Counter(map(_key, gold)), Counter(map(_key, said))
    if left == right:
        return True
    if not tolerance:
        return False
    shared = left & right
    return _same_rest(_rest(gold, shared), _rest(said, shared), tolerance)


def same_table(
    gold: Table,
    said: Table,
    ordered: bool = False,
    columns: str = "position",
    duplicates: str = "keep",
    tolerance: float = 1e-6,
) -> bool:
    """Equality of two tables.

    Args:
        ordered: the order of rows counts.
        columns: "position" (the same order) or "any" (some one order of the columns fits all rows).
        duplicates: "keep" (rows are a multiset) or "drop" (a set).
        tolerance: of numbers that are not both integers.
    """
    if len(gold.columns) != len(said.columns):
        return False
    first, second = list(gold.rows), list(said.rows)
    if duplicates == "drop":
        first, second = _distinct(first), _distinct(second)
    if len(first) != len(second):
        return False
    if columns == "position" or same_rows(first, second, ordered, tolerance):
        return same_rows(first, second, ordered, tolerance)
    return _some_order(first, second, ordered, tolerance)


def _some_order(gold: list[Row], said: list[Row], ordered: bool, tolerance: float) -> bool:
    """True where the columns of `said` can be put in an order that makes the rows equal."""
    if not gold:
        return True
    width = len(gold[0])
    mine, theirs = list(zip(*gold, strict=True)), list(zip(*said, strict=True))
    fits = [
        [
            j
            for j in range(width)
            if same_rows([(v,) for v in a], [(v,) for v in theirs[j]], ordered, tolerance)
        ]
        for a in mine
    ]
    tries = 0

    def extend(chosen: list[int]) -> bool:
        nonlocal tries
        if len(chosen) == width:
            return True
        seen = set()
        for j in fits[len(chosen)]:
            contents = tuple(map(_cell, theirs[j]))
            if j in chosen or contents in seen:
                continue
            seen.add(contents)  # a column with the same contents would only repeat the search
            tries += 1
            if tries > _TRIES:
                return False
            grown = [*chosen, j]
            left = list(zip(*mine[: len(grown)], strict=True))
            right = list(zip(*(theirs[k] for k in grown), strict=True))
            if same_rows(left, right, ordered, tolerance) and extend(grown):
                return True
        return False

    return all(fits) and extend([])


def _same_rest(gold: list[Row], said: list[Row], tolerance: float) -> bool:
    """Equality of rows that have no exact twin: paired within groups that agree on everything but numbers."""
    groups: dict[Row, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for side, rows in enumerate((gold, said)):
        for row in rows:
            groups[tuple(None if _number(cell) else _cell(cell) for cell in row)][side].append(row)
    return all(_paired(left, right, tolerance) for left, right in groups.values())


def _paired(gold: list[Row], said: list[Row], tolerance: float) -> bool:
    if len(gold) != len(said):
        return False
    in_order = zip(sorted(gold, key=_numbers), sorted(said, key=_numbers), strict=True)
    if all(same_row(a, b, tolerance) for a, b in in_order):
        return True
    if len(gold) > _SMALL:
        return False
    partner: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for j, row in enumerate(said):
            if j not in seen and same_row(gold[i], row, tolerance):
                seen.add(j)
                if j not in partner or place(partner[j], seen):
                    partner[j] = i
                    return True
        return False

    return all(place(i, set()) for i in range(len(gold)))


def _rest(rows: Sequence[Row], shared: Counter[Row]) -> list[Row]:
    budget, rest = Counter(shared), []
    for row in rows:
        key = _key(row)
        if budget[key] > 0:
            budget[key] -= 1
        else:
            rest.append(row)
    return rest


def _distinct(rows: list[Row]) -> list[Row]:
    return list({_key(row): row for row in rows}.values())


def _key(row: Row) -> Row:
    return tuple(map(_cell, row))


def _cell(cell: Any) -> Any:
    """A hashable stand-in whose equality is that of `same_value` without tolerance."""
    if isinstance(cell, str):
        return ("text", cell)
    return "NaN" if isinstance(cell, float) and cell != cell else cell


def _number(cell: Any) -> bool:
    return isinstance(cell, int | float)


def _numbers(row: Row) -> tuple[float, ...]:
    return tuple(math.inf if cell != cell else cell for cell in row if _number(cell))
