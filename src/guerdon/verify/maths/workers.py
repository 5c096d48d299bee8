"""Killable worker processes for what needs a computer algebra system.

Workers are started when first needed, live long, and are killed (SIGKILL) and replaced when an item passes
its wall-clock budget. A pool may be used from any thread and from async code; signals are not used.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import itertools
import json
import os
import queue
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

START_SECONDS = 120.0
MEMORY = 4 << 30
RECYCLE = 20_000
NEEDS = "needs math-verify"
INSTALL = "pip install 'guerdon[math]'"


def available() -> bool:
    """Whether math-verify is installed."""
    return importlib.util.find_spec("math_verify") is not None


class WorkerError(Exception):
    """A worker gave no reply; the argument is the cause."""


class Worker:
    """One process and the pipe to it. Not safe for use by two threads at once."""

    def __init__(self, memory: int = MEMORY) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "guerdon.verify.maths.worker", str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        self.ready = False
        self.served = 0
        self._buffer = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]

    def ask(self, request: Mapping[str, Any], budget: float) -> dict[str, Any]:
        """Send a request and wait for its reply.

        Raises:
            WorkerError: "timeout" when the budget passes, "worker died" when the process ends.
        """
        if not self.ready:
            self._line(START_SECONDS)
            self.ready = True
        self.served += 1
        try:
            self.process.stdin.write(json.dumps({**request, "budget": budget}).encode() + b"\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except OSError:
            raise WorkerError("worker died") from None
        return json.loads(self._line(budget))

    def _line(self, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not self._selector.select(left):
                raise WorkerError("timeout")
            data = os.read(self.process.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
            if not data:
                raise WorkerError("worker died")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def kill(self) -> None:
        """End the process at once and collect it."""
        self._selector.close()
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self.process.wait()


class Pool:
    """A fixed number of workers, handed out one item at a time.

    Args:
        size: worker processes.
        memory: bytes of address space each may use.
    """

    def __init__(self, size: int, memory: int = MEMORY) -> None:
        self.size, self.memory = size, memory
        self.restarts = 0
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        self._all: set[Worker] = set()
        self._lock = threading.Lock()
        for _ in range(size):
            self._idle.put(None)  # a worker that is not started yet

    def ask(self, request: Mapping[str, Any], budget: float) -> dict[str, Any]:
        """One request on the next free worker; a cause instead of a reply where there is none.

        Args:
            budget: wall-clock seconds from the moment a worker takes it.
        """
        worker = self._idle.get()
        try:
            if worker is None:
                worker = self._started()
            reply = worker.ask(request, budget)
        except WorkerError as error:
            self._replace(worker)
            return {
                "cause": str(error),
                "why": f"no reply within {budget:g} s" if str(error) == "timeout" else "",
            }
        except BaseException:
            self._replace(worker)
            raise
        if worker.served >= RECYCLE:
            self._replace(worker, counted=False)
        else:
            self._idle.put(worker)
        return reply

    def _started(self) -> Worker:
        worker = Worker(self.memory)
        with self._lock:
            self._all.add(worker)
        return worker

    def _replace(self, worker: Worker | None, counted: bool = True) -> None:
        """Kill a worker and start its successor, which imports while others work."""
        fresh: Worker | None = None
        try:
            if worker is not None:
                with self._lock:
                    self._all.discard(worker)
                    self.restarts += counted
                worker.kill()
                fresh = self._started()
        finally:
            self._idle.put(fresh)

    def map(self, requests: Sequence[Mapping[str, Any]], budget: float) -> list[dict[str, Any]]:
        """All requests, spread over the workers; an item is taken only when a worker is free for it."""
        if len(requests) <= 1:
            return [self.ask(request, budget) for request in requests]
        replies: list[dict[str, Any]] = [{} for _ in requests]
        turns = itertools.count()
        failures: list[BaseException] = []

        def serve() -> None:
            try:
                while not failures and (turn := next(turns)) < len(requests):
                    replies[turn] = self.ask(requests[turn], budget)
            except BaseException as error:  # re-raised in the caller's thread
                failures.append(error)

        threads = [threading.Thread(target=serve, daemon=True) for _ in range(min(self.size, len(requests)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return replies

    def processes(self) -> list[int]:
        """Identifiers of the running worker processes."""
        with self._lock:
            return [worker.process.pid for worker in self._all]

    def close(self) -> None:
        """Kill all workers; the next request starts new ones."""
        with self._lock:
            workers, self._all = list(self._all), set()
        while True:
            try:
                self._idle.get_nowait()
            except queue.Empty:
                break
        for worker in workers:
            worker.kill()
        for _ in range(self.size):
            self._idle.put(None)


_POOLS: dict[tuple[int, int, int], Pool] = {}
_POOLS_LOCK = threading.Lock()


def shared_pool(size: int | None = None, memory: int = MEMORY) -> Pool:
    """The pool of this process with so many workers (default: one per processor, at most eight)."""
    size = size or min(8, os.cpu_count() or 1)
    key = (os.getpid(), size, memory)  # a forked child must not talk to its parent's workers
    with _POOLS_LOCK:
        return _POOLS.setdefault(key, Pool(size, memory)) if key not in _POOLS else _POOLS[key]


def shutdown() -> None:
    """Kill the workers of all shared pools of this process."""
    with _POOLS_LOCK:
        pools = [pool for key, pool in _POOLS.items() if key[0] == os.getpid()]
    for pool in pools:
        pool.close()


atexit.register(shutdown)
