"""What SQL execution takes and gives: limits, databases, tables, failures. Plain data, no engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Cell = Any
"""int, float, str, bytes, bool or None."""

FAILURES = ("error", "forbidden", "timeout", "rows", "memory", "crash")


@dataclass(frozen=True)
class Limits:
    """What one query may use.

    Attributes:
        seconds: wall clock; the query is interrupted there, and its process killed shortly after.
        rows: rows of a result.
        cells: cells of a result (rows times columns).
        value_bytes: one text or blob, also while computing.
        memory_mb: memory of the process that runs queries, beyond what it needs to start.
        query_characters: length of the query's text.
    """

    seconds: float = 5.0
    rows: int = 100_000
    cells: int = 1_000_000
    value_bytes: int = 16_000_000
    memory_mb: int = 512
    query_characters: int = 100_000


@dataclass(frozen=True)
class Database:
    """Where a query runs: a file, opened read-only, or a script that builds a database in memory.

    Attributes:
        engine: "sqlite" or "duckdb".
        path: the file; "" with a setup.
        setup: SQL script that fills an in-memory database, which is then locked; it opens no files.
    """

    engine: str = "sqlite"
    path: str = ""
    setup: str = ""


@dataclass(frozen=True)
class Table:
    """A query's result: column names and rows, in the order they came."""

    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self.rows), len(self.columns)


class QueryFailed(Exception):
    """A query gave no table.

    Attributes:
        kind: "error" (SQL or data), "forbidden" (it tried to write, attach, load or read files), "timeout",
            "rows" (result too large), "memory", or "crash" (its process died).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.kind}: {self.args[0]}"[:300]


def collect(cursor: Any, columns: tuple[str, ...], limits: Limits, convert: Any = None) -> Table:
    """Fetch a cursor's rows within the limits.

    Raises:
        QueryFailed: more rows or cells than allowed.
    """
    rows: list[tuple[Cell, ...]] = []
    most = min(limits.rows, limits.cells // max(1, len(columns)))
    while batch := cursor.fetchmany(1000):
        rows.extend([tuple(map(convert, row)) for row in batch] if convert else map(tuple, batch))
        if len(rows) > most:
            raise QueryFailed("rows", f"more than {most} rows of {len(columns)} columns")
    return Table(columns, rows)
