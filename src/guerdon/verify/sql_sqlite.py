"""SQLite, read-only: an authorizer that knows reading only, hard limits, a deadline inside the engine.

Standard library only. Meant to run in the process of `sql_worker`, which is killed where one step of the
engine (a pathological LIKE, say) outlasts the deadline.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

from guerdon.verify.sql_tables import Database, Limits, QueryFailed, Table, collect

_STEPS = 1000
"""Virtual machine instructions between two looks at the clock (some 10 microseconds)."""

_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_PRAGMAS = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"}
_TABLES = ("json_each", "json_tree", *(f"pragma_{name}" for name in sorted(_PRAGMAS)))
_SETUP_PRAGMAS = {"foreign_keys", "defer_foreign_keys", "encoding", "user_version", "case_sensitive_like"}
_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}


def connect(database: Database, limits: Limits) -> sqlite3.Connection:
    """A locked connection: it can read the database and nothing else.

    Raises:
        QueryFailed: the file cannot be opened, or the setup script fails.
    """
    try:
        if database.path:
            uri = f"file:{quote(str(Path(database.path).absolute()))}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        else:
            connection = sqlite3.connect(":memory:", isolation_level=None)
            connection.set_authorizer(_authorize_setup)
            connection.executescript(database.setup)
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise QueryFailed("error", f"cannot open {database.path or 'the setup script'}: {error}") from error
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    for limit, value in (
        (sqlite3.SQLITE_LIMIT_LENGTH, limits.value_bytes),
        (sqlite3.SQLITE_LIMIT_SQL_LENGTH, limits.query_characters * 4),
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
        (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200),
        (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 200),
        (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
        (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
    ):
        connection.setlimit(limit, value)
    for table in _TABLES:  # made known now: their first use looks like a write to the schema
        with contextlib.suppress(sqlite3.Error):
            connection.execute(f"SELECT 1 FROM {table}('')")
    connection.set_authorizer(_authorize)
    return connection


def run(connection: sqlite3.Connection, query: str, limits: Limits) -> Table:
    """The table of one statement.

    Raises:
        QueryFailed: it fails, is forbidden, or exceeds a limit.
    """
    deadline = time.monotonic() + limits.seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    cursor = None
    try:
        cursor = connection.execute(query)
        if cursor.description is None:
            raise QueryFailed("error", "the statement returns no table")
        return collect(cursor, tuple(column[0] for column in cursor.description), limits)
    except (sqlite3.Error, sqlite3.Warning, UnicodeError, ValueError) as error:
        raise QueryFailed(_kind(str(error), time.monotonic() > deadline), str(error)) from error
    except MemoryError as error:
        raise QueryFailed("memory", f"more than {limits.memory_mb} MB") from error
    finally:
        connection.set_progress_handler(None, 0)
        if cursor is not None:
            cursor.close()


def _authorize(
    action: int, first: str | None, second: str | None, base: str | None, inner: str | None
) -> int:
    if action in _READING:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if (second or "").lower() in _FUNCTIONS else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in _PRAGMAS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _authorize_setup(
    action: int, first: str | None, second: str | None, base: str | None, inner: str | None
) -> int:
    """A setup script may fill its own database; other files and settings are none of its business."""
    if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_PRAGMA:
        return sqlite3.SQLITE_OK if (first or "").lower() in _SETUP_PRAGMAS else sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _kind(message: str, late: bool) -> str:
    if "interrupted" in message:
        return "timeout" if late else "error"
    if (
        "not authorized" in message
        or "prohibited" in message
        or "readonly" in message
        or "one statement" in message
    ):
        return "forbidden"
    return "memory" if "out of memory" in message else "error"
