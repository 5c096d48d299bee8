"""Columns to Parquet: how each column is stored, and a writer whose columns may widen as batches come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from guerdon.data.columns import (
    ABSENT,
    CELLS,
    PARTITIONS,
    PER_TOKEN,
    Column,
    Columns,
    SignalColumn,
)
from guerdon.data.keys import plain
from guerdon.data.origin import is_key
from guerdon.data.parquet import JSON_MARK, iter_columns
from guerdon.errors import DataError

_TYPES = {
    "text": pa.string(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "float": pa.float64(),
    "json": pa.string(),
}
_OF_TYPE = {str: "text", int: "int", bool: "bool", float: "float"}
_EMPTY = {"group": "int", "truncated": "bool", "meta": "json"}
_REWRITE_ROWS = 4096


@dataclass(frozen=True)
class Layout:
    """How the columns of a file are stored.

    Attributes:
        cells, extra: field -> "text", "int", "bool", "float", "json", or "native" (Arrow's own choice,
            for bytes and dates).
        keys: "state", "node" -> "int", "text" or "json".
        lists: per-token fields and partitions ("partitions.LEVEL").
        signals: signal -> whether any of its values has a cause.
    """

    cells: Mapping[str, str]
    extra: Mapping[str, str]
    keys: Mapping[str, str]
    lists: frozenset[str]
    signals: Mapping[str, bool]

    def merge(self, other: Layout) -> Layout:
        """The layout that holds both."""
        return Layout(
            cells=_merge(self.cells, other.cells),
            extra=_merge(self.extra, other.extra),
            keys=_merge(self.keys, other.keys),
            lists=self.lists | other.lists,
            signals={
                name: self.signals.get(name, False) or other.signals.get(name, False)
                for name in {**self.signals, **other.signals}
            },
        )

    @classmethod
    def of(cls, columns: Columns) -> Layout:
        """The narrowest layout for one batch."""
        return cls(
            cells={name: _encoding(name, values) for name, values in columns.cells.items()},
            extra={name: _encoding(name, values) for name, values in columns.extra.items()},
            keys={name: _key_encoding(columns, name) for name in columns.keys},
            lists=frozenset((*columns.tokens, *(f"partitions.{level}" for level in columns.partitions))),
            signals={name: bool(signal.causes) for name, signal in columns.signals.items()},
        )


def _merge(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, str]:
    differ = {name: "json" for name in a.keys() & b.keys() if a[name] != b[name]}
    return {**a, **b, **differ}


def _encoding(name: str, values: list[Any]) -> str:
    kinds = set(map(type, values)) - {type(ABSENT)}
    if name == "meta" or not kinds:
        return _EMPTY.get(name, "text")
    kind = _OF_TYPE.get(kinds.pop(), "json") if len(kinds) == 1 else "json"
    given = [value for value in values if value is not ABSENT]
    if (kind == "text" and not all(map(_has_utf8, given))) or (kind == "int" and not all(map(is_key, given))):
        return "json"
    if kind == "json" and not _is_json(given):
        return "native"
    return kind


def _has_utf8(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _is_json(values: list[Any]) -> bool:
    try:
        return bool(json.dumps(values, default=plain))
    except (TypeError, ValueError, RecursionError):
        return False


def _key_encoding(columns: Columns, name: str) -> str:
    labels = columns.labels.get(name)
    if labels is None or not any(label is not None for label in labels):
        return "int"
    entries = [entry for label in labels for entry in (label or ())]
    lengths = columns.keys[name].rows.lengths
    full = all(label is not None or not lengths[row] for row, label in enumerate(labels))
    return "text" if full and all(type(e) is str and _has_utf8(e) for e in entries) else "json"


def encode(columns: Columns, layout: Layout) -> pa.Table:
    """Arrow table of one batch; fields of the layout that the batch lacks are null.

    Raises:
        DataError: a value Parquet cannot hold (row and column named).
    """
    fields: list[tuple[pa.Field, pa.Array]] = []

    def add(name: str, array: pa.Array, is_json: bool = False) -> None:
        fields.append((pa.field(name, array.type, metadata=JSON_MARK if is_json else None), array))

    def add_cells(values: Mapping[str, list[Any]], encodings: Mapping[str, str], name: str) -> None:
        cells = values.get(name, [ABSENT] * columns.n)
        add(name, _cells(name, cells, encodings[name]), encodings[name] == "json")

    for name in CELLS:
        if name in layout.cells:
            add_cells(columns.cells, layout.cells, name)
    for name, dtype in PER_TOKEN.items():
        if name in layout.lists and name != "advantages":
            add(name, _list(columns.tokens.get(name), columns.n, dtype))
    levels = {
        name.removeprefix("partitions."): name for name in layout.lists if name.startswith("partitions.")
    }
    for name, level in PARTITIONS.items():
        if levels.pop(level, None):
            add(name, _list(columns.partitions.get(level), columns.n, np.int64))
    if levels:
        ends = {level: _list(columns.partitions.get(level), columns.n, np.int64) for level in sorted(levels)}
        add("partitions", pa.StructArray.from_arrays(list(ends.values()), names=list(ends)))
    for name, encoding in layout.keys.items():
        add(name, _keys(columns, name, encoding), encoding == "json")
    if layout.signals:
        parts = {
            k: _signal(columns.signals.get(k), columns.n, causes) for k, causes in layout.signals.items()
        }
        add("signals", pa.StructArray.from_arrays(list(parts.values()), names=list(parts)))
    if "advantages" in layout.lists:
        add("advantages", _list(columns.tokens.get("advantages"), columns.n, np.float64))
    for name in layout.extra:
        add_cells(columns.extra, layout.extra, name)
    return pa.Table.from_arrays(
        [array for _, array in fields], schema=pa.schema([field for field, _ in fields])
    )


def _cells(name: str, values: list[Any], encoding: str) -> pa.Array:
    cells = [None if value is ABSENT else value for value in values]
    if encoding != "json":
        try:
            return pa.array(cells, _TYPES.get(encoding))
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise DataError(f"column {name!r} cannot be written to Parquet: {error}") from error
    try:
        return pa.array(_json_texts(name, values, False), pa.string())
    except UnicodeEncodeError:
        return pa.array(_json_texts(name, values, True), pa.string())


def _json_texts(name: str, values: list[Any], ascii_only: bool) -> list[str | None]:
    encoder = json.JSONEncoder(ensure_ascii=ascii_only, separators=(",", ":"), default=plain).encode
    texts: list[str | None] = []
    for row, value in enumerate(values):
        try:
            texts.append(None if value is ABSENT else encoder(value))
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(f"row {row}: {name} cannot be written as JSON: {error}") from error
    return texts


def _list(column: Column | None, n: int, dtype: Any) -> pa.Array:
    kind = pa.from_numpy_dtype(dtype)
    if column is None:
        return pa.nulls(n, pa.large_list(kind))
    mask = None if column.present.all() else pa.array(~column.present)
    return pa.LargeListArray.from_arrays(
        pa.array(column.rows.offsets), pa.array(column.rows.values, kind), mask=mask
    )


def _keys(columns: Columns, name: str, encoding: str) -> pa.Array:
    column = columns.keys.get(name)
    if encoding == "int" or column is None:
        kind = {"int": pa.large_list(pa.int64()), "text": pa.large_list(pa.string()), "json": pa.string()}[
            encoding
        ]
        return pa.nulls(columns.n, kind) if column is None else _list(column, columns.n, np.int64)
    labels = columns.labels.get(name) or [None] * columns.n
    lists: list[Any] = [
        ABSENT if not there else (keys if label is None else label)
        for there, keys, label in zip(column.present.tolist(), column.rows.to_lists(), labels, strict=True)
    ]
    if encoding == "json":
        return _cells(name, lists, "json")
    return pa.array([None if value is ABSENT else value for value in lists], pa.large_list(pa.string()))


def _signal(signal: SignalColumn | None, n: int, with_causes: bool) -> pa.Array:
    column = None if signal is None else signal.column
    level = pa.nulls(n, pa.string()) if signal is None else pa.repeat(pa.scalar(signal.level), n)
    arrays, names = [level, _list(column, n, np.float64)], ["level", "values"]
    if with_causes:
        causes = {} if signal is None else signal.causes
        arrays.append(
            pa.array([json.dumps(causes[i]) if i in causes else None for i in range(n)], pa.string())
        )
        names.append("causes")
    present = np.zeros(n, bool) if column is None else column.present
    mask = None if present.all() else pa.array(~present)
    return pa.StructArray.from_arrays(arrays, names=names, mask=mask)


class Writer:
    """Appends batches to a new Parquet file; a batch that needs wider columns rewrites what is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: pq.ParquetWriter | None = None
        self._layout: Layout | None = None

    def write(self, columns: Columns) -> None:
        """Append one row group.

        Raises:
            DataError: a value Parquet cannot hold.
        """
        layout = Layout.of(columns)
        if self._layout is None or self._file is None:
            self._open(layout, encode(columns, layout).schema)
        elif self._layout.merge(layout) != self._layout:
            self._widen(self._layout.merge(layout))
        self._append(columns)

    def close(self) -> None:
        """Write the footer."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, layout: Layout, schema: pa.Schema) -> None:
        self._layout = layout
        # Dictionaries pay for repeated text; numbers per token are read faster without.
        self._file = pq.ParquetWriter(
            self._path, schema, compression="zstd", use_dictionary=list(_text_columns(schema))
        )

    def _append(self, columns: Columns) -> None:
        assert self._layout is not None and self._file is not None
        table = encode(columns, self._layout)
        try:
            self._file.write_table(table, row_group_size=max(len(table), 1))
        except (ValueError, pa.ArrowException) as error:
            raise DataError(f"a batch has columns of other types than those before: {error}") from error

    def _widen(self, layout: Layout) -> None:
        self.close()
        old = self._path.with_name(self._path.name + ".narrow")
        self._path.replace(old)
        try:
            for columns, _ in iter_columns(old, _REWRITE_ROWS, _refuse, True):
                if self._file is None:
                    self._open(layout, encode(columns, layout).schema)
                self._append(columns)
        finally:
            old.unlink()


def _text_columns(fields: Iterable[pa.Field], inside: str = "") -> Iterator[str]:
    """Dotted paths of all text columns."""
    for each in fields:
        if pa.types.is_struct(each.type):
            yield from _text_columns(each.type, f"{inside}{each.name}.")
        elif pa.types.is_string(each.type):
            yield inside + each.name


def _refuse(row: int, reason: str) -> None:
    raise DataError(f"row {row}: {reason}")
