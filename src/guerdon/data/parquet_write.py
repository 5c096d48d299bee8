"""Columns to Parquet: how each column is stored, and a writer whose columns may widen as batches come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
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
from guerdon.data.parquet import JSON_MARK, iter_columns
from guerdon.data.parquet_layout import Layout
from guerdon.errors import DataError

_TYPES = {
    "text": pa.string(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "float": pa.float64(),
    "json": pa.string(),
}
_REWRITE_ROWS = 4096


def encode(columns: Columns, layout: Layout) -> pa.Table:
    """Arrow table of one batch; fields of the layout that the batch lacks are null.

    Raises:
        DataError: a value Parquet cannot hold (row and column named).
    """
    arrays: dict[str, pa.Array] = {}
    for name in CELLS:
        if name in layout.cells:
            arrays[name] = _cells(name, columns.cells.get(name), columns.n, layout.cells[name])
    for name, dtype in PER_TOKEN.items():
        if name in layout.lists:
            arrays[name] = _list(columns.tokens.get(name), columns.n, dtype)
    arrays |= _partitions(columns, layout)
    for name, encoding in layout.keys.items():
        arrays[name] = _keys(columns, name, encoding)
    if layout.signals:
        parts = [_signal(columns.signals.get(k), columns.n, causes) for k, causes in layout.signals.items()]
        arrays["signals"] = pa.StructArray.from_arrays(parts, names=list(layout.signals))
    if "advantages" in arrays:
        arrays["advantages"] = arrays.pop("advantages")  # last, as in JSON
    for name, encoding in layout.extra.items():
        arrays[name] = _cells(name, columns.extra.get(name), columns.n, encoding)
    encodings = {**layout.cells, **layout.keys, **layout.extra}
    fields = [
        pa.field(name, array.type, metadata=JSON_MARK if encodings.get(name) == "json" else None)
        for name, array in arrays.items()
    ]
    return pa.Table.from_arrays(list(arrays.values()), schema=pa.schema(fields))


def _partitions(columns: Columns, layout: Layout) -> dict[str, pa.Array]:
    prefix = "partitions."
    levels = [name.removeprefix(prefix) for name in sorted(layout.lists) if name.startswith(prefix)]
    ends = {level: _list(columns.partitions.get(level), columns.n, np.int64) for level in levels}
    arrays = {name: ends.pop(level) for name, level in PARTITIONS.items() if level in ends}
    if ends:
        arrays["partitions"] = pa.StructArray.from_arrays(list(ends.values()), names=list(ends))
    return arrays


def _cells(name: str, values: list[Any] | None, n: int, encoding: str) -> pa.Array:
    values = [ABSENT] * n if values is None else values
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
        return _cells(name, lists, columns.n, "json")
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

    max_units = 1 << 22

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
