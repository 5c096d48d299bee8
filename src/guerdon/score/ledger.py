"""What is known of a reward's verdicts, where they are waited for, and which work is still to be given out.

Enters: chunks. A ledger fills in what this run or the verdict cache knows already, notes who waits for what
is being scored, and hands out the rest, every piece of work once. A piece is a *unit*: a record, or a group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

from guerdon.errors import StoreError
from guerdon.score import cells as cell_forms
from guerdon.score import content
from guerdon.score.cells import Cell
from guerdon.score.chunk import Chunk
from guerdon.score.loading import Traits
from guerdon.score.pool import Answer, Task
from guerdon.score.spec import Policy, Spec
from guerdon.score.tally import RewardTally
from guerdon.scoring import Reward
from guerdon.store.verdicts import Verdicts

_RECENT = 1 << 17
_FIRST, _MOST = 16, 2048  # units in a task
_BATCH = 64  # the same where a reward scores many in one call, perhaps all at the same time
_TASK_SECONDS = 0.2


@dataclass
class Plan:
    """A reward with all the run needs to know of it.

    Attributes:
        spec: as asked for.
        traits: as found.
        policy: what a record without a verdict is worth.
        fingerprint: of all that verdicts depend on besides the content; None: they are not kept.
        reward: itself, where this process may call it.
    """

    spec: Spec
    traits: Traits
    policy: Policy
    fingerprint: bytes | None
    reward: Reward | None = None

    @property
    def label(self) -> str:
        """Name of its signal."""
        return self.spec.label


@dataclass
class Pending:
    """A chunk on its way through the rewards.

    Attributes:
        chunk: itself.
        cells: label -> one cell per record, None where it is waited for.
        open: how many cells are waited for.
        tallies: label -> what happened to its records.
    """

    chunk: Chunk
    cells: dict[str, list[Cell | None]] = field(default_factory=dict)
    open: int = 0
    tallies: dict[str, RewardTally] = field(default_factory=dict)


class Cache(Protocol):
    """What is asked of a verdict cache, see `guerdon.store.verdicts.VerdictCache`."""

    def reward(self, fingerprint: bytes, name: str = "", version: str = "") -> int: ...

    def expect(self, reward: int, questions: int) -> None: ...

    def get(self, reward: int, contents: Sequence[bytes]) -> Verdicts: ...

    def put(self, reward: int, verdicts: Mapping[bytes, float | str]) -> None: ...


class Shelf:
    """The verdict cache as one reward sees it; a cache that fails is not asked again.

    Args:
        cache: None: nothing is kept.
        plan: of the reward.
        notes: collects why the cache was left alone.
        records: about how many will be asked for; None where nobody knows.
    """

    def __init__(self, cache: Cache | None, plan: Plan, notes: list[str], records: int | None = None) -> None:
        self._cache = cache if plan.fingerprint is not None else None
        self._notes = notes
        self._id = 0
        if self._cache is not None:
            assert plan.fingerprint is not None
            self._id = self._cache.reward(plan.fingerprint, plan.traits.name, plan.traits.version)
            self._cache.expect(self._id, records or 0)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Cell]:
        """The cells that are kept, by key."""
        if self._cache is None or not keys:
            return {}
        try:
            found = self._cache.get(self._id, keys)
        except StoreError as error:
            self._fail(error)
            return {}
        texts = {key: cell_forms.load(verdict) for key, verdict in found.items() if isinstance(verdict, str)}
        return {**found, **texts}

    def put(self, found: dict[bytes, Cell]) -> None:
        """Keep cells without missing values: what failed may go well another time."""
        kept = {key: cell_forms.dump(cell) for key, cell in found.items() if not cell_forms.is_missing(cell)}
        if self._cache is not None and kept:
            try:
                self._cache.put(self._id, kept)
            except StoreError as error:
                self._fail(error)

    def _fail(self, error: StoreError) -> None:
        self._cache = None
        if str(error) not in self._notes:
            self._notes.append(str(error))


class Recent:
    """The newest entries of a mapping, between `size` and twice as many.

    They are kept as tuples: Python's collector of cycles does not look into tuples of numbers and texts.
    """

    def __init__(self, size: int = _RECENT) -> None:
        self._size = size
        self._new: dict[bytes, tuple[Cell, ...]] = {}
        self._old: dict[bytes, tuple[Cell, ...]] = {}

    def put(self, key: bytes, found: Sequence[Cell]) -> None:
        """Remember."""
        self._new[key] = tuple(found)
        if len(self._new) >= self._size:
            self._old, self._new = self._new, {}

    def get(self, key: bytes) -> tuple[Cell, ...] | None:
        """What was remembered, None where it was not or not recently."""
        found = self._new.get(key)
        return self._old.get(key) if found is None else found

    def __bool__(self) -> bool:
        return bool(self._new or self._old)


class Ledger:
    """All about one reward in one run.

    Args:
        plan: of the reward.
        shelf: the verdict cache.
    """

    def __init__(self, plan: Plan, shelf: Shelf) -> None:
        self.plan, self._shelf = plan, shelf
        self._recent = Recent()
        self._waiting: dict[bytes, list[tuple[Pending, Sequence[int]]]] = {}
        self._cost: float | None = None  # seconds per unit
        self._fresh = 0

    def begin(self, pending: Pending, digests: list[bytes]) -> Iterator[Task]:
        """Fill in what is known and yield the work that is left.

        Args:
            pending: the chunk; its cells are filled.
            digests: one per record.
        """
        chunk, label = pending.chunk, self.plan.label
        tally = pending.tallies[label] = RewardTally()
        if self.plan.traits.stateful:
            digests = [self._number() for _ in digests]
        if self.plan.traits.shape == "sample":
            units: Sequence[Sequence[int]] | None = None
            keys = digests
            found = self._known_rows(keys, tally)
        else:
            units = self._units(chunk)
            keys = content.unit_digests(digests, units)
            found = self._known_units(keys, units, len(chunk), tally)
        pending.cells[label] = found
        if None in found:
            pending.open += found.count(None)
            yield from self._tasks(chunk, self._claim(pending, keys, units, tally), units)

    def _number(self) -> bytes:
        """A key that nothing else has, where equal records may get different verdicts."""
        self._fresh += 1
        return self._fresh.to_bytes(16, "little")

    def _units(self, chunk: Chunk) -> list[list[int]]:
        return [list(range(len(chunk)))] if self.plan.traits.shape == "all" else chunk.group_units()

    def _known_rows(self, keys: list[bytes], tally: RewardTally) -> list[Cell | None]:
        found: list[Cell | None] = [None] * len(keys)
        if self._recent:
            recent = self._recent.get
            found = [None if (known := recent(key)) is None else known[0] for key in keys]
            tally.repeated += len(keys) - found.count(None)
        kept = self._shelf.get([key for key, cell in zip(keys, found, strict=True) if cell is None])
        if kept:
            before = found.count(None)
            look = kept.get
            found = [look(key) if cell is None else cell for key, cell in zip(keys, found, strict=True)]
            tally.cached += before - found.count(None)
        return found

    def _known_units(
        self, keys: list[bytes], units: Sequence[Sequence[int]], n: int, tally: RewardTally
    ) -> list[Cell | None]:
        found: list[Cell | None] = [None] * n
        members = [content.member_digests(key, len(unit)) for key, unit in zip(keys, units, strict=True)]
        kept = self._shelf.get([member for unit in members for member in unit])
        for key, unit, names in zip(keys, units, members, strict=True):
            known: Sequence[Cell] | None = self._recent.get(key)
            if known is not None:
                tally.repeated += len(unit)
            elif all(name in kept for name in names):
                known = [kept[name] for name in names]
                tally.cached += len(unit)
            for row, cell in zip(unit, known or (), strict=False):
                found[row] = cell
        return found

    def _claim(
        self, pending: Pending, keys: list[bytes], units: Sequence[Sequence[int]] | None, tally: RewardTally
    ) -> list[tuple[bytes, Sequence[int]]]:
        """Units nobody is scoring yet; the others wait for those who do."""
        cells = pending.cells[self.plan.label]
        fresh: list[tuple[bytes, Sequence[int]]] = []
        for i, key in enumerate(keys):
            rows = (i,) if units is None else units[i]
            if cells[rows[0]] is not None:
                continue
            waiters = self._waiting.get(key)
            if waiters is None:
                self._waiting[key] = [(pending, rows)]
                fresh.append((key, rows))
            else:
                waiters.append((pending, rows))
                tally.repeated += len(rows)
        return fresh

    def _tasks(
        self, chunk: Chunk, fresh: list[tuple[bytes, Sequence[int]]], units: Sequence[Sequence[int]] | None
    ) -> Iterator[Task]:
        traits, size = self.plan.traits, self._task_size()
        reads = traits.reads if traits.sample and traits.shape == "sample" else None
        for start in range(0, len(fresh), size):
            part = fresh[start : start + size]
            rows = [row for _, unit in part for row in unit]
            rollouts = chunk.rollouts(rows, reads)
            yield Task(self.plan.label, rollouts, [len(unit) for _, unit in part], [key for key, _ in part])

    def _task_size(self) -> int:
        """Units per task: a fifth of a second of work, so that a kill costs little."""
        traits = self.plan.traits
        if traits.batch_rows:
            return traits.batch_rows
        fewest, first = (_BATCH, _BATCH) if traits.sample and traits.together else (1, _FIRST)
        if self._cost is None:
            return first
        return int(min(max(_TASK_SECONDS / max(self._cost, 1e-9), fewest), _MOST))

    def settle(self, answer: Answer) -> None:
        """Give an answer to all who wait for it, and remember it."""
        if not answer.killed and answer.seconds:
            cost = sum(answer.seconds) / len(answer.seconds)
            self._cost = cost if self._cost is None else 0.7 * self._cost + 0.3 * cost
        first = self._waiting[answer.units[0]][0][0]
        tally = first.tallies[self.plan.label]
        tally.latencies.add(answer.seconds)
        tally.add_spent(answer.spent)
        kept: dict[bytes, Cell] = {}
        ends = accumulate(answer.sizes, initial=0)
        for key, size, start in zip(answer.units, answer.sizes, ends, strict=False):
            found = answer.cells[start : start + size]
            for pending, rows in self._waiting.pop(key):
                cells = pending.cells[self.plan.label]
                for row, cell in zip(rows, found, strict=True):
                    cells[row] = cell
                pending.open -= len(rows)
            if self.plan.traits.stateful:
                continue
            self._recent.put(key, found)
            names = [key] if self.plan.traits.shape == "sample" else content.member_digests(key, size)
            kept |= zip(names, found, strict=True)
        self._shelf.put(kept)
