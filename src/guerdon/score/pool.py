"""A pool of killable workers: tasks in, answers out, in any order.

A thread of its own hands tasks to idle workers and watches the clock of the busy ones, whatever the caller is
doing. A worker that passes a limit is killed with everything it started and replaced; the unit it was at gets
the cause, the others of its task are scored again. A reward that fails this way many times in a row is given
up: its remaining units are not tried.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from multiprocessing.connection import wait
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.errors import RecipeError
from guerdon.score.cells import Cell
from guerdon.score.loading import UNSAID, Traits
from guerdon.score.processes import WorkerProcess
from guerdon.score.spec import Spec
from guerdon.score.worker import IDLE, Setup

_GLANCE = 0.1  # seconds between looks at busy workers
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Limits:
    """What a reward may take before its worker is killed.

    Attributes:
        item_seconds: wall-clock time for one record (or one group); None: any.
        batch_seconds: the same for one call on many.
        memory: bytes a worker may allocate for its rewards; 0: any.
        give_up: failures of this kind in a row after which a reward is not asked any more; 0: never.
    """

    item_seconds: float | None = 10.0
    batch_seconds: float | None = 60.0
    memory: int = 4 << 30
    give_up: int = 10


@dataclass
class Task:
    """Units to be scored by one reward.

    Attributes:
        label: of the reward.
        rollouts: all records of all units, unit after unit.
        sizes: records of every unit.
        units: what the caller calls them.
    """

    label: str
    rollouts: Rollouts
    sizes: list[int]
    units: list[Any]

    def part(self, start: int, stop: int) -> Task:
        """Some of its units."""
        if (start, stop) == (0, len(self.units)):
            return self
        ends = list(accumulate(self.sizes, initial=0))
        rows = self.rollouts.select(np.arange(ends[start], ends[stop]))
        return Task(self.label, rows, self.sizes[start:stop], self.units[start:stop])


@dataclass(frozen=True)
class Answer:
    """What became of some units: cells of all their records, seconds per unit, and what all of them cost."""

    label: str
    units: list[Any]
    sizes: list[int]
    cells: list[Cell]
    seconds: list[float]
    killed: bool = False
    spent: Mapping[str, float] = field(default_factory=dict)


@dataclass
class _Worker:
    process: WorkerProcess
    task: Task | None = None
    ready: bool = False
    base: int = 0  # bytes in memory before the first task


@dataclass
class Pool:
    """Up to `size` worker processes, started as tasks come.

    Args:
        specs: the rewards they shall know.
        size: how many, at least 1.
        limits: what a task may take.
        parts: whether parts of composite rewards are wanted.

    Attributes:
        answers: Answers, or an error that ends the pool.
        killed: workers replaced so far.
    """

    specs: Sequence[Spec]
    size: int
    limits: Limits = field(default_factory=Limits)
    parts: bool = False
    answers: queue.SimpleQueue[Answer | BaseException] = field(default_factory=queue.SimpleQueue)
    killed: int = 0

    def __post_init__(self) -> None:
        self.traits: dict[str, Traits] = {}
        self._incoming: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._waiting: deque[Task] = deque()
        self._workers: list[_Worker] = []
        self._failures: dict[str, int] = {}
        self._given_up: dict[str, str] = {}
        self._homes: dict[str, _Worker] = {}  # of rewards that stay in one worker
        self._closing = False
        self._wake_reader, self._wake = os.pipe()
        self._described = threading.Event()
        self._wanted = False
        self._thread = threading.Thread(target=self._run, name="guerdon-score-pool", daemon=True)
        self._thread.start()

    # -- for the caller --------------------------------------------------------------------------------

    def submit(self, task: Task) -> None:
        """Have a task done; its answers come through `answers`, maybe in several pieces."""
        self._incoming.put(task)
        os.write(self._wake, b"!")

    def describe(self) -> Mapping[str, Traits]:
        """Traits of all rewards as a worker sees them; starts one.

        Raises:
            RecipeError: a reward cannot be imported or made.
        """
        self._wanted = True
        os.write(self._wake, b"!")
        self._described.wait()
        if not self.traits:
            error = self.answers.get()
            assert isinstance(error, BaseException)
            raise error
        return self.traits

    def close(self) -> None:
        """Kill all workers; twice is fine."""
        if self._closing:
            return
        self._closing = True
        os.write(self._wake, b"!")
        self._thread.join()
        os.close(self._wake)
        os.close(self._wake_reader)

    # -- in the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing:
                self._dispatch()
                self._listen()
                self._watch()
        except BaseException as error:
            self.answers.put(error)
        finally:
            for worker in self._workers:
                worker.process.kill()
            self._described.set()

    def _dispatch(self) -> None:
        while not self._incoming.empty():
            self._waiting.append(self._incoming.get())
        for worker in list(self._workers):
            while worker.ready and worker.task is None and (task := self._next(worker)) is not None:
                if task.label in self._given_up:
                    self._answer_all(task, self._given_up[task.label], [0.0] * len(task.sizes))
                    continue
                worker.task = task
                try:
                    worker.process.send(
                        pickle.dumps((task.label, task.rollouts, task.sizes), pickle.HIGHEST_PROTOCOL)
                    )
                except OSError:
                    self._ended(worker)
        starting = sum(not worker.ready for worker in self._workers)
        missing = min(
            len(self._waiting) or int(self._wanted and not self.traits), self.size - len(self._workers)
        )
        for _ in range(missing - starting):
            setup = Setup(self.specs, self.parts, list(sys.path), self.limits.memory, os.getpid())
            self._workers.append(_Worker(WorkerProcess(setup)))

    def _next(self, worker: _Worker) -> Task | None:
        """Take the first task that waits for this worker or for any."""
        for at, task in enumerate(self._waiting):
            if not self.traits[task.label].single or self._homes.setdefault(task.label, worker) is worker:
                del self._waiting[at]
                return task
        return None

    def _listen(self) -> None:
        pipes = {worker.process.pipe: worker for worker in self._workers}
        busy = any(worker.task or not worker.ready for worker in self._workers)
        for source in wait([*pipes, self._wake_reader], _GLANCE if busy else None):
            if source == self._wake_reader:
                os.read(self._wake_reader, 1 << 16)
                continue
            worker = pipes[source]  # type: ignore[index]
            try:
                found = worker.process.receive()
            except (EOFError, OSError):
                self._ended(worker)
                continue
            if worker.ready:
                self._finished(worker, *found)
            else:
                self._started(worker, *found)

    def _started(self, worker: _Worker, kind: str, content: Any) -> None:
        if kind == "broken":
            raise RecipeError(content)
        worker.ready, worker.base = True, worker.process.resident()
        self.traits = content
        self._described.set()

    def _finished(
        self, worker: _Worker, cells: list[Cell], seconds: list[float], spent: dict[str, float]
    ) -> None:
        task, worker.task = worker.task, None
        assert task is not None
        self._failures[task.label] = 0
        self.answers.put(Answer(task.label, task.units, task.sizes, cells, seconds, spent=spent))

    def _watch(self) -> None:
        for worker in list(self._workers):
            unit, seconds = worker.process.now()
            if not worker.ready:
                if time.monotonic() - worker.process.started > _START_SECONDS:
                    raise RecipeError(
                        f"a worker did not finish importing {self._names()} within {_START_SECONDS:.0f} s"
                    )
            elif worker.process.gone():  # what it started may still hold the connection open
                self._ended(worker)
            elif worker.task is not None and unit != IDLE:
                limit = self._limit(worker.task, unit)
                if limit is not None and seconds > limit:
                    self._replace(worker, f"timed out after {limit:g} s", seconds)
                elif self.limits.memory and worker.process.resident() - worker.base > self.limits.memory:
                    self._replace(
                        worker, f"used more than {self.limits.memory / 1e9:.3g} GB of memory", seconds
                    )

    def _limit(self, task: Task, unit: int) -> float | None:
        traits = self.traits[task.label]
        if unit >= 0:
            own, ours = traits.item_seconds, self.limits.item_seconds
        else:
            own, ours = traits.batch_seconds, self.limits.batch_seconds
        return ours if own == UNSAID else own

    def _ended(self, worker: _Worker) -> None:
        """A worker's process is gone, or does not talk to us any more."""
        unit, seconds = worker.process.now()
        if not worker.ready:
            raise RecipeError(f"importing {self._names()} {worker.process.kill()}")
        self._replace(worker, worker.process.kill(), seconds if unit != IDLE else 0.0)

    def _replace(self, worker: _Worker, cause: str, seconds: float) -> None:
        """Kill a worker; the unit it was at gets the cause, the others are tried again."""
        unit, _ = worker.process.now()
        worker.process.kill()
        self._workers.remove(worker)
        self._homes = {label: home for label, home in self._homes.items() if home is not worker}
        self.killed += 1
        task = worker.task
        if task is None:
            return
        n = len(task.units)
        if n == 1:
            unit = 0
        if 0 <= unit < n:
            rest = [task.part(0, unit), task.part(unit + 1, n)]
            self._blame(task.part(unit, unit + 1), cause, seconds)
        else:  # nobody knows which one it was: each alone
            rest = [task.part(i, i + 1) for i in range(n)]
        self._waiting.extendleft(reversed([part for part in rest if part.units]))

    def _blame(self, task: Task, cause: str, seconds: float) -> None:
        self._answer_all(task, cause, [seconds], killed=True)
        failures = self._failures[task.label] = self._failures.get(task.label, 0) + 1
        if failures == self.limits.give_up:
            self._given_up[task.label] = (
                f"not tried: the {failures} before it all failed, the last one {cause}"
            )

    def _answer_all(self, task: Task, cause: str, seconds: list[float], killed: bool = False) -> None:
        cells: list[Cell] = [cause] * sum(task.sizes)
        self.answers.put(Answer(task.label, task.units, task.sizes, cells, seconds, killed))

    def _names(self) -> str:
        return ", ".join(spec.use for spec in self.specs)
