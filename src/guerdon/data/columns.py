"""Columns: a batch of records on the way between a file and Rollouts.

Every file format turns its bytes into Columns and back; checks and the meaning of fields live elsewhere and
are the same for all formats. Unlike in Rollouts a row may lack a field, so that what was never there is not
written back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guerdon.data.ragged import Ragged

CELLS = ("id", "group", "prompt", "completion", "reference", "meta", "images", "truncated")
PER_TOKEN = {
    "tokens": np.int32,
    "acted": np.bool_,
    "logprobs": np.float32,
    "ref_logprobs": np.float32,
    "entropy": np.float32,
    "values": np.float32,
    "advantages": np.float64,
}
PARTITIONS = {"steps": "step", "turns": "turn"}
"""Partitions with a field of their own; any other level stands under `partitions` by its name."""
KEYS = ("state", "node")
FIELDS = frozenset((*CELLS, *PER_TOKEN, *PARTITIONS, "partitions", *KEYS, "signals"))


class _Absent:
    """The one value that says a row has no such field (null is a value)."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


@dataclass
class Column:
    """Ragged values of one field; `present` bool (N,) tells empty rows from rows without the field."""

    rows: Ragged
    present: np.ndarray

    @classmethod
    def full(cls, rows: Ragged) -> Column:
        """Every row has the field."""
        return cls(rows, np.ones(len(rows), bool))

    def select(self, index: np.ndarray) -> Column:
        """The given rows."""
        return Column(self.rows.select(index), self.present[index])

    def slice(self, start: int, stop: int) -> Column:
        """Rows start..stop as views."""
        return Column(slice_rows(self.rows, start, stop), self.present[start:stop])

    @classmethod
    def concat(cls, parts: Sequence[Column | None], sizes: Sequence[int]) -> Column:
        """All rows one after the other; None stands for rows without the field."""
        dtype = next(part.rows.values.dtype for part in parts if part is not None)
        whole = [
            part or cls(Ragged(np.empty(0, dtype), np.zeros(n + 1, np.int64)), np.zeros(n, bool))
            for part, n in zip(parts, sizes, strict=True)
        ]
        return cls(
            Ragged.concat([part.rows for part in whole]), np.concatenate([part.present for part in whole])
        )


@dataclass
class SignalColumn:
    """Values of one signal at one level.

    Attributes:
        level: of the first row that has the signal.
        column: values (NaN missing).
        other: row -> the level it claims, where that is another one.
        causes: row -> position among the row's values -> why the value there is missing.
    """

    level: str
    column: Column
    other: dict[int, str] = field(default_factory=dict)
    causes: dict[int, dict[int, str]] = field(default_factory=dict)

    def expect(self, level: str) -> None:
        """Make `level` the level; rows that claim another one are in `other`."""
        if level == self.level:
            return
        rows = np.flatnonzero(self.column.present).tolist()
        claimed = {row: self.other.get(row, self.level) for row in rows}
        self.level, self.other = level, {row: claim for row, claim in claimed.items() if claim != level}

    def select(self, index: np.ndarray) -> SignalColumn:
        """The given rows."""
        new = {old: i for i, old in enumerate(index.tolist())}
        other = {new[i]: level for i, level in self.other.items() if i in new}
        causes = {new[i]: why for i, why in self.causes.items() if i in new}
        return SignalColumn(self.level, self.column.select(index), other, causes)

    def slice(self, start: int, stop: int) -> SignalColumn:
        """Rows start..stop; values are views."""
        inside = {i - start: v for i, v in self.causes.items() if start <= i < stop}
        return SignalColumn(self.level, self.column.slice(start, stop), causes=inside)

    @classmethod
    def concat(cls, parts: Sequence[SignalColumn | None], starts: Sequence[int]) -> SignalColumn:
        """All rows one after the other; None stands for rows without the signal, `starts` are row bounds."""
        level = next(part.level for part in parts if part is not None)
        sizes = np.diff(starts).tolist()
        whole = cls(level, Column.concat([None if part is None else part.column for part in parts], sizes))
        for start, part in zip(starts, parts, strict=False):
            if part is not None:
                part.expect(level)
                whole.other |= {start + row: other for row, other in part.other.items()}
                whole.causes |= {start + row: why for row, why in part.causes.items()}
        return whole


