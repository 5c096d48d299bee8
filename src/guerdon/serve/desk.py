"""The desk: one thread through which all scoring goes, so that work asked for twice is done once.

Enters: chunks of records from any number of requests. Leaves: one object of signals per record, told to
whoever asked. The thread owns what `guerdon score` owns in its run: ledgers (known verdicts, duplicates, who
waits for what) and the answers of the workers; it reads the verdict cache, see `guerdon.serve.keeping`.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from guerdon.errors import DataError, GuerdonError
from guerdon.score import content
from guerdon.score.calling import Caller, NoClock
from guerdon.score.cells import TOTAL, cause_of
from guerdon.score.chunk import Chunk
from guerdon.score.ledger import Ledger, Pending, Plan, Shelf
from guerdon.score.pool import Answer, Pool, Task
from guerdon.score.settle import Settler
from guerdon.score.splice import Item, stream
from guerdon.score.tally import RewardTally
from guerdon.serve.keeping import Keeper
from guerdon.serve.quick import is_short

_log = logging.getLogger("guerdon.serve")

Signals = dict[str, dict[str, Any]]
"""Signal name -> {level, values, causes?}, as in a record."""
Told = Callable[["Scored | Exception"], object]


@dataclass(frozen=True)
class Scored:
    """What became of a chunk.

    Attributes:
        signals: one object per record.
        tallies: label -> what happened.
    """

    signals: list[Signals]
    tallies: dict[str, RewardTally]


@dataclass
class _Job:
    """A chunk that waits for its verdicts."""

    chunk: Chunk
    plans: Sequence[Plan]
    told: Told
    pending: Pending = field(init=False)

    def __post_init__(self) -> None:
        self.pending = Pending(self.chunk)

    def tell(self, outcome: Scored | Exception) -> None:
        """Tell whoever asked, if they are still there."""
        with contextlib.suppress(RuntimeError):  # their event loop has ended
            self.told(outcome)


class Desk:
    """Scores chunks until it is closed.

    Args:
        plans: the rewards that are served.
        pool: workers for them; None where all are called in the desk's thread.
        keeper: of verdicts; the desk's from now on.
        parts: whether parts of composite rewards are wanted.
        notes: collects what people should know.

    Attributes:
        plans: label -> plan.
        broken: why nothing can be scored any more, None while all is well.
        notes: what people should know.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        pool: Pool | None,
        keeper: Keeper | None,
        parts: bool = False,
        notes: list[str] | None = None,
    ) -> None:
        self.plans = {plan.label: plan for plan in plans}
        self.broken: str | None = None
        self.notes = notes if notes is not None else []
        self._pool, self._keeper, self._logged = pool, keeper, len(self.notes)
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue() if pool is None else pool.answers
        self._jobs: list[_Job] = []
        self._closing = False
        self._ledgers = {plan.label: Ledger(plan, Shelf(keeper, plan, self.notes)) for plan in plans}
        self._callers = {
            plan.label: _caller(plan, parts)
            for plan in plans
            if plan.reward is not None and (pool is None or plan.traits.where == "main" or plan.traits.quick)
        }
        self._thread = threading.Thread(target=self._run, name="guerdon-serve-desk", daemon=True)
        self._thread.start()

    # -- for callers in any thread ------------------------------------------------------------------------

    def submit(self, chunk: Chunk, labels: Sequence[str], told: Told) -> None:
        """Have a chunk scored.

        Args:
            chunk: whole groups where a reward needs them.
            labels: of the rewards.
            told: called once, in the desk's thread, with the result or with what went wrong.
        """
        self._inbox.put(_Job(chunk, [self.plans[label] for label in labels], told))

    @property
    def replaced(self) -> int:
        """Workers killed so far."""
        return 0 if self._pool is None else self._pool.killed

    def close(self) -> None:
        """Answer what was submitted, write what is known, end the workers."""
        self._inbox.put(None)
        self._thread.join()
        if self._keeper is not None:
            self._keeper.close()
        if self._pool is not None:
            self._pool.close()

    # -- in the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not (self._closing and not self._jobs and self._inbox.empty()):
            try:
                self._take(self._inbox.get())
                self._deliver()
                self._log_notes()
            except Exception as error:  # a fault of ours: nobody is to wait for ever because of it
                self._break(error)

    def _take(self, item: Any) -> None:
        if item is None:
            self._closing = True
        elif isinstance(item, _Job):
            self._begin(item)
        elif isinstance(item, Answer):
            self._ledgers[item.label].settle(item)
        else:  # the pool has ended
            self._break(item)

    def _break(self, error: BaseException) -> None:
        """Nothing can be scored any more; whoever waits is told, and the health route says so."""
        self.broken = f"{type(error).__name__}: {error}"
        for job in self._jobs:
            job.tell(GuerdonError(f"scoring has ended: {self.broken}"))
        self._jobs = []

    def _begin(self, job: _Job) -> None:
        try:
            if self.broken:
                raise GuerdonError(f"scoring has ended: {self.broken}")
            for plan in job.plans:
                if plan.traits.sample and not job.chunk.has_text():
                    raise DataError(
                        f"reward {plan.label!r} reads text, but the records have no 'completion', only tokens"
                    )
            asked = [(plan.traits, plan.reward) for plan in job.plans]
            found = content.together(job.chunk, asked, list(self._ledgers))
            if not all(plan.traits.sample and plan.traits.shape == "sample" for plan in job.plans):
                job.chunk.rollouts(range(len(job.chunk)), None)  # before others can wait for this work
        except Exception as error:  # whatever a record holds is told to who sent it, and to nobody else
            job.tell(error)
            return
        self._jobs.append(job)
        for plan, digests in zip(job.plans, found, strict=True):
            for task in self._ledgers[plan.label].begin(job.pending, digests):
                self._give(plan.label, task)

    def _give(self, label: str, task: Task) -> None:
        if self._pool is not None and not self._is_done_here(task):
            self._pool.submit(task)
            return
        cells, seconds, spent = self._callers[label](task.rollouts, task.sizes)
        answer = Answer(label, task.units, task.sizes, cells, seconds, spent=spent)
        self._ledgers[label].settle(answer)

    def _is_done_here(self, task: Task) -> bool:
        if task.label not in self._callers:
            return False
        return self.plans[task.label].traits.where == "main" or is_short(task.rollouts)

    def _deliver(self) -> None:
        """Tell those whose chunks are complete."""
        done = [job for job in self._jobs if not job.pending.open]
        if not done:
            return
        self._jobs = [job for job in self._jobs if job.pending.open]
        for job in done:
            try:
                outcome: Scored | Exception = _scored(job)
            except Exception as error:
                outcome = error
            job.tell(outcome)

    def _log_notes(self) -> None:
        for note in self.notes[self._logged :]:
            _log.warning("going on without the verdict cache: %s", note)
        self._logged = len(self.notes)


