"""Records through rewards: chunks in, scored chunks out, in order, as many under way as memory allows.

    source -> chunks -> ledgers (known verdicts, duplicates) -> pool of workers -> settled -> sink -> commit

The caller's thread does everything but the scoring. It reads no further than a few chunks ahead of the oldest
one that still waits, so that a slow reward holds up the reader and not the memory.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guerdon.context import Context
from guerdon.errors import DataError, StoreError
from guerdon.score import content
from guerdon.score.calling import Caller, NoClock
from guerdon.score.chunk import Chunk
from guerdon.score.engines import check_chunk
from guerdon.score.ledger import Ledger, Pending, Plan, Shelf
from guerdon.score.pool import Answer, Pool, Task
from guerdon.score.settle import Settler
from guerdon.score.sinks import Sink
from guerdon.score.tally import RewardTally, Tally
from guerdon.store.verdicts import VerdictCache

_AHEAD = 4  # chunks
_FEWEST, _MOST, _FIRST = 64, 8192, 512  # records in a chunk
_CHUNK_SECONDS, _LOOK_SECONDS = 0.5, 0.1
_WAIT = 0.2  # seconds between looks at `stop`


@dataclass
class Progress:
    """How far a run got; all of it is plain JSON in `dump`.

    Attributes:
        after: position in the input behind the last record that was written.
        tally: what happened up to there.
        streams: signals of the output: name -> (level, whether causes occur).
    """

    after: dict[str, Any] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    streams: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"after": self.after, "tally": self.tally.dump(), "streams": self.streams}

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Progress:
        """The progress that `dump` made plain; {} is the beginning."""
        if not data:
            return cls()
        streams = {name: (level, bool(caused)) for name, (level, caused) in data["streams"].items()}
        return cls(dict(data["after"]), Tally.load(data["tally"]), streams)


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, and did so where nothing is half done."""


