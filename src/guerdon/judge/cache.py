"""ReplyCache: what a judge was paid for once, kept in one SQLite file that several processes share.

Enters: content hashes and replies. Leaves: the replies again. The file holds hashes, model names, replies
and token counts: no prompts and no keys.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guerdon.errors import StoreError
from guerdon.judge.exchange import Reply

_LAYOUT = 1
_CHUNK = 500  # parameters per statement
_BUSY = 30.0  # seconds a writer waits for the others
_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
  key BLOB PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL, labels TEXT,
  prompt_tokens INTEGER, completion_tokens INTEGER, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS claims (key BLOB PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL);
"""
_COLUMNS = "key, text, finish, labels, prompt_tokens, completion_tokens"


def new_owner() -> str:
    """A name for one call to a judge: host, process and a random part."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(6)}"


class ReplyCache:
    """Replies by content hash, and claims on those being asked for right now.

    A claim keeps a second process (or thread) from paying for the same reply: it waits for the first one
    instead. The claims of a process that died are void at once on the same machine, and after their
    lease elsewhere.

    Args:
        path: the SQLite file, made where missing (WAL mode: on a local disk, not on a network share).

    Raises:
        StoreError: the file cannot be opened, or is no such cache.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._fresh()
        self._connection()

    def _fresh(self) -> None:
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None
        self._pid = 0

    def _connection(self) -> sqlite3.Connection:
        if self._open is None or self._pid != os.getpid():  # a connection must not cross a fork
            with self._errors():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._open = self._connect()
                self._pid = os.getpid()
        return self._open

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            layout = connection.execute("PRAGMA user_version").fetchone()[0]
            known = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if layout > _LAYOUT or (layout == 0 and known):
                raise StoreError(
                    f"{self.path} is an SQLite file, but no judge cache of this version: choose another path"
                )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if layout == 0:
                connection.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version = {_LAYOUT};COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"judge cache {self.path}: {error}; is it a cache, is there room, may it be written?"
            ) from error
        except OSError as error:
            raise StoreError(f"judge cache {self.path}: {error.strerror or error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Exclusive use of the file; nothing is kept where the block fails."""
        with self._lock, self._errors():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, Reply]:
        """The replies that are there."""
        found: dict[bytes, Reply] = {}
        wanted = list(keys)
        with self._lock, self._errors():
            connection = self._connection()
            for start in range(0, len(wanted), _CHUNK):
                part = wanted[start : start + _CHUNK]
                marks = ",".join("?" * len(part))
                query = f"SELECT {_COLUMNS} FROM replies WHERE key IN ({marks})"
                found |= {row[0]: _reply(row) for row in connection.execute(query, part)}
        return found

    def claim(self, key: bytes, owner: str, lease: float) -> Reply | bool:
        """Ask for the right to pay for a reply.

        Returns:
            the reply where it is there by now; True where the caller must ask the model and then `put` or
            `release`; False where somebody else is asking.
        """
        with self._transaction() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM replies WHERE key = ?", (key,)).fetchone()
            if row is not None:
                return _reply(row)
            held = connection.execute("SELECT owner, expires FROM claims WHERE key = ?", (key,)).fetchone()
            if held is not None and held[0] != owner and held[1] > time.time() and _alive(held[0]):
                return False
            connection.execute(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (key, owner, time.time() + lease)
            )
            return True

    def put(self, key: bytes, reply: Reply, model: str) -> None:
        """Keep a reply and lift the claim on it; the first reply to a key stays."""
        labels = None if reply.label_logprobs is None else json.dumps(dict(reply.label_logprobs))
        text = (reply.text or "").encode("utf-8", "replace").decode()  # SQLite takes no lone surrogates
        row = (key, model, text, reply.finish, labels, reply.prompt_tokens, reply.completion_tokens)
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO replies VALUES (?,?,?,?,?,?,?,?)", (*row, time.time()))
            connection.execute("DELETE FROM claims WHERE key = ?", (key,))

    def release(self, keys: Sequence[bytes], owner: str) -> None:
        """Lift claims without a reply."""
        if keys:
            with self._transaction() as connection:
                connection.executemany(
                    "DELETE FROM claims WHERE key = ? AND owner = ?", [(key, owner) for key in keys]
                )

    def __len__(self) -> int:
        with self._lock, self._errors():
            return int(self._connection().execute("SELECT count(*) FROM replies").fetchone()[0])

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._open is not None and self._pid == os.getpid():
                self._open.close()
            self._open = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._fresh()


def _reply(row: Sequence[Any]) -> Reply:
    _, text, finish, labels, prompt_tokens, completion_tokens = row
    return Reply(
        text=text,
        finish=finish,
        label_logprobs=None if labels is None else json.loads(labels),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        attempts=0,
        cached=True,
    )


def _alive(owner: str) -> bool:
    """Whether a claim's process may still be running; True where that cannot be known."""
    host, _, rest = owner.partition("/")
    pid = rest.partition("/")[0]
    if host != socket.gethostname() or not pid.isdigit() or os.name != "posix":
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, as somebody else
        return True
    return True