@dataclass
class Columns:
    """N records, column by column.

    Attributes:
        n: number of records.
        cells: field -> N values, `ABSENT` where a record has no such field. A field no record has is no
            key here; the same holds for all attributes below.
        tokens: per-token field -> Column.
        partitions: level -> Column of end offsets.
        keys: "state", "node" -> Column of int64, one per step.
        labels: "state", "node" -> N original lists where they were not all integers, else None.
        signals: name -> SignalColumn.
        extra: unknown field -> N values or `ABSENT`.
        broken: row -> why its values could not be read at all.
    """

    n: int
    cells: dict[str, list[Any]] = field(default_factory=dict)
    tokens: dict[str, Column] = field(default_factory=dict)
    partitions: dict[str, Column] = field(default_factory=dict)
    keys: dict[str, Column] = field(default_factory=dict)
    labels: dict[str, list[list[Any] | None]] = field(default_factory=dict)
    signals: dict[str, SignalColumn] = field(default_factory=dict)
    extra: dict[str, list[Any]] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)

    def select(self, index: np.ndarray) -> Columns:
        """The given rows (int64 indices); fields that none of them has are dropped."""
        rows = index.tolist()

        def pick(cells: dict[str, list[Any]], gap: Any) -> dict[str, list[Any]]:
            picked = {name: [values[i] for i in rows] for name, values in cells.items()}
            return {name: values for name, values in picked.items() if any(v is not gap for v in values)}

        def keep(columns: dict[str, Column]) -> dict[str, Column]:
            return {
                name: column.select(index) for name, column in columns.items() if column.present[index].any()
            }

        signals = {name: signal.select(index) for name, signal in self.signals.items()}
        return Columns(
            n=len(rows),
            cells=pick(self.cells, ABSENT),
            tokens=keep(self.tokens),
            partitions=keep(self.partitions),
            keys=keep(self.keys),
            labels=pick(self.labels, None),
            signals={name: signal for name, signal in signals.items() if signal.column.present.any()},
            extra=pick(self.extra, ABSENT),
        )

    def slice(self, start: int, stop: int) -> Columns:
        """Rows start..stop; ragged values are views."""

        def cut(cells: dict[str, list[Any]]) -> dict[str, list[Any]]:
            return {name: values[start:stop] for name, values in cells.items()}

        return Columns(
            n=stop - start,
            cells=cut(self.cells),
            tokens={name: column.slice(start, stop) for name, column in self.tokens.items()},
            partitions={name: column.slice(start, stop) for name, column in self.partitions.items()},
            keys={name: column.slice(start, stop) for name, column in self.keys.items()},
            labels=cut(self.labels),
            signals={name: signal.slice(start, stop) for name, signal in self.signals.items()},
            extra=cut(self.extra),
        )

    @staticmethod
    def concat(parts: Sequence[Columns]) -> Columns:
        """All records one after the other; what a part lacks is absent in its rows."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *(part.n for part in parts)]).tolist()
        whole = Columns(n=starts[-1])
        for kind, gap in (("cells", ABSENT), ("extra", ABSENT), ("labels", None)):
            for name in dict.fromkeys(name for part in parts for name in getattr(part, kind)):
                lists = [getattr(part, kind).get(name, [gap] * part.n) for part in parts]
                getattr(whole, kind)[name] = [value for values in lists for value in values]
        for kind in ("tokens", "partitions", "keys"):
            for name in dict.fromkeys(name for part in parts for name in getattr(part, kind)):
                columns = [getattr(part, kind).get(name) for part in parts]
                getattr(whole, kind)[name] = Column.concat(columns, [part.n for part in parts])
        for name in dict.fromkeys(name for part in parts for name in part.signals):
            whole.signals[name] = SignalColumn.concat([part.signals.get(name) for part in parts], starts)
        for start, part in zip(starts, parts, strict=False):
            whole.broken |= {start + row: reason for row, reason in part.broken.items()}
        return whole

    def pieces(self, max_rows: int, max_units: int) -> list[Columns]:
        """Consecutive slices of at most `max_rows` rows and about `max_units` tokens each."""
        lengths = (
            self.tokens["tokens"].rows.lengths if "tokens" in self.tokens else np.zeros(self.n, np.int64)
        )
        before = np.cumsum(lengths) - lengths
        pieces, start = [], 0
        while start < self.n:
            stop = int(np.searchsorted(before, before[start] + max_units))
            stop = min(max(stop, start + 1), start + max_rows, self.n)
            pieces.append(self if stop - start == self.n else self.slice(start, stop))
            start = stop
        return pieces


def slice_rows(rows: Ragged, start: int, stop: int) -> Ragged:
    """Rows start..stop of a Ragged as views."""
    offsets = rows.offsets[start : stop + 1]
    return Ragged(rows.values[offsets[0] : offsets[-1]], offsets - offsets[0])


def is_present(values: Sequence[Any]) -> np.ndarray:
    """Which cells are not `ABSENT`, bool (N,)."""
    return np.array([value is not ABSENT for value in values], dtype=bool)


def completion_text(completion: Any) -> str:
    """A completion as the text that character offsets count in (as `Rollouts.text`)."""
    if isinstance(completion, str):
        return completion
    return "\n".join(str(message.get("content") or "") for message in completion)
