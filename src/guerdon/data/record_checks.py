"""Which records of a batch cannot be used, and why: the checks every file format shares.

Enters: Columns, and the Schema of the file so far. Leaves: row -> what was expected and what was found.
All checks of numbers run over whole columns, never row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guerdon.data.columns import (
    ABSENT,
    CELLS,
    KEYS,
    PARTITIONS,
    PER_TOKEN,
    Column,
    Columns,
    SignalColumn,
    _Absent,
    completion_text,
    is_present,
)

_FIELD_OF = {level: name for name, level in PARTITIONS.items()}
_OPTIONAL = frozenset(("reference", "meta", "images", "truncated", "acted"))
"""Fields with a default for each single row; every other field is in all rows of a file or in none."""


@dataclass
class Schema:
    """What the rows of a file agreed on so far, carried from batch to batch.

    Attributes:
        fields: which of the all-or-none fields the rows have; None before the first usable row.
        levels: signal -> level.
        seen: columns of Rollouts that a former batch had although single rows may lack them.
    """

    fields: frozenset[str] | None = None
    levels: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


class _Bad(dict[int, str]):
    """Row -> first reason found."""

    def add(
        self, rows: np.ndarray | Iterable[int], reason: Callable[[int], str], override: bool = False
    ) -> None:
        if isinstance(rows, np.ndarray) and rows.dtype == bool:
            rows = np.flatnonzero(rows)
        for row in map(int, rows):
            if override or row not in self:
                self[row] = reason(row)


def find_bad(columns: Columns, schema: Schema) -> dict[int, str]:
    """Unusable rows in rising order; fixes `schema.fields` by the first usable row of the file."""
    bad = _Bad(columns.broken)
    _check_cells(columns, bad)
    lengths = unit_lengths(columns, bad)
    _check_token_columns(columns, bad)
    _check_partitions(columns, lengths, bad)
    _check_keys(columns, bad)
    _check_signals(columns, schema, bad)
    _check_presence(columns, schema, bad)
    return dict(sorted((bad | columns.broken).items()))


def unit_lengths(columns: Columns, skip: Iterable[int] = ()) -> np.ndarray:
    """Length of every row in what its offsets count, int64 (N,): tokens, else characters of its text."""
    lengths = np.zeros(columns.n, np.int64)
    if "tokens" in columns.tokens:
        lengths += columns.tokens["tokens"].rows.lengths
    elif columns.partitions:
        skip = frozenset(skip)
        for row, completion in enumerate(columns.cells.get("completion", ())):
            if completion is not ABSENT and row not in skip:
                lengths[row] = len(completion_text(completion))
    return lengths


def span_counts(columns: Columns, level: str) -> np.ndarray | None:
    """Spans of `level` in every row, int64 (N,); None where the records have no such level."""
    if level in ("rollout", "group"):
        return np.ones(columns.n, np.int64)
    column = columns.tokens.get("tokens") if level == "token" else columns.partitions.get(level)
    return None if column is None else column.rows.lengths


def describe(value: Any) -> str:
    """A JSON value in a few words, for messages."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        shown = (
            repr(value) if not isinstance(value, int) or value.bit_length() < 80 else "with 25 digits or more"
        )
        return f"the number {shown}"
    if isinstance(value, str):
        return f"text {value[:30] + '...' if len(value) > 33 else value!r}"
    if isinstance(value, list):
        return "an empty list" if not value else f"a list of {len(value)} starting with {describe(value[0])}"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, list) and all(
        isinstance(message, dict) and isinstance(message.get("role"), str) for message in value
    )


_CELLS: dict[str, tuple[set[type], Callable[[Any], bool], str]] = {
    "id": ({str}, _is_label, "text"),
    "group": ({str, int}, _is_label, "text or an integer"),
    "prompt": ({str}, _is_text, "text or a list of messages {role, content}"),
    "completion": ({str}, _is_text, "text or a list of messages {role, content}"),
    "meta": (set(), lambda value: isinstance(value, dict), "an object"),
    "truncated": ({bool}, lambda value: type(value) in (bool, int) and value in (0, 1), "true or false"),
}
"""Field -> types that need no second look, what fits, and its name in messages."""


def _check_cells(columns: Columns, bad: _Bad) -> None:
    for name, (plain, fits, expected) in _CELLS.items():
        values = columns.cells.get(name)
        if values is not None and not set(map(type, values)) <= plain | {_Absent}:
            _check_cell(name, values, fits, expected, bad)
    has = np.zeros(columns.n, bool)
    if "completion" in columns.cells:
        has |= is_present(columns.cells["completion"])
    if "tokens" in columns.tokens:
        has |= columns.tokens["tokens"].present
    bad.add(~has, lambda row: "expected a field 'completion' or 'tokens', found neither")


def _check_cell(name: str, values: list[Any], fits: Callable[[Any], bool], expected: str, bad: _Bad) -> None:
    wrong = [i for i, value in enumerate(values) if value is not ABSENT and not fits(value)]
    bad.add(wrong, lambda row: f"{name}: expected {expected}, got {describe(values[row])}")


def _check_count(name: str, column: Column, expected: np.ndarray | None, what: str, bad: _Bad) -> None:
    """Rows must have `expected` values; None: the spans that `what` counts do not exist."""
    got = column.rows.lengths
    if expected is None:
        unit = what.rpartition(" ")[2]
        bad.add(column.present, lambda row: f"{name}: has {got[row]} {what}, but there are no {unit}s")
        return
    bad.add(
        column.present & (got != expected),
        lambda row: f"{name}: expected {expected[row]} {what}, got {got[row]}",
    )