class Pipeline:
    """Scores chunks with several rewards.

    Args:
        plans: the rewards.
        pool: workers for them; None where all are called in this process.
        cache: of verdicts, None for none.
        parts: whether parts of composite rewards are wanted.
        progress: where to go on.
        where: the input and what its numbers count, for messages ("rollouts.jsonl line").
        notes: collects what people should know about the run.
        records: about how many there are; None where nobody knows.
        context: for rewards that are called here.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        pool: Pool | None,
        cache: VerdictCache | None,
        parts: bool,
        progress: Progress,
        where: str,
        notes: list[str],
        records: int | None = None,
        context: Context | None = None,
    ) -> None:
        self.plans, self.pool, self.progress, self.where = list(plans), pool, progress, where
        self._notes, self._cache = notes, cache
        self._ledgers = {plan.label: Ledger(plan, Shelf(cache, plan, notes, records)) for plan in plans}
        self._settlers = {
            plan.label: Settler(
                plan.label, plan.policy, "rollout" if plan.traits.sample else None, progress.streams
            )
            for plan in plans
        }
        self._callers = {
            plan.label: Caller(plan.reward, plan.traits, parts, NoClock(), context)
            for plan in plans
            if plan.reward is not None and (pool is None or plan.traits.where == "main")
        }
        self._engines = context.engines if context is not None else {}
        self._readers = [plan.reward for plan in plans if plan.traits.asks]
        self._pending: deque[Pending] = deque()
        self._rows = _FIRST
        self._checked = False

    def rows(self) -> int:
        """How many records the next chunk should have: about half a second of work."""
        return self._rows

    def run(
        self, chunks: Iterator[Chunk], sink: Sink, stop: Callable[[], bool], done: Callable[[int], None]
    ) -> None:
        """Take all chunks through.

        Args:
            chunks: the input.
            sink: where the results go, in order.
            stop: asked often; True ends the run.
            done: told how many records were written, or left out.

        Raises:
            DataError: a record that cannot be used, or that could not be scored under the policy "raise".
            Stopped: `stop` said so.
        """
        reading = True
        since, written = time.monotonic(), 0
        while reading or self._pending:
            if stop():
                raise Stopped
            if reading and len(self._pending) < _AHEAD:
                chunk = next(chunks, None)
                reading = chunk is not None
                if chunk is not None:
                    self._begin(chunk)
            self._collect(block=not reading or len(self._pending) >= _AHEAD)
            while self._pending and not self._pending[0].open:
                pending = self._pending.popleft()
                self._emit(pending, sink)
                written += len(pending.chunk)
                done(len(pending.chunk) + len(pending.chunk.skipped))
            since, written = self._adapt(since, written)

    def _adapt(self, since: float, written: int) -> tuple[float, int]:
        """Choose the size of the next chunks by how fast the last ones went."""
        seconds = time.monotonic() - since
        if seconds < _CHUNK_SECONDS and not (written and seconds > _LOOK_SECONDS):
            return since, written
        fitting = round(_CHUNK_SECONDS * written / seconds)
        self._rows = min(max(fitting, self._rows // 4, _FEWEST), self._rows * 2, _MOST)
        return time.monotonic(), 0

    def _begin(self, chunk: Chunk) -> None:
        pending = Pending(chunk)
        self._pending.append(pending)
        if not len(chunk):
            return
        self._check(chunk)
        check_chunk(chunk, self._readers, self._engines, self.where)
        asked = [(plan.traits, plan.reward) for plan in self.plans]
        found = content.together(chunk, asked, list(self._ledgers))
        for plan, digests in zip(self.plans, found, strict=True):
            ledger = self._ledgers[plan.label]
            for task in ledger.begin(pending, digests):
                if plan.label in self._callers:
                    ledger.settle(self._call(task))
                else:
                    assert self.pool is not None
                    self.pool.submit(task)

    def _check(self, chunk: Chunk) -> None:
        """What all records of a file have or none has is looked at once."""
        if self._checked:
            return
        self._checked = True
        for plan in self.plans:
            if plan.traits.sample and not chunk.has_text():
                source = self.where.rpartition(" ")[0]
                raise DataError(
                    f"{source}: reward {plan.label!r} reads text, but the records have no 'completion', only "
                    "tokens; decode them first"
                )

    def _call(self, task: Task) -> Answer:
        found, seconds, spent = self._callers[task.label](task.rollouts, task.sizes)
        return Answer(task.label, task.units, task.sizes, found, seconds, spent=spent)

    def _collect(self, block: bool) -> None:
        """Take answers of the pool; wait for one where nothing else can be done."""
        if self.pool is None:
            return
        block = block and bool(self._pending) and self._pending[0].open > 0
        while True:
            try:
                answer = self.pool.answers.get(timeout=_WAIT) if block else self.pool.answers.get_nowait()
            except queue.Empty:
                return
            if isinstance(answer, BaseException):
                raise answer
            self._ledgers[answer.label].settle(answer)
            block = False

    def _emit(self, pending: Pending, sink: Sink) -> None:
        chunk = pending.chunk
        happened = Tally(records=len(chunk))
        happened.skip(chunk.skipped)
        if len(chunk):
            items = {}
            for plan in self.plans:
                tally = happened.rewards[plan.label] = pending.tallies.get(plan.label, RewardTally())
                cells = pending.cells[plan.label]
                items[plan.label] = self._settlers[plan.label].settle(chunk, cells, tally, self.where)  # type: ignore[arg-type]
            sink.append(chunk, items)
        self.progress.tally.merge(happened)
        self.progress.after = chunk.after
        for settler in self._settlers.values():
            self.progress.streams |= settler.streams

    def flush(self) -> None:
        """Write to the verdict cache what is known, whether its chunk is complete or not."""
        if self._cache is None:
            return
        try:
            self._cache.flush()
        except StoreError as error:  # the run goes on without it
            self._cache = None
            self._notes.append(str(error))
