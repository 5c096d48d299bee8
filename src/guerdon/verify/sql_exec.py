"""Running untrusted queries in worker processes, killed and replaced when a query outlasts its limit.

Two deadlines hold: the engine's own (progress handler, interrupt), which keeps the worker alive, and the
process's, for what the engine cannot interrupt. Workers are shared by all callers of this process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from dataclasses import astuple
from typing import Any

from guerdon.errors import EngineError
from guerdon.verify.sql_tables import Database, Limits, QueryFailed, Table
from guerdon.verify.sql_worker import HEAD, decode, encode, frame_length, rebuilt

GRACE = 1.0
"""Seconds between a query's own deadline and the end of its process."""

START = 60.0
"""Seconds a worker may take to start, and to open a database (fill it, where there is a setup script)."""


def execute(query: str, database: Database, limits: Limits | None = None) -> Table:
    """The table of one read-only query.

    Args:
        query: one SELECT, VALUES or WITH statement; not trusted.
        database: where it runs.
        limits: what it may use.

    Raises:
        QueryFailed: it failed, was forbidden, or exceeded a limit; `kind` says which.
        EngineError: no worker process could be started.
    """
    limits = limits or Limits()
    worker = _POOL.take(database.engine, limits.memory_mb)
    try:
        frame = worker.ask((query, astuple(database), astuple(limits)), limits.seconds + GRACE)
    finally:
        _POOL.give_back(worker)
    return rebuilt(frame)


class _Worker:
    """Handle of one worker process."""

    def __init__(self, kind: tuple[str, int]) -> None:
        self.kind, self.alive = kind, True
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "guerdon.verify.sql_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                bufsize=0,
            )
        except OSError as error:
            raise EngineError(f"cannot start a process for SQL queries: {error}") from error
        try:
            self._read(time.monotonic() + START)
        except QueryFailed as error:
            self.close()
            raise EngineError(f"a process for SQL queries did not start: {error}") from error

    def ask(self, request: Any, seconds: float) -> tuple[Any, ...]:
        """The answer frame; where none comes in time the process is killed and the frame is a failure."""
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(encode(request))
            self._read(time.monotonic() + START)
            frame = self._read(time.monotonic() + seconds)
            if frame[0] == "memory":  # what is left of its memory is anyone's guess
                self.close()
            return frame
        except BrokenPipeError:
            failure = QueryFailed("crash", "its process died")
        except QueryFailed as error:
            failure = error
        except BaseException:  # Ctrl-C: the answer that is still to come must not be the next one's
            self.close()
            raise
        self.close()
        return (failure.kind, failure.args[0])

    def _read(self, deadline: float) -> tuple[Any, ...]:
        return decode(self._bytes(frame_length(self._bytes(HEAD, deadline)), deadline))

    def _bytes(self, n: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        parts, got = [], 0
        while got < n:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise QueryFailed("timeout", "killed: it did not stop at its deadline")
            part = os.read(pipe, min(n - got, 1 << 20))
            if not part:
                raise QueryFailed("crash", "its process died")
            parts.append(part)
            got += len(part)
        return b"".join(parts)

    def runs(self) -> bool:
        """False where the process has ended by itself (killed for memory by the system, say)."""
        if self._process.poll() is not None:
            self.close()
        return self.alive

    def close(self) -> None:
        """Kill the process and wait until it is gone."""
        self.alive = False
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()


class _Pool:
    """Idle workers of this process; one is started where none is idle."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._idle: list[_Worker] = []
        self._owner = os.getpid()

    def take(self, engine: str, memory_mb: int) -> _Worker:
        kind = (engine, memory_mb)  # an engine's memory counts against no other's queries
        with self._lock:
            if self._owner != os.getpid():  # after a fork the pipes belong to the parent
                self._idle, self._owner = [], os.getpid()
            self._idle = [worker for worker in self._idle if worker.runs()]
            for i, worker in enumerate(self._idle):
                if worker.kind == kind:
                    return self._idle.pop(i)
        return _Worker(kind)

    def give_back(self, worker: _Worker) -> None:
        surplus = None
        with self._lock:
            if worker.alive:
                self._idle.append(worker)
                surplus = self._idle.pop(0) if len(self._idle) > self._most else None
        if surplus is not None:
            surplus.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        if self._owner == os.getpid():
            for worker in idle:
                worker.close()


_POOL = _Pool(most=2 * max(2, os.cpu_count() or 2))
atexit.register(_POOL.close)


def close_workers() -> None:
    """End all idle workers; the next query starts a new one."""
    _POOL.close()
