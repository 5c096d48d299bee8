"""Partial matches of result tables: the share of gold cells that a predicted table covers.

Columns are compared as sorted multisets, whatever their names; optionally whole rows are (`match="rows"`),
which a right column multiset with rows mixed up does not fool.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from guerdon.verify.sql_compare import same_rows
from guerdon.verify.sql_tables import Table

TOLERANCE = 0.005
DECIMALS = 3
_MISSING = -1e10


class Column(NamedTuple):
    """A typed column: `kind` is "text", "float" or "int"; missing cells hold a value of their own."""

    kind: str
    cells: tuple[Any, ...]


def typed(cells: Sequence[Any]) -> Column:
    """A column as a data frame would hold it.

    Numbers, and texts that all read as numbers, become numbers: integers where all are (and none is
    missing), else floats. Anything else becomes text.
    """
    numbers = [_number(cell) for cell in cells]
    if all(number is not None for number in numbers):
        whole = all(isinstance(number, int) for number in numbers)
        return Column("int" if whole and cells else "float" if cells else "text", tuple(numbers))
    return Column("text", tuple("" if cell is None else str(cell) for cell in cells))


def same_column(gold: Column, said: Column) -> bool:
    """Equality as sorted multisets; floats are rounded to 3 decimals and may differ by .005."""
    if len(gold.cells) != len(said.cells) or (gold.kind == "text") != (said.kind == "text"):
        return not gold.cells and not said.cells
    a, b = (sorted(_rounded(column)) for column in (gold, said))
    if gold.kind == said.kind == "float":
        return all(abs(x - y) <= TOLERANCE for x, y in zip(a, b, strict=True))
    return a == b


def matched_columns(gold: Sequence[Column], said: Sequence[Column]) -> int:
    """How many gold columns find an unused equal column, first come first served."""
    used: set[int] = set()
    for column in gold:
        found = next(
            (j for j, other in enumerate(said) if j not in used and same_column(column, other)), None
        )
        if found is not None:
            used.add(found)
    return len(used)


def cell_fraction(gold: Table, said: Table, cutoff: int = 5, match: str = "columns") -> float:
    """Share of gold cells matched: rows_matched * columns_matched / (rows * columns of gold), in [0, 1].

    With equal row counts all rows match. With at most `cutoff` rows difference the larger table is filtered
    to the rows whose anchor value occurs in the smaller one; where the counts then agree, the rows of the
    smaller table count as matched, else nothing does. The anchor is the smaller table's first text column
    (else float, else integer); a gold of a single column is filtered as a multiset. An empty gold leaves
    the share of columns.

    Args:
        gold, said: tables.
        cutoff: largest difference in row counts that is looked into.
        match: "columns", or "rows" (shared rows of the matched columns' positions; strict).

    Reference: PaVeRL-SQL, arXiv 2509.07159 and its released accuracy_reward.py, which this follows in rule,
    not in code: there, an anchor without a fitting column falls back on the last column looked at.
    """
    n, width = gold.shape
    if not width:
        return 0.0
    if match == "rows":
        return _row_fraction(gold, said)
    wanted, got = _columns(gold), _columns(said)
    more = len(said.rows) - n
    if abs(more) > cutoff:
        return 0.0
    if more > 0:
        got = _filtered(got, wanted)
    elif more < 0:
        wanted = _filtered(wanted, got, whole=width == 1)
    rows = min(n, len(said.rows))
    if _height(wanted) != _height(got):
        return 0.0
    return matched_columns(wanted, got) * (rows if n else 1) / (width * max(1, n))


def _row_fraction(gold: Table, said: Table) -> float:
    """Largest share of gold cells in rows that agree as a whole on the columns that match one by one."""
    n, width = gold.shape
    if not n:
        return float(same_rows(gold.rows, said.rows) and width == len(said.columns))
    pairs: list[tuple[int, int]] = []
    for i, column in enumerate(_columns(gold)):
        for j, other in enumerate(_columns(said)):
            if j not in {k for _, k in pairs} and set(_rounded(column)) & set(_rounded(other)):
                pairs.append((i, j))
                break
    if not pairs:
        return 0.0
    mine = Counter(tuple(_plain(row[i]) for i, _ in pairs) for row in gold.rows)
    theirs = Counter(tuple(_plain(row[j]) for _, j in pairs) for row in said.rows)
    return (mine & theirs).total() * len(pairs) / (n * width)


def _columns(table: Table) -> list[Column]:
    turned = list(zip(*table.rows, strict=True)) if table.rows else [()] * len(table.columns)
    return [typed(cells) for cells in turned]


def _height(columns: Sequence[Column]) -> int:
    return len(columns[0].cells) if columns else 0


def _filtered(large: list[Column], small: list[Column], whole: bool = False) -> list[Column]:
    """Columns of the larger table, rows kept whose anchor value the smaller one has; [] without an anchor."""
    anchor = next((c for kind in ("text", "float", "int") for c in small if c.kind == kind and c.cells), None)
    if anchor is None:
        return []
    if whole:
        taken = _sub_multiset(large[0], anchor)
        return [Column(large[0].kind, taken)] if taken is not None else []
    values = set(anchor.cells)
    for column in large:
        if column.kind != anchor.kind:
            continue
        keep = [i for i, cell in enumerate(column.cells) if _among(cell, values, anchor.kind)]
        if len(keep) >= len(values):
            return [Column(c.kind, tuple(c.cells[i] for i in keep)) for c in large]
    return []


def _sub_multiset(large: Column, small: Column) -> tuple[Any, ...] | None:
    """The smaller column's cells, where the larger one holds them all as often."""
    if large.kind != small.kind:
        return None
    most, need = Counter(_rounded(large)), Counter(_rounded(small))
    return small.cells if need <= most else None


def _among(cell: Any, values: set[Any], kind: str) -> bool:
    if kind != "float":
        return cell in values
    return cell in values or any(abs(cell - value) < TOLERANCE for value in values)


def _rounded(column: Column) -> list[Any]:
    return [round(cell, DECIMALS) for cell in column.cells] if column.kind == "float" else list(column.cells)


def _number(cell: Any) -> float | int | None:
    """A cell as a number; None where it is none. Missing cells are a float of their own."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return _MISSING
    if isinstance(cell, int | float):
        return int(cell) if isinstance(cell, bool) else cell
    if not isinstance(cell, str) or "_" in cell:
        return None
    for kind in (int, float):
        try:
            number = kind(cell)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None


def _plain(cell: Any) -> Any:
    number = _number(cell)
    return str(cell) if number is None else round(float(number), DECIMALS)
