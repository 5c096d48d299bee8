"""Reward for SQL: the result of a query against the result of the reference query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.composite import Composite, absent, given
from guerdon.verify.once import Once
from guerdon.verify.sql_compare import same_table
from guerdon.verify.sql_exec import execute
from guerdon.verify.sql_parse import find_sql, is_ordered
from guerdon.verify.sql_tables import Database, Limits, QueryFailed, Table

_SUFFIXES = {"sqlite": (".sqlite", ".db", ".sqlite3"), "duckdb": (".duckdb", ".db", ".ddb")}
_REMEMBERED = 512
_SMALL = 20_000
"""Cells of a reference table that is remembered."""


class Unscorable(Exception):
    """A row that cannot be scored; the message is the cause."""


@dataclass
class Runner:
    """Finds a row's database, runs queries on it, and remembers the results of reference queries.

    Attributes:
        engine: "sqlite" or "duckdb", also the SQL dialect.
        root: folder of databases, looked up by `db_id`: root/ID/ID.sqlite or root/ID.sqlite (.db, .duckdb).
        database: file for rows that name none.
        limits: of every query.
    """

    engine: str = "sqlite"
    root: str | None = None
    database: str | None = None
    limits: Limits = field(default_factory=Limits)
    _golds: Once = field(default_factory=lambda: Once(_REMEMBERED), repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.engine not in _SUFFIXES:
            raise RecipeError(f"SQL engine must be one of {', '.join(_SUFFIXES)}, got {self.engine!r}")

    def database_of(self, row: Row) -> Database:
        """Where a row's queries run: `setup` (script), `db` or `db_path` (file), `db_id` (in root), default.

        Raises:
            Unscorable: none is named, or the file does not exist.
        """
        setup = given(row, "setup")
        if setup is not None:
            return Database(self.engine, setup=str(setup))
        path = given(row, "db", given(row, "db_path"))
        name = given(row, "db_id")
        if path is None and name is not None and self.root is not None:
            path = self._by_name(str(name))
        path = self.database if path is None else path
        if path is None:
            raise Unscorable("no database: expected meta['db'], ['db_id'] with root, or ['setup']")
        if not Path(path).is_file():
            raise Unscorable(f"the database file {str(path)!r} does not exist")
        return Database(self.engine, path=str(path))

    def _by_name(self, name: str) -> Path:
        if Path(name).name != name or name in ("", ".", ".."):
            raise Unscorable(f"db_id {name!r} is no plain name")
        root = Path(self.root or ".")
        tried = [folder / f"{name}{end}" for end in _SUFFIXES[self.engine] for folder in (root / name, root)]
        found = next((path for path in tried if path.is_file()), None)
        if found is None:
            raise Unscorable(f"no database for db_id {name!r} under {root}")
        return found

    def gold(self, row: Row, database: Database) -> tuple[Table, str | None]:
        """The table of a row's reference, and the reference query where it is one.

        The reference (or its "sql", "query", "gold_sql") is a query; or a mapping with "columns" and "rows".

        Raises:
            Unscorable: there is none, or it does not run.
        """
        if isinstance(row.reference, Mapping) and "rows" in row.reference:
            return table_of(row.reference), None
        query = gold_query(row)
        if query is None:
            raise Unscorable("no reference: expected a SQL query, or a mapping with rows")
        found: Table | QueryFailed = self._golds.get(
            (query, database, self._stamp(database)),
            partial(self.predicted, query, database),
            keep=lambda r: isinstance(r, QueryFailed) or len(r.rows) * len(r.columns) <= _SMALL,
        )
        if isinstance(found, QueryFailed):
            raise Unscorable(f"the reference query failed: {found}")
        return found, query

    @staticmethod
    def _stamp(database: Database) -> tuple[int, int] | None:
        if not database.path:
            return None
        stat = Path(database.path).stat()
        return stat.st_mtime_ns, stat.st_size

    def predicted(self, query: str | None, database: Database) -> Table | QueryFailed:
        """The table of a predicted query, or how it failed."""
        if not query:
            return QueryFailed("error", "no query found in the completion")
        try:
            return execute(query, database, self.limits)
        except QueryFailed as failure:
            return failure


def gold_query(row: Row) -> str | None:
    """The reference query of a row; None where it has none."""
    query = row.reference if isinstance(row.reference, str) else None
    for name in ("sql", "query", "gold_sql", "SQL"):
        query = query or given(row, name)
    return None if absent(query) else str(query)


def table_of(value: Mapping[str, Any]) -> Table:
    """A table from a mapping with "rows" (lists of cells, or mappings) and optionally "columns".

    Raises:
        Unscorable: rows of different widths.
    """
    rows = list(value["rows"])
    if rows and isinstance(rows[0], Mapping):
        columns = tuple(map(str, value.get("columns", rows[0])))
        return Table(columns, [tuple(row.get(column) for column in columns) for row in rows])
    cells: list[tuple[Any, ...]] = [tuple(row) if isinstance(row, Sequence) else (row,) for row in rows]
    width = len(cells[0]) if cells else 0
    columns = tuple(map(str, value.get("columns", range(width))))
    if any(len(row) != len(columns) for row in cells):
        raise Unscorable("the rows of the reference table differ in width")
    return Table(columns, cells)


def sql(
    engine: str = "sqlite",
    root: str | None = None,
    database: str | None = None,
    order: str = "auto",
    columns: str = "position",
    duplicates: str = "keep",
    tolerance: float = 1e-6,
    seconds: float = 5.0,
    rows: int = 100_000,
    memory_mb: int = 512,
    workers: int = 1,
    on_error: str | float = "nan",
) -> Composite:
    """1 where the completion's query gives the table of the reference query, else 0.

    Queries run read-only in processes that are killed at their limits; writing, attaching, loading and
    reading files are refused. A query that fails scores 0; `meta` of its verdict says how. Parts: `match`
    and `executes` (the query ran; weight 0).

    Args:
        engine: "sqlite" or "duckdb".
        root, database: where databases lie, see `Runner`; a row may carry its own (`db`, `db_id`, `setup`).
        order: "auto" (rows count in order where the reference query has an ORDER BY), "strict", "ignore".
        columns: "position", or "any": some one order of the columns fits.
        duplicates: "keep", or "drop": rows are a set.
        tolerance: of numbers that are not both integers, see `sql_compare`.
        seconds, rows, memory_mb: limits of a query.
        workers: queries run at the same time.
        on_error: what a row without database or reference, or whose reference fails, is worth.
    """
    for name, value, known in (
        ("order", order, ("auto", "strict", "ignore")),
        ("columns", columns, ("position", "any")),
        ("duplicates", duplicates, ("keep", "drop")),
    ):
        if value not in known:
            raise RecipeError(f"verify.sql.{name} must be one of {', '.join(known)}, got {value!r}")
    runner = Runner(engine, root, database, Limits(seconds=seconds, rows=rows, memory_mb=memory_mb))
    score = partial(
        _score, runner=runner, order=order, columns=columns, duplicates=duplicates, tolerance=tolerance
    )
    return Composite(
        "sql",
        partial(in_threads, score=score, workers=workers),
        {"match": 1.0, "executes": 0.0},
        version=f"1-{engine}-{order}-{columns}-{duplicates}-{tolerance}-{seconds}-{rows}-{memory_mb}",
        batch=True,
        bounded=True,
        on_error=on_error,
    )


def in_threads(rows: Sequence[Row], score: Any, workers: int) -> list[Any]:
    """`score` of every row, `workers` at a time; a row that cannot be scored becomes a missing verdict.

    Rows with the same completion, reference and metadata run once: samples of one prompt often agree.
    """
    one = partial(_guarded, score=score)
    keys = [_key(row) for row in rows]
    work = list(dict(zip(keys, rows, strict=True)).values())
    if workers <= 1 or len(work) <= 1:
        found = list(map(one, work))
    else:
        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(one, work))
    by_key = dict(zip(dict.fromkeys(keys), found, strict=True))
    return [dict(result) if isinstance(result, dict) else result for result in map(by_key.__getitem__, keys)]


def _key(row: Row) -> tuple[str, str, str]:
    return row.completion, repr(row.reference), repr(sorted(row.meta.items(), key=lambda item: str(item[0])))


def limited(runner: Runner, **limits: Any) -> Runner:
    """A runner like this one with other limits."""
    return replace(runner, limits=replace(runner.limits, **limits), _golds=Once(_REMEMBERED))


def _guarded(row: Row, score: Any) -> Any:
    try:
        return score(row)
    except Unscorable as cause:
        return missing(str(cause))


def _score(
    row: Row, runner: Runner, order: str, columns: str, duplicates: str, tolerance: float
) -> dict[str, float | Verdict]:
    database = runner.database_of(row)
    gold, query = runner.gold(row, database)
    said = runner.predicted(find_sql(row.completion), database)
    if isinstance(said, QueryFailed):
        return {"match": Verdict(0.0, None, {"failure": str(said)}), "executes": 0.0}
    dialect = runner.engine
    ordered = order == "strict" or (order == "auto" and query is not None and is_ordered(query, dialect))
    return {"match": float(same_table(gold, said, ordered, columns, duplicates, tolerance)), "executes": 1.0}
