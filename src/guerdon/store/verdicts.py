"""A cache of verdicts in one SQLite file, shared by any number of processes.

A verdict is kept under two keys: the *reward* (a fingerprint of its name, version and parameters, kept once)
and the *content* (a digest of what the reward read). Verdicts are plain numbers, or text where there is more
to say. The file is in write-ahead mode: readers never wait, writers take turns of a few milliseconds.
Everything goes in batches. An object belongs to the process that made it, and to one thread at a time.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from guerdon.errors import StoreError
from guerdon.store.snapshot import Snapshot

Verdicts = dict[bytes, float | str]

_FORMAT = 1  # PRAGMA user_version: what the tables look like
_ASKED = 900  # keys in one question; SQLite before 3.32 takes 999 parameters
_SIZES = (1, 8, 64, 256, _ASKED)  # few different statements, so that each is compiled once
_BUFFERED = 8192  # verdicts written in one transaction
_IN_MEMORY = 4_000_000  # verdicts of one reward, about 100 MB
_WORTH = 4  # reading a verdict in order costs a quarter of looking one up
_TABLES = (
    "CREATE TABLE IF NOT EXISTS rewards (id INTEGER PRIMARY KEY, fingerprint BLOB UNIQUE NOT NULL, "
    "name TEXT, version TEXT)",
    "CREATE TABLE IF NOT EXISTS verdicts (reward INTEGER, content BLOB, verdict, "
    "PRIMARY KEY (reward, content)) WITHOUT ROWID",
    f"PRAGMA user_version = {_FORMAT}",
)


def default_path() -> Path:
    """Where verdicts are kept unless told otherwise: $GUERDON_CACHE, or the user's cache folder."""
    folder = os.environ.get("GUERDON_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(folder) if folder else base / "guerdon") / "verdicts.sqlite"


class VerdictCache:
    """Verdicts on disk.

    Args:
        path: the file; it and its folder are made where missing. Not on a network file system: SQLite's
            write-ahead mode needs memory shared by all its processes.
        patience: seconds to wait for other writers.
        megabytes: memory for pages of the file.

    Raises:
        StoreError: the file cannot be opened, is damaged, or is no verdict cache.
    """

    def __init__(self, path: str | Path, patience: float = 60.0, megabytes: int = 64) -> None:
        self.path = Path(path)
        self._waiting: dict[int, Verdicts] = {}
        self._snapshots: dict[int, Snapshot] = {}
        self._count = 0
        with self._errors("opened"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self.path, timeout=patience, isolation_level=None, check_same_thread=False
            )
        try:
            with self._errors("opened"):
                self._prepare(time.monotonic() + patience, megabytes)
        except BaseException:
            self._database.close()
            raise

    def _prepare(self, deadline: float, megabytes: int) -> None:
        # In this order: whoever makes the tables sets the version in the same transaction.
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (found,) = self._database.execute("PRAGMA user_version").fetchone()
        if found != _FORMAT and (found or tables):
            raise StoreError(
                f"{self.path} is no verdict cache of this version (format {found}, expected {_FORMAT}); "
                "delete it or choose another file"
            )
        while True:  # SQLite does not wait by itself while several processes switch to write-ahead mode
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        # A power cut may cost the newest verdicts, never the file; they would be computed anew.
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(f"PRAGMA cache_size = -{megabytes * 1024}")
        if not found:
            with self._transaction():
                for statement in _TABLES:
                    self._database.execute(statement)

    def reward(self, fingerprint: bytes, name: str = "", version: str = "") -> int:
        """The number under which a reward's verdicts are kept, made when first asked for.

        Args:
            fingerprint: digest of all that verdicts depend on besides the content.
            name, version: for people who look into the file.
        """
        question = "SELECT id FROM rewards WHERE fingerprint = ?"
        with self._errors("read"):
            found = self._database.execute(question, (fingerprint,)).fetchone()
            if found is None:
                with self._transaction():
                    self._database.execute(
                        "INSERT OR IGNORE INTO rewards (fingerprint, name, version) VALUES (?, ?, ?)",
                        (fingerprint, name, version),
                    )
                found = self._database.execute(question, (fingerprint,)).fetchone()
        return int(found[0])

    def expect(self, reward: int, questions: int) -> None:
        """Prepare for about so many contents to be asked for.

        Where there are no more verdicts than a few times as many, and at most some millions, they are
        read into memory (24 bytes each) at once; what is not found there is still looked up in the file.
        """
        most = min(questions * _WORTH, _IN_MEMORY)
        with self._errors("read"):
            question = "SELECT count(*) FROM (SELECT 1 FROM verdicts WHERE reward = ? LIMIT ?)"
            (count,) = self._database.execute(question, (reward, most + 1)).fetchone()
            if 0 < count <= most:
                rows = "SELECT content, verdict FROM verdicts WHERE reward = ? ORDER BY content"
                self._snapshots[reward] = Snapshot(self._database.execute(rows, (reward,)))

    def get(self, reward: int, contents: Sequence[bytes]) -> Verdicts:
        """The verdicts known on some contents, as a mapping; the others are not in it.

        Args:
            reward: see `reward`.
            contents: digests of 16 bytes, where `expect` was called.
        """
        snapshot = self._snapshots.get(reward)
        found: Verdicts = {} if snapshot is None else {**snapshot.get(contents)}
        if len(found) == len(contents):
            return found
        if found:
            contents = [content for content in contents if content not in found]
        with self._errors("read"):
            for start in range(0, len(contents), _ASKED):
                asked = contents[start : start + _ASKED]
                size = next(size for size in _SIZES if size >= len(asked))
                filled = (reward, *asked, *[asked[0]] * (size - len(asked)))
                found.update(self._database.execute(_question(size), filled))
        waiting = self._waiting.get(reward)
        if waiting:
            found.update((content, waiting[content]) for content in contents if content in waiting)
        return found

    def put(self, reward: int, verdicts: Mapping[bytes, float | str]) -> None:
        """Keep verdicts; they are in memory until enough have come together, see `flush`."""
        self._waiting.setdefault(reward, {}).update(verdicts)
        self._count += len(verdicts)
        if self._count >= _BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Write what waits in memory.

        Raises:
            StoreError: the disk is full, or another process kept the file locked all the time. What
                was to be written is dropped then.
        """
        waiting, self._waiting, self._count = self._waiting, {}, 0
        rows = [
            (reward, content, found[content])
            for reward, found in waiting.items()
            for content in sorted(found)
        ]
        if rows:
            with self._errors("written"), self._transaction():
                self._database.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?)", rows)

    def __len__(self) -> int:
        with self._errors("read"):
            (count,) = self._database.execute("SELECT count(*) FROM verdicts").fetchone()
        return int(count) + self._count

    def close(self) -> None:
        """Write what waits and let go of the file; twice is fine."""
        try:
            self.flush()
        finally:
            self._database.close()

    def __enter__(self) -> VerdictCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")  # asks for the right to write now, when waiting is possible
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            advice = "another process writes to it" if "locked" in str(error) else "choose another file"
            raise StoreError(f"the verdict cache {self.path} cannot be {what}: {error}; {advice}") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"the verdict cache {self.path} is damaged ({error}); delete it, and verdicts are made anew"
            ) from error
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(
                f"the verdict cache {self.path} cannot be {what}: {error.strerror or error}"
            ) from error


def _question(size: int) -> str:
    places = ",".join("?" * size)
    return f"SELECT content, verdict FROM verdicts WHERE reward = ? AND content IN ({places})"
