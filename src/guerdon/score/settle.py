"""From cells to what is written: failure policies applied, every signal at one level, everything counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from guerdon.errors import DataError
from guerdon.score.cells import TOTAL, UNKNOWN, Cell, Output, cause_of
from guerdon.score.chunk import Chunk
from guerdon.score.sinks import Streams
from guerdon.score.spec import Policy
from guerdon.score.splice import Item, stream
from guerdon.score.tally import RewardTally


class Settler:
    """Turns the cells of one reward into items, chunk after chunk.

    Args:
        label: of the reward.
        policy: what a record without a verdict is worth: "nan", "raise" or a number.
        level: of the reward's own signal where that is known before its first verdict.
        streams: signals of a former part of the run.
    """

    def __init__(self, label: str, policy: Policy, level: str | None, streams: Streams) -> None:
        self.label, self.policy = label, policy
        own = (label, f"{label}.")
        self.levels = {
            name: level for name, (level, _) in streams.items() if name == own[0] or name.startswith(own[1])
        }
        self.caused = {name for name, (_, caused) in streams.items() if caused and name in self.levels}
        if level is not None:
            self.levels.setdefault(label, level)

    @property
    def streams(self) -> dict[str, tuple[str, bool]]:
        """The signals seen so far."""
        return {name: (level, name in self.caused) for name, level in self.levels.items()}

    def settle(self, chunk: Chunk, cells: Sequence[Cell], tally: RewardTally, where: str) -> Sequence[Item]:
        """One item per record.

        Raises:
            DataError: a record without a verdict under the policy "raise".
        """
        tally.records += len(cells)
        if float in map(type, cells):
            self._expect(self.label, "rollout")
        if set(map(type, cells)) <= {float}:
            tally.values += len(cells)
            tally.total += math.fsum(cells)  # type: ignore[arg-type]
            return cells  # type: ignore[return-value]
        causes: Counter[str] = Counter()
        items: list[Item] = []
        for row, cell in enumerate(cells):
            cause = cause_of(cell)
            if cause is not None:
                if self.policy == "raise":
                    raise DataError(
                        f"{where} {chunk.numbers[row]}: reward {self.label!r} could not score it: {cause}"
                    )
                causes[cause] += 1
                tally.missing += 1
            item = self._missing(cell, chunk, row) if isinstance(cell, str) else self._fitting(cell, cause)
            items.append(item)
            values = [item] if isinstance(item, float) else [] if item is None else item[TOTAL][1]
            given = [value for value in values if value is not None]
            tally.values += len(given)
            tally.total += sum(given)
        tally.add_causes(causes)
        return items

    def _missing(self, cause: str, chunk: Chunk, row: int) -> Item:
        """An item that says why there are no values."""
        level = self.levels.get(self.label)
        if level is None:  # nobody knows how many values there would be
            return None
        counts: Any = np.ones(len(chunk), np.int64) if level == "rollout" else chunk.counts(level)
        n = 0 if counts is None else int(counts[row])
        if not n:
            return None
        self.caused.add(self.label)
        return {TOTAL: [level, [self._worth(None)] * n, {0: cause}]}

    def _fitting(self, cell: float | dict[str, Output], cause: str | None) -> Item:
        """A cell with the policy applied, as long as its levels are those of the records before."""
        if isinstance(cell, float):
            return cell
        fitting: dict[str, Output] = {}
        for output, (level, values, causes) in cell.items():
            name = stream(self.label, output)
            self._expect(name, level)
            if None in values:
                causes = causes or {values.index(None): cause or UNKNOWN}
                self.caused.add(name)
            if output == TOTAL:
                values = [self._worth(value) for value in values]
            fitting[output] = [level, values, causes]
        return fitting

    def _expect(self, name: str, level: str) -> None:
        known = self.levels.setdefault(name, level)
        if known != level:
            raise DataError(
                f"reward {self.label!r} gave {name!r} at level {level!r} here and at level {known!r} before; "
                "expected one level throughout"
            )

    def _worth(self, value: float | None) -> float | None:
        return self.policy if value is None and isinstance(self.policy, float) else value
