"""The fields of one JSON record: from the values `json.loads` gives to typed arrays, and on to Columns.

Types are checked here, field by field; whether fields agree with each other is checked on whole columns
(`guerdon.data.record_checks`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np

from guerdon.data.columns import (
    ABSENT,
    CELLS,
    FIELDS,
    KEYS,
    PARTITIONS,
    PER_TOKEN,
    Column,
    Columns,
    SignalColumn,
)
from guerdon.data.origin import is_key, keys_of
from guerdon.data.ragged import Ragged
from guerdon.data.record_checks import describe

_CELLS = frozenset(CELLS)
_NOTHING: dict[str, Any] = {}
_NULLABLE = frozenset(("reference", "images"))
_CODES: dict[Any, str] = {np.int32: "i", np.float32: "f", np.float64: "d"}
_EXPECTED = {"i": "integers of 32 bits", "q": "integers of 64 bits", "f": "numbers", "d": "numbers"}


class BadRecord(ValueError):
    """Why a line is no record."""


def parse_record(record: dict[str, Any]) -> dict[str, Any]:
    """Typed fields: arrays for numbers, other values as they are; `null` is a field that is not there.

    Partitions, signals and unknown fields come as mappings "partitions", "signals" and "extra".

    Raises:
        BadRecord: a field of the wrong type.
    """
    row: dict[str, Any] = {}
    for name, value in record.items():
        if name in _CELLS:
            if value is not None or name in _NULLABLE:
                row[name] = value
        elif name not in FIELDS:
            row.setdefault("extra", {})[name] = value
        elif value is not None:
            _PARSERS[name](row, name, value)
    return row


def _parse_numbers(row: dict[str, Any], name: str, value: Any) -> None:
    row[name] = numbers(name, value, _CODES[PER_TOKEN[name]])


def _parse_acted(row: dict[str, Any], name: str, value: Any) -> None:
    try:
        row[name] = bytes(value if isinstance(value, list) else [-1])
    except (TypeError, ValueError):
        row[name] = b"?"
    if row[name].translate(None, b"\0\1"):
        raise BadRecord(f"{name}: expected a list of 0 and 1, or false and true, got {describe(value)}")


def _parse_ends(row: dict[str, Any], name: str, value: Any) -> None:
    ends = row.setdefault("partitions", {})
    if PARTITIONS[name] in ends:
        raise BadRecord(f"{name}: expected once, but 'partitions' has {PARTITIONS[name]!r} too")
    ends[PARTITIONS[name]] = numbers(name, value, "q")


def _parse_partitions(row: dict[str, Any], name: str, value: Any) -> None:
    found = row.setdefault("partitions", {})
    for level, ends in _object(name, value).items():
        if level in found or level in ("token", "rollout", "group"):
            raise BadRecord(f"{name}.{level}: expected the name of a level that is not there already")
        if ends is not None:
            found[level] = numbers(f"{name}.{level}", ends, "q")


def _parse_keys(row: dict[str, Any], name: str, value: Any) -> None:
    row[name] = parse_keys(name, value)


def _parse_signals(row: dict[str, Any], name: str, value: Any) -> None:
    found = row.setdefault(name, {})
    for key, signal in _object(name, value).items():
        if signal is None:
            continue
        if type(signal) is not dict or type(signal.get("level")) is not str or "values" not in signal:
            raise BadRecord(f"{name}.{key}: expected {{level: text, values: [...]}}, got {describe(signal)}")
        try:
            values = array("d", signal["values"] if type(signal["values"]) is list else [None])
        except (TypeError, OverflowError):
            values = numbers(f"{name}.{key}.values", signal["values"], "d")
        causes = _parse_causes(f"{name}.{key}.causes", signal["causes"]) if signal.get("causes") else None
        found[key] = signal["level"], values, causes


def _parse_causes(name: str, causes: Any) -> dict[int, str]:
    if not all(at.isdecimal() and isinstance(why, str) for at, why in _object(name, causes).items()):
        raise BadRecord(f"{name}: expected {{position: text}}, got {describe(causes)}")
    return {int(at): why for at, why in causes.items()}


_PARSERS: dict[str, Callable[[dict[str, Any], str, Any], None]] = {
    **dict.fromkeys(PER_TOKEN, _parse_numbers),
    "acted": _parse_acted,
    **dict.fromkeys(PARTITIONS, _parse_ends),
    "partitions": _parse_partitions,
    **dict.fromkeys(KEYS, _parse_keys),
    "signals": _parse_signals,
}


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRecord(f"{name}: expected an object, got {describe(value)}")
    return value


def numbers(name: str, value: Any, code: str) -> array[Any]:
    """A JSON list as a typed array; null is NaN where numbers are expected."""
    if not isinstance(value, list):
        raise BadRecord(f"{name}: expected a list of {_EXPECTED[code]}, got {describe(value)}")
    try:
        return array(code, value)
    except (TypeError, OverflowError):
        if code in "fd" and None in value:
            return numbers(name, [float("nan") if entry is None else entry for entry in value], code)
    at = next(at for at, entry in enumerate(value) if not _fits(code, entry))
    raise BadRecord(f"{name}[{at}]: expected a list of {_EXPECTED[code]}, got {describe(value[at])}")


def _fits(code: str, value: Any) -> bool:
    try:
        return bool(array(code, [value]))
    except (TypeError, OverflowError):
        return False


def parse_keys(name: str, value: Any) -> tuple[array[int], list[Any] | None]:
    """Keys of steps as int64, and the list itself unless it held integers only."""
    if not isinstance(value, list):
        raise BadRecord(f"{name}: expected a list of integers or texts, got {describe(value)}")
    if all(map(is_key, value)):
        return array("q", value), None
    for at, entry in enumerate(value):
        if not isinstance(entry, (str, int)) or isinstance(entry, bool):
            raise BadRecord(f"{name}[{at}]: expected integers or texts, got {describe(entry)}")
    return array("q", keys_of(value)), value


def gather(records: list[dict[str, Any]]) -> Columns:
    """Parsed records as Columns."""
    columns = Columns(n=len(records))
    fields = dict.fromkeys(chain.from_iterable(records))
    for name in CELLS:
        if name in fields:
            columns.cells[name] = [record.get(name, ABSENT) for record in records]
    for name, dtype in PER_TOKEN.items():
        if name in fields:
            columns.tokens[name] = _column([record.get(name) for record in records], dtype)
    for name in KEYS:
        if name in fields:
            keys = [record.get(name, (None, None)) for record in records]
            columns.keys[name] = _column([entry[0] for entry in keys], np.int64)
            columns.labels[name] = [entry[1] for entry in keys]
    for level in _names(records, "partitions"):
        columns.partitions[level] = _column([_part(r, "partitions").get(level) for r in records], np.int64)
    for name in _names(records, "signals"):
        columns.signals[name] = _signal_column([_part(r, "signals").get(name) for r in records])
    for name in _names(records, "extra"):
        columns.extra[name] = [_part(r, "extra").get(name, ABSENT) for r in records]
    return columns


def _names(records: list[dict[str, Any]], part: str) -> Iterable[str]:
    return dict.fromkeys(chain.from_iterable(_part(record, part) for record in records))


def _part(record: dict[str, Any], part: str) -> dict[str, Any]:
    return record.get(part, _NOTHING)


def _column(rows: list[Any], dtype: Any) -> Column:
    data = bytearray().join([row for row in rows if row is not None])
    lengths = [0 if row is None else len(row) for row in rows]
    present = np.array([row is not None for row in rows], bool)
    return Column(Ragged.from_lengths(np.frombuffer(data, dtype), lengths), present)


def _signal_column(rows: list[tuple[str, array[float], dict[int, str] | None] | None]) -> SignalColumn:
    level = next(row[0] for row in rows if row is not None)
    return SignalColumn(
        level,
        _column([None if row is None else row[1] for row in rows], np.float64),
        {i: row[0] for i, row in enumerate(rows) if row is not None and row[0] != level},
        {i: row[2] for i, row in enumerate(rows) if row is not None and row[2]},
    )
