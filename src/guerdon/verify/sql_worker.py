"""A process that runs queries for another: it may be killed at any moment, and its memory is limited.

    python -m guerdon.verify.sql_worker

Enters on standard input: frames of (query, database, limits) as plain tuples. Leaves on standard output: two
frames per query: ("opened",) when its database is, so that the query's own time starts there, then ("table",
columns, rows) or (failure kind, message). A frame is an 8-byte length and a
pickle of built-in types; reading refuses anything else.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import select
import signal
import struct
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, BinaryIO

from guerdon.verify import sql_duckdb, sql_sqlite
from guerdon.verify.sql_tables import Database, Limits, QueryFailed, Table

_ENGINES = {"sqlite": sql_sqlite, "duckdb": sql_duckdb}
_OWN_MB = 128
"""For Python, an engine's code and its threads."""

_OPEN = {"sqlite": 8, "duckdb": 1}
"""Connections kept open: databases of a data set are asked again and again. DuckDB holds on to memory that
the next query may need."""

_LENGTH = struct.Struct("<Q")


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a frame may hold built-in types only, not {module}.{name}")


def encode(value: Any) -> bytes:
    """One frame."""
    body = pickle.dumps(value, protocol=5)
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Any:
    """The value of a frame's body; built-in types only."""
    return _Plain(io.BytesIO(body)).load()


def read_frame(stream: BinaryIO) -> Any:
    """The next value, or None where the stream ends."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    return decode(stream.read(_LENGTH.unpack(head)[0]))


def frame_length(head: bytes) -> int:
    """Length of the body that follows the first 8 bytes of a frame."""
    return int(_LENGTH.unpack(head)[0])


HEAD = _LENGTH.size


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the stream ends."""
    connections: OrderedDict[Any, Any] = OrderedDict()
    answers.write(encode(("ready",)))
    answers.flush()
    while (request := read_frame(requests)) is not None:
        query, database, limits = request
        for frame in replies(connections, query, Database(*database), Limits(*limits)):
            answers.write(encode(frame))
            answers.flush()


def replies(
    connections: OrderedDict[Any, Any], query: str, database: Database, limits: Limits
) -> Iterator[tuple[Any, ...]]:
    """The two frames for one query; see the module's text."""
    opened, failure = None, None
    try:
        if len(query) > limits.query_characters:
            raise QueryFailed("error", f"the query is longer than {limits.query_characters} characters")
        limit_memory(limits.memory_mb)
        opened = _connection(connections, database, limits)
    except Exception as error:
        failure = error
    yield ("opened",)
    try:
        if failure is not None:
            raise failure
        table = _ENGINES[database.engine].run(opened, query, limits)
        yield ("table", table.columns, table.rows)
    except QueryFailed as error:
        yield (error.kind, error.args[0])
    except MemoryError:
        yield ("memory", f"more than {limits.memory_mb} MB")
    except Exception as error:  # whatever an engine raises is the query's failure
        spent = "can't start new thread" in str(error) or "bad_alloc" in str(error)
        yield ("memory" if spent else "error", f"{type(error).__name__}: {error}")


def _connection(connections: OrderedDict[Any, Any], database: Database, limits: Limits) -> Any:
    stamp = None
    if database.path:
        with contextlib.suppress(OSError):
            found = os.stat(database.path)
            stamp = (found.st_mtime_ns, found.st_size)
    key = (database, limits, stamp)
    if key not in connections:
        while len(connections) >= _OPEN[database.engine]:
            connections.popitem(last=False)[1].close()
        connections[key] = _ENGINES[database.engine].connect(database, limits)
    connections.move_to_end(key)
    return connections[key]


_allowed: int | None = None


def limit_memory(megabytes: int) -> None:
    """Bound the data of this process to what it holds now plus `megabytes` and some for itself, once."""
    global _allowed
    if _allowed is not None:
        return
    _allowed = megabytes
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as file:
            used = int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
        most = used + ((megabytes + _OWN_MB) << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_with_parent(stream: BinaryIO) -> None:
    """Watch, in a thread, for the end of the process that started this one, and end then, also in a query.

    Not by the kernel's parent-death signal: that one fires when the *thread* that started the worker ends.
    """
    parent = os.getppid()
    watched = select.poll()
    watched.register(stream.fileno(), 0)

    def watch() -> None:
        while not watched.poll(500) and os.getppid() == parent:
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def rebuilt(frame: tuple[Any, ...]) -> Table:
    """The table of an answer frame.

    Raises:
        QueryFailed: the frame is a failure.
    """
    if frame[0] != "table":
        raise QueryFailed(frame[0], frame[1])
    return Table(frame[1], frame[2])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the parent, which closes our input
    threading.stack_size(1 << 20)  # a thread's whole stack counts as its process's data
    end_with_parent(sys.stdin.buffer)
    serve(sys.stdin.buffer, sys.stdout.buffer)