def _caller(plan: Plan, parts: bool) -> Caller:
    """One for the desk's thread; a quick reward is asked for many records in one call."""
    traits = replace(plan.traits, together=True) if plan.traits.quick else plan.traits
    return Caller(plan.reward, traits, parts, NoClock())


def _scored(job: _Job) -> Scored:
    """The cells of a chunk as signals, failure policies applied."""
    signals: list[Signals] = [{} for _ in range(len(job.chunk))]
    for plan in job.plans:
        cells: Any = job.pending.cells[plan.label]
        settler = Settler(plan.label, plan.policy, "rollout" if plan.traits.sample else None, {})
        items = settler.settle(job.chunk, cells, job.pending.tallies[plan.label], "record")
        for into, cell, item in zip(signals, cells, items, strict=True):
            into |= _signals(plan.label, item, cause_of(cell))
    return Scored(signals, job.pending.tallies)


def _signals(label: str, item: Item, cause: str | None) -> Signals:
    if isinstance(item, float):
        return {label: {"level": "rollout", "values": [item]}}
    if item is None:  # no value, and nobody knows how many there would have been
        item = {TOTAL: ["rollout", [None], {0: cause}]}
    return {
        stream(label, output): {"level": level, "values": values}
        | ({"causes": {str(at): why for at, why in causes.items()}} if causes else {})
        for output, (level, values, causes) in item.items()
    }
