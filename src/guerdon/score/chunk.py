"""Chunks: some consecutive records of the input, checked, with all that scoring and writing need of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from guerdon.data.columns import ABSENT, Columns
from guerdon.data.record_checks import Schema, find_bad, span_counts
from guerdon.data.records import to_rollouts
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError

Position = dict[str, Any]
"""How far into a file a source has read; plain JSON."""
ADVICE = "mend it, or leave out and count such records with --skip-bad"


@dataclass
class Chunk:
    """Consecutive usable records.

    Attributes:
        columns: the records.
        numbers: line (JSON Lines, from 1) or row (Parquet, from 0) of every record.
        payload: what the output is made from: the lines (JSON Lines), or None (Parquet is read again).
        after: the position behind the chunk.
        skipped: (line or row, reason) of the records left out.
        signalled: whether any record has a field `signals` already.
    """

    columns: Columns
    numbers: Sequence[int]
    payload: Any
    after: Position
    skipped: list[tuple[int, str]] = field(default_factory=list)
    signalled: bool = False

    def __len__(self) -> int:
        return self.columns.n

    def column(self, name: str) -> list[Any]:
        """`prompt`, `completion`, `reference` or `meta` of all records, None where a record has none."""
        if name == "meta":
            return self._metas()
        values = self.columns.cells.get(name)
        if values is None:
            return [None] * self.columns.n
        return [None if value is ABSENT else value for value in values] if ABSENT in values else values

    def _metas(self) -> list[dict[str, Any]]:
        """`meta` with the unknown fields of the record, as a reader of records gives it to rewards."""
        own = self.columns.cells.get("meta")
        metas = [{}] * self.columns.n if own is None else [{} if value is ABSENT else value for value in own]
        if not self.columns.extra:
            return metas
        fields = list(self.columns.extra.items())
        return [
            {name: values[i] for name, values in fields if values[i] is not ABSENT} | meta
            for i, meta in enumerate(metas)
        ]

    def has_text(self) -> bool:
        """Whether the records have completions; all have or none has."""
        return "completion" in self.columns.cells

    def group_units(self) -> list[list[int]]:
        """Records of every group, in order of first appearance; a record without `group` is one by itself."""
        units: dict[Any, list[int]] = {}
        for row, label in enumerate(self.labels()):
            units.setdefault((row,) if label is ABSENT else label, []).append(row)
        return list(units.values())

    def labels(self) -> list[Any]:
        """`group` of every record, ABSENT where it has none."""
        return self.columns.cells.get("group") or [ABSENT] * self.columns.n

    def counts(self, level: str) -> np.ndarray | None:
        """Spans of a level in every record, None where the records have no such spans."""
        return span_counts(self.columns, level)

    def rollouts(self, rows: Sequence[int], reads: Sequence[str] | None) -> Rollouts:
        """Some records as Rollouts.

        Args:
            rows: which.
            reads: the columns that are needed; None: all.
        """
        whole = list(rows) == list(range(self.columns.n))
        columns = self.columns if whole else self.columns.select(np.asarray(rows, np.int64))
        part = Chunk(columns, (), None, {})
        if reads is not None:
            # A reward that reads nothing but, say, the prompt is still given texts to be called on.
            wanted: dict[str, Any] = {name: part.column(name) for name in {*reads, "completion"}}
            return Rollouts(**wanted)
        rollouts = to_rollouts(
            columns, Schema(seen={"reference", "meta", "prompt"} & set(self.columns.cells))
        )
        metas = rollouts.meta
        return rollouts if metas is None else rollouts.replace(meta=[dict(meta) for meta in metas])


def check(columns: Columns, schema: Schema) -> dict[int, str]:
    """Unusable records of a chunk, row -> why, by the rules of `guerdon.data`."""
    bad = find_bad(columns, schema)
    if columns.partitions or any(signal.level == "group" for signal in columns.signals.values()):
        bad = _check_together(columns, schema, bad)
    good = columns.select(np.setdiff1d(np.arange(columns.n), list(bad))) if bad else columns
    schema.levels |= {name: s.level for name, s in good.signals.items() if s.column.present.any()}
    return bad


def _check_together(columns: Columns, schema: Schema, bad: dict[int, str]) -> dict[int, str]:
    """What shows only when records become Rollouts: partitions that do not nest, groups that disagree."""
    bad = dict(bad)
    while len(bad) < columns.n:
        kept = np.setdiff1d(np.arange(columns.n), list(bad))
        try:
            to_rollouts(columns.select(kept), Schema(schema.fields, dict(schema.levels), set(schema.seen)))
            break
        except DataError as error:
            row, reason = _row_of(error)
            bad[int(kept[row])] = reason
    return dict(sorted(bad.items()))


def _row_of(error: DataError) -> tuple[int, str]:
    head, colon, reason = str(error).partition(": ")
    if not (colon and head.startswith("row ") and head[4:].isdigit()):
        raise error
    return int(head[4:]), reason


def dump_schema(schema: Schema) -> dict[str, Any]:
    """A schema as plain JSON, for positions."""
    return {"fields": None if schema.fields is None else sorted(schema.fields), "levels": dict(schema.levels)}


def load_schema(data: dict[str, Any]) -> Schema:
    """The schema that `dump_schema` made plain."""
    fields = data.get("fields")
    return Schema(None if fields is None else frozenset(fields), dict(data.get("levels", {})))


class SeenGroups:
    """Which groups have ended, to notice one that comes back; 8 bytes a group.

    Labels are known by their hash, so that one in 10^19 / (groups squared) files is refused wrongly.
    """

    _RECENT = 1 << 16

    def __init__(self) -> None:
        self._old = np.empty(0, np.int64)
        self._new: set[int] = set()

    def __contains__(self, label: Any) -> bool:
        key = hash(label)
        if key in self._new:
            return True
        at = int(np.searchsorted(self._old, key))
        return at < len(self._old) and int(self._old[at]) == key

    def add(self, label: Any) -> None:
        """Note that a group has ended."""
        self._new.add(hash(label))
        if len(self._new) >= self._RECENT:
            self._old = np.union1d(self._old, np.fromiter(self._new, np.int64, len(self._new)))
            self._new = set()


def check_contiguous(chunk: Chunk, seen: SeenGroups, where: str, rewards: str) -> None:
    """Note the groups of a chunk, all of which end in it.

    Raises:
        DataError: one of them ended before.
    """
    labels = chunk.labels()
    for unit in chunk.group_units():
        label = labels[unit[0]]
        if label is ABSENT:
            continue
        if label in seen or unit[-1] - unit[0] + 1 != len(unit):
            row = next((b for a, b in pairwise(unit) if b != a + 1), unit[0])
            raise DataError(
                f"{where} {chunk.numbers[row]}: group {label!r} comes back after records of other groups, "
                f"but {rewards} must see whole groups; sort the file by group, or read all of it into memory "
                "with --gather"
            )
        seen.add(label)
