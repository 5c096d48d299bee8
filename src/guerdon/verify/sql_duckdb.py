"""DuckDB, read-only: one SELECT, no files, no extensions, no settings, a deadline by interrupt.

Needs the extra `sql`. Meant to run in the process of `sql_worker`.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import threading
from typing import Any

from guerdon.verify.sql_tables import Database, Limits, QueryFailed, Table, collect

_LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "threads": "1",
    "temp_directory": "",
}


def connect(database: Database, limits: Limits) -> Any:
    """A locked connection: it can read the database and nothing else.

    Raises:
        QueryFailed: duckdb is not installed, the file cannot be opened, or the setup script fails.
    """
    try:
        import duckdb
    except ImportError as error:
        raise QueryFailed("error", "DuckDB needs the extra sql: pip install 'guerdon[sql]'") from error
    settings: dict[str, Any] = {**_LOCKED, "memory_limit": f"{limits.memory_mb}MB"}
    try:
        connection = duckdb.connect(
            database.path or ":memory:", read_only=bool(database.path), config=settings
        )
        if database.setup:
            connection.execute(database.setup)
        connection.execute("SET lock_configuration = true")
    except duckdb.Error as error:
        where = database.path or "the setup script"
        raise QueryFailed(_kind(duckdb, error), f"cannot open {where}: {error}") from error
    return connection


def run(connection: Any, query: str, limits: Limits) -> Table:
    """The table of one SELECT.

    Raises:
        QueryFailed: it fails, is forbidden, or exceeds a limit.
    """
    import duckdb

    late = threading.Event()

    def stop() -> None:
        late.set()
        connection.interrupt()

    timer = threading.Timer(limits.seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        statements = connection.extract_statements(query)
        if not statements:
            raise QueryFailed("error", "there is no statement")
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryFailed("forbidden", "exactly one SELECT is allowed")
        connection.execute("BEGIN TRANSACTION READ ONLY")  # a sequence's nextval() would write
        connection.execute(statements[0])
        columns = tuple(column[0] for column in connection.description)
        return collect(connection, columns, limits, _plain)
    except duckdb.Error as error:
        raise QueryFailed("timeout" if late.is_set() else _kind(duckdb, error), str(error)) from error
    except MemoryError as error:
        raise QueryFailed("memory", f"more than {limits.memory_mb} MB") from error
    finally:
        timer.cancel()
        _leave(connection, duckdb)


def _leave(connection: Any, duckdb: Any) -> None:
    with contextlib.suppress(duckdb.Error):  # there is none where it failed before it began
        connection.execute("ROLLBACK")


def _kind(duckdb: Any, error: Exception) -> str:
    text = str(error)
    if isinstance(error, duckdb.PermissionException) or "read-only" in text or "disabled" in text:
        return "forbidden"
    return "memory" if isinstance(error, duckdb.OutOfMemoryException) else "error"


def _plain(value: Any) -> Any:
    """DuckDB's values as SQLite has them: numbers, text, blobs and NULL; nested ones as text."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
