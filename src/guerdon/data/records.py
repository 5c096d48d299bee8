"""Records <-> Rollouts: what each field of a record means.

A record is one rollout as a JSON object (or one row of a table with the same columns):

    id, group           text (integers are taken too); equal `group` = samples of one prompt
    prompt, completion  text or chat messages [{role, content}, ...]
    reference, images   anything
    meta                object; unknown fields of the record are readable there under their own names
    truncated           true where a length or step limit cut the rollout
    tokens, acted, logprobs, ref_logprobs, entropy, values, advantages    one entry per token
    steps, turns        end offsets; any other partition: "partitions": {"thought": [end offsets]}
    state, node         one key per step, integers or text
    signals             {name: {"level": ..., "values": [...], "causes": {position: why}}}, null = missing

Every field but `completion` or `tokens` is optional. `reference`, `images`, `meta`, `truncated`, `acted`
and each signal may be missing in single rows; any other field is in all rows of a file or in none.

Text in `group`, `state` and `node` becomes an int64 key (`stable_key`), so that equal text means the same
in every batch and file. What the columns of Rollouts cannot hold (the text behind a key, which fields a
record did not have) rides along in the rows of `meta` (see `guerdon.data.origin`), so that writers write
back what was read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon.data.columns import ABSENT, KEYS, PER_TOKEN, Column, Columns, SignalColumn
from guerdon.data.origin import RecordMeta, find_origins, keys_of, restore
from guerdon.data.ragged import Ragged
from guerdon.data.record_checks import Schema, span_counts
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError

_OPTIONAL = ("id", "prompt", "completion", "reference", "images")


def to_rollouts(columns: Columns, schema: Schema, first_row: int = 0) -> Rollouts:
    """Rollouts of checked records.

    Args:
        columns: records without a row that `find_bad` names.
        schema: of the file; what this batch adds to it is noted.
        first_row: number of the first record in the file: records without `group` get their number.

    Raises:
        DataError: rows of a group disagree about a signal of the group, or partitions do not nest.
    """
    cells = columns.cells
    new: dict[str, Any] = {name: _optional_cells(columns, schema, name) for name in _OPTIONAL}
    if new["id"] is not None:
        new["id"] = [value if type(value) is str else str(value) for value in new["id"]]
    if "group" in cells:
        new["group"] = np.array(keys_of(cells["group"]), dtype=np.int64)
    else:
        new["group"] = np.arange(first_row, first_row + columns.n)
    new["truncated"] = np.array([value is not ABSENT and bool(value) for value in cells.get("truncated", ())])
    if "truncated" not in cells:
        del new["truncated"]
    new |= {name: column.rows for name, column in columns.tokens.items()}
    if "acted" in columns.tokens:
        new["acted"] = _filled(columns.tokens["acted"], columns.tokens["tokens"].rows.lengths, True)
    new["partitions"] = {level: column.rows for level, column in columns.partitions.items()}
    new |= {name: column.rows.values for name, column in columns.keys.items()}
    new["meta"] = _meta(columns, schema, first_row)
    schema.levels |= {name: signal.level for name, signal in columns.signals.items()}
    new["signals"] = {name: _signal(columns, new["group"], name) for name in columns.signals}
    for name, level in schema.levels.items():
        new["signals"].setdefault(name, _missing_signal(columns, new["group"], name, level))
    return Rollouts(**new)


def _optional_cells(columns: Columns, schema: Schema, name: str) -> list[Any] | None:
    if name in columns.cells:
        schema.seen.add(name)
        return [None if value is ABSENT else value for value in columns.cells[name]]
    return [None] * columns.n if name in schema.seen else None


def _filled(column: Column, lengths: np.ndarray, fill: Any) -> Ragged:
    """Rows without the field get `fill` in each of their `lengths` places."""
    if column.present.all():
        return column.rows
    where = Ragged.from_lengths(np.repeat(column.present, lengths), lengths)
    values = np.full(where.total, fill, dtype=column.rows.values.dtype)
    values[where.values] = column.rows.values
    return where.with_values(values)


def _missing_signal(columns: Columns, group: np.ndarray, name: str, level: str) -> Signal:
    counts = span_counts(columns, level)
    n = len(np.unique(group)) if level == "group" or counts is None else int(counts.sum())
    return Signal(np.full(n, np.nan), level, name)


def _signal(columns: Columns, group: np.ndarray, name: str) -> Signal:
    signal = columns.signals[name]
    counts = span_counts(columns, signal.level)
    assert counts is not None, "find_bad lets no row with such a level pass"
    rows = _filled(signal.column, counts, np.nan)
    causes = {
        int(rows.offsets[row]) + at: why for row, each in signal.causes.items() for at, why in each.items()
    }
    if signal.level != "group":
        return Signal(rows.values, signal.level, name, causes)
    distinct, labels = np.unique(group, return_inverse=True)
    values = np.full(len(distinct), np.nan)
    given = np.flatnonzero(~np.isnan(rows.values))
    values[labels[given]] = rows.values[given]
    clash = given[values[labels[given]] != rows.values[given]]
    if len(clash):
        raise DataError(
            f"row {clash[0]}: signals.{name} is {rows.values[clash[0]]} but another row of the same group "
            f"has {values[labels[clash[0]]]}; expected one value for the group"
        )
    return Signal(values, signal.level, name, {int(labels[row]): why for row, why in causes.items()})


def _meta(columns: Columns, schema: Schema, first_row: int) -> list[dict[str, Any]] | None:
    own = columns.cells.get("meta", [ABSENT] * columns.n)
    origins = find_origins(columns, first_row)
    if origins is None:
        if "meta" not in columns.cells and "meta" not in schema.seen:
            return None
        schema.seen.add("meta")
        return [{} if value is ABSENT else value for value in own]
    schema.seen.add("meta")
    rows: list[dict[str, Any]] = []
    for row, origin in enumerate(origins):
        content = {} if own[row] is ABSENT else own[row]
        extra = {name: values[row] for name, values in columns.extra.items() if values[row] is not ABSENT}
        rows.append(RecordMeta(extra | content, origin))
    return rows


def from_rollouts(rollouts: Rollouts) -> Columns:
    """Records of Rollouts; fields the records they came from did not have are absent unless changed."""
    columns = Columns(n=len(rollouts))
    for name in ("id", "prompt", "completion", "reference", "meta", "images"):
        if getattr(rollouts, name) is not None:
            columns.cells[name] = list(getattr(rollouts, name))
    columns.cells["group"] = rollouts.group.tolist()
    columns.cells["truncated"] = rollouts.truncated.tolist()
    columns.tokens = {
        name: Column.full(getattr(rollouts, name))
        for name in PER_TOKEN
        if getattr(rollouts, name) is not None
    }
    columns.partitions = {level: Column.full(ends) for level, ends in rollouts.partitions.items()}
    for name in KEYS:
        if getattr(rollouts, name) is not None:
            rows = Ragged(getattr(rollouts, name), rollouts.offsets("step"))
            columns.keys[name] = Column.full(rows)
    columns.signals = {name: _signal_column(rollouts, signal) for name, signal in rollouts.signals.items()}
    restore(columns, rollouts.meta or [])
    return columns


def _signal_column(rollouts: Rollouts, signal: Signal) -> SignalColumn:
    values, offsets, causes = signal.values, None, signal.causes
    if signal.level == "group":
        labels = rollouts.groups()[0]
        values = values[labels]
        causes = {row: causes[label] for row, label in enumerate(labels.tolist()) if label in causes}
        offsets = rollouts.offsets("rollout")
    else:
        offsets = rollouts.offsets(signal.level)
    column = SignalColumn(signal.level, Column.full(Ragged(values, offsets)))
    for at, why in causes.items():
        row = int(np.searchsorted(offsets, at, side="right")) - 1
        column.causes.setdefault(row, {})[at - int(offsets[row])] = why
    return column