def _check_token_columns(columns: Columns, bad: _Bad) -> None:
    for name, column in columns.tokens.items():
        _check_count(name, column, span_counts(columns, "token"), "values, one per token", bad)


def _check_keys(columns: Columns, bad: _Bad) -> None:
    for name, column in columns.keys.items():
        _check_count(name, column, span_counts(columns, "step"), "keys, one per step", bad)


def _check_partitions(columns: Columns, lengths: np.ndarray, bad: _Bad) -> None:
    unit = "tokens" if "tokens" in columns.tokens else "characters"
    for level, column in columns.partitions.items():
        _check_partition(_FIELD_OF.get(level, f"partitions.{level}"), column, lengths, unit, bad)
    steps, turns = columns.partitions.get("step"), columns.partitions.get("turn")
    if steps is None or turns is None:
        return
    stride = max(int(part.rows.values.max(initial=0)) for part in (steps, turns)) + 2
    step_ends, turn_ends = (
        part.rows.row_ids() * stride + np.clip(part.rows.values, -1, None) for part in (steps, turns)
    )
    cut = np.zeros(columns.n, bool)
    cut[turns.rows.row_ids()[~np.isin(turn_ends, step_ends)]] = True
    bad.add(
        cut & steps.present & turns.present,
        lambda row: (
            f"turns: {_shown(turns, row)} cut a step in two (steps: {_shown(steps, row)}); "
            "expected every turn to end where a step ends"
        ),
    )


def _check_partition(name: str, column: Column, lengths: np.ndarray, unit: str, bad: _Bad) -> None:
    bad.add(
        column.present & _unpartitioned(column, lengths),
        lambda row: (
            f"{name}: {_shown(column, row)} do not partition the {lengths[row]} {unit}; "
            f"expected end offsets rising strictly up to {lengths[row]}"
        ),
    )


def _unpartitioned(column: Column, lengths: np.ndarray) -> np.ndarray:
    values, offsets = column.rows.values, column.rows.offsets
    filled = offsets[1:] > offsets[:-1]
    before = np.zeros_like(values)
    before[1:] = values[:-1]
    before[offsets[:-1][filled]] = 0
    wrong = filled != (lengths > 0)
    wrong[column.rows.row_ids()[values <= before]] = True
    wrong[filled] |= values[offsets[1:][filled] - 1] != lengths[filled]
    return wrong


def _shown(column: Column, row: int) -> str:
    ends = column.rows[row].tolist()
    return str(ends if len(ends) <= 12 else [*ends[:12], "..."]).replace("'", "")


def _check_signals(columns: Columns, schema: Schema, bad: _Bad) -> None:
    for name, signal in columns.signals.items():
        signal.expect(schema.levels.get(name) or _first_level(columns, signal, bad))
        level, other = signal.level, signal.other
        bad.add(
            other,
            _reasons(f"signals.{name}: expected level {level!r} as in the rows before, got {{!r}}", other),
        )
        expected = span_counts(columns, level)
        if expected is None:
            known = (*(["token"] if columns.tokens else []), *columns.partitions, "rollout", "group")
            what = f"one of the levels {', '.join(known)}, got {level!r}"
            bad.add(signal.column.present, _always(f"signals.{name}: expected {what}"))
        else:
            _check_count(f"signals.{name}", signal.column, expected, f"values at level {level!r}", bad)


def _first_level(columns: Columns, signal: SignalColumn, bad: _Bad) -> str:
    """The level of the first usable row that has the signal."""
    for row in np.flatnonzero(signal.column.present).tolist():
        level = signal.other.get(row, signal.level)
        if row not in bad and span_counts(columns, level) is not None:
            return level
    return signal.level


def _always(reason: str) -> Callable[[int], str]:
    return lambda row: reason


def _reasons(template: str, values: Mapping[int, Any]) -> Callable[[int], str]:
    return lambda row: template.format(values[row])


def fields_of(columns: Columns) -> dict[str, np.ndarray]:
    """Which rows have each of the fields that all rows of a file have or none, bool (N,)."""
    present = {name: is_present(values) for name, values in columns.cells.items()}
    present |= {name: column.present for name, column in (columns.tokens | columns.keys).items()}
    present |= {_FIELD_OF.get(k, f"partitions.{k}"): c.present for k, c in columns.partitions.items()}
    return {name: mask for name, mask in present.items() if name not in _OPTIONAL}


def _check_presence(columns: Columns, schema: Schema, bad: _Bad) -> None:
    present = fields_of(columns)
    if schema.fields is None:
        first = next((row for row in range(columns.n) if row not in bad), None)
        if first is None:
            return
        schema.fields = frozenset(name for name, mask in present.items() if mask[first])
    for name in sorted(present.keys() - schema.fields):
        reason = f"has {name!r} but the rows before have not; expected it in all rows or in none"
        bad.add(present[name], _always(reason))
    none = np.zeros(columns.n, bool)
    for name in sorted(
        schema.fields, key=_rank, reverse=True
    ):  # the most telling absence comes last and wins
        reason = f"has no {name!r} but the rows before have; expected it in all rows or in none"
        bad.add(~present.get(name, none), _always(reason), override=True)


def _rank(name: str) -> int:
    order = ("completion", *CELLS, *PER_TOKEN, *PARTITIONS, *KEYS)
    return order.index(name) if name in order else len(order)
