"""Calling a reward so that one bad record costs one verdict, whatever the reward does.

Enters: a reward and rollouts that are whole units (single records, or whole groups). Leaves: one cell per
record and the seconds every unit took. A reward that raises on many units is asked again for each alone.
The clock tells a watcher in another process what is being scored and since when.
"""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.score import cells
from guerdon.score.cells import Cell
from guerdon.score.loading import Traits
from guerdon.scoring import Row, Verdict, missing

TOGETHER = -2
"""What the clock shows while many units are scored in one call."""
RAISED = (Exception, SystemExit, CancelledError)
"""What a user's function may raise without ending anything but its verdict."""


class Clock(Protocol):
    """Hears which unit is being scored from now on."""

    def start(self, unit: int) -> None: ...

    def stop(self) -> None: ...


class NoClock:
    """For rewards that nobody watches."""

    def start(self, unit: int) -> None:
        """Nothing happens."""

    def stop(self) -> None:
        """Nothing happens."""


class Caller:
    """A reward ready to be called.

    Args:
        reward: anything that is a Reward.
        traits: of the reward.
        parts: whether the parts of composite rewards are wanted too.
        clock: told about every unit.
        context: what the reward may know besides the rollouts.
    """

    def __init__(
        self, reward: Any, traits: Traits, parts: bool, clock: Clock, context: Context | None = None
    ) -> None:
        self.reward, self.traits, self.parts = reward, traits, parts
        self.clock, self.context = clock, context
        self._seconds: list[float] = []
        self._units = 0
        if traits.sample and not traits.together:
            self._score_batch = reward.score_batch
            # Rows one by one, wherever in the reward's own machinery they are scored.
            reward.score_batch = self._each

    def __call__(
        self, rollouts: Rollouts, sizes: Sequence[int]
    ) -> tuple[list[Cell], list[float], dict[str, float]]:
        """Cells of all records, seconds per unit, and what was spent where the reward says so (`spent`).

        `sizes` are the records of every unit.
        """
        before = self._spent()
        try:
            found, seconds = self._call(rollouts, sizes)
        finally:
            self.clock.stop()
        return found, seconds, {name: value - before[name] for name, value in self._spent().items()}

    def _spent(self) -> dict[str, float]:
        return self.reward.spent() if hasattr(self.reward, "spent") else {}

    def _call(self, rollouts: Rollouts, sizes: Sequence[int]) -> tuple[list[Cell], list[float]]:
        self._seconds, self._units = [], len(sizes)
        began = time.perf_counter()
        self.clock.start(0 if len(sizes) == 1 else TOGETHER)
        try:
            found = self._ask(rollouts)
            problem = (
                None
                if len(found) == len(rollouts)
                else f"wrong length: {len(found)} values for {len(rollouts)}"
            )
        except RAISED as error:
            found, problem = [], cells.of_error(error)
        seconds = time.perf_counter() - began
        # One with limits of its own also tells by itself which records failed.
        batch = self.traits.sample and self.traits.together and self.traits.batch_seconds is not None
        if len(sizes) > 1 and (problem or (batch and _same_failure(found))):
            return self._alone(rollouts, sizes)
        if problem:
            found = [problem] * len(rollouts)
        if len(self._seconds) == len(sizes):
            return found, self._seconds
        return found, [seconds / len(sizes)] * len(sizes)

    def _ask(self, rollouts: Rollouts) -> list[Cell]:
        if self.traits.sample:
            return [cells.of_verdict(verdict, self.parts) for verdict in self.reward.verdicts(rollouts)]
        if self.parts and hasattr(self.reward, "explain"):
            signal, parts = self.reward.explain(rollouts, self.context)
            return cells.of_signals(signal, parts, rollouts)
        return cells.of_signals(self.reward(rollouts, self.context), {}, rollouts)

    def _alone(self, rollouts: Rollouts, sizes: Sequence[int]) -> tuple[list[Cell], list[float]]:
        """Every unit by itself: what one of them did is not to be held against the others."""
        found: list[Cell] = []
        seconds: list[float] = []
        for unit, (start, size) in enumerate(zip(accumulate(sizes, initial=0), sizes, strict=False)):
            rows = rollouts.select(np.arange(start, start + size))
            began = time.perf_counter()
            self.clock.start(unit)
            try:
                answer = self._ask(rows)
                if len(answer) != size:
                    answer = [f"wrong length: {len(answer)} values for {size}"] * size
            except RAISED as error:
                answer = [cells.of_error(error)] * size
            found += answer
            seconds.append(time.perf_counter() - began)
        return found, seconds

    def _each(self, rows: Sequence[Row]) -> list[Verdict]:
        """Stands in for the reward's `score_batch`."""
        told = len(rows) == self._units  # else the reward itself found duplicates, and places have shifted
        return [self._one(i if told else TOGETHER, row) for i, row in enumerate(rows)]

    def _one(self, i: int, row: Row) -> Verdict:
        began = time.perf_counter()
        self.clock.start(i)
        try:
            answer = self._score_batch([row])
            return (
                answer[0] if len(answer) == 1 else missing(f"wrong length: {len(answer)} values for 1 sample")
            )
        except RAISED as error:
            return missing(cells.of_error(error))
        finally:
            self._seconds.append(time.perf_counter() - began)


def _same_failure(found: Sequence[Cell]) -> bool:
    """Whether a call failed as a whole: nothing but one and the same cause.

    A wrong number of values is no reason to ask again: a function that returns one number whatever it is
    given would seem to be right for every record alone.
    """
    first = found[0]
    whole = isinstance(first, str) and all(cell == first for cell in found)
    return whole and not str(first).startswith("wrong length")
