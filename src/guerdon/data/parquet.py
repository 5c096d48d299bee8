"""Records as Parquet: Arrow tables to Columns and back.

The columns are the fields of a record. Numbers per token, offsets and keys are Arrow lists, whose buffers
become the arrays of a Ragged without a copy (and back); `signals` and `partitions` are structs as in JSON.
Text is text where all rows hold text. What may be anything (`meta`, `reference`, messages, mixed types) is
JSON text, marked so in the field's metadata `guerdon: json`; tables by other programs may hold such fields
as structs and lists instead. A null cell is a field that the record does not have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from guerdon.data.columns import (
    ABSENT,
    CELLS,
    KEYS,
    PARTITIONS,
    PER_TOKEN,
    Column,
    Columns,
    SignalColumn,
)
from guerdon.data.ragged import Ragged
from guerdon.data.record_fields import BadRecord, parse_keys
from guerdon.errors import DataError
from guerdon.registry import nearest

UNIT = "row"
Report = Callable[[int, str], None]

JSON_MARK = {b"guerdon": b"json"}
_KINDS = {"i": "integers", "u": "integers", "f": "numbers", "b": "booleans"}


def iter_columns(
    path: Path, rows: int | None, report: Report, strict: bool
) -> Iterator[tuple[Columns, Sequence[int]]]:
    """Batches of at most `rows` rows (None: all in one) with their row numbers.

    Raises:
        DataError: no Parquet file, no column `completion` or `tokens`, a column of the wrong type.
    """
    try:
        with pq.ParquetFile(path) as file:
            _require_columns(path, file.schema_arrow.names)
            start = 0
            for table in _tables(file, rows):
                yield decode(table, str(path)), range(start, start + len(table))
                start += len(table)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as Parquet, it may have been cut off: {reason}") from error


def _tables(file: pq.ParquetFile, rows: int | None) -> Iterator[pa.Table]:
    if rows is None:
        if file.metadata.num_rows:
            yield file.read()
        return
    for batch in file.iter_batches(batch_size=rows):
        yield pa.Table.from_batches([batch])


def _require_columns(path: Path, found: list[str]) -> None:
    if "completion" not in found and "tokens" not in found:
        hint = "".join(nearest(name, found) for name in ("completion",))
        raise DataError(f"{path}: expected a column 'completion' or 'tokens'{hint}")


def decode(table: pa.Table, where: str) -> Columns:
    """Columns of an Arrow table; a column that is null throughout is not there.

    Args:
        table: one row per record.
        where: the file, for messages.

    Raises:
        DataError: a column of the wrong type.
    """
    columns = Columns(n=len(table))
    for schema_field in table.schema:
        name, values = schema_field.name, table[schema_field.name]
        place = f"{where} column {name!r}"
        if values.null_count == len(values):
            continue
        if name in PER_TOKEN:
            columns.tokens[name] = _numbers(place, name, values, PER_TOKEN[name], columns.broken)
        elif name in PARTITIONS:
            columns.partitions[PARTITIONS[name]] = _numbers(place, name, values, np.int64, columns.broken)
        elif name in KEYS:
            _decode_keys(columns, place, schema_field, values)
        elif name == "partitions":
            for level, ends in _children(place, values).items():
                if ends.null_count < len(ends):
                    columns.partitions[level] = _numbers(place, level, ends, np.int64, columns.broken)
        elif name == "signals":
            for key, signal in _children(place, values).items():
                _decode_signal(columns, f"{place}.{key}", key, signal)
        else:
            cells = columns.cells if name in CELLS else columns.extra
            cells[name] = _cells(schema_field, values, columns.broken)
    return columns


def _cells(schema_field: pa.Field, values: pa.ChunkedArray, broken: dict[int, str]) -> list[Any]:
    text = pa.types.is_string(schema_field.type) or pa.types.is_large_string(schema_field.type)
    cells: list[Any] = [ABSENT if value is None else value for value in values.to_pylist()]
    if not (_is_json(schema_field) or (schema_field.name == "meta" and text)):
        return cells
    if _is_json(schema_field) and (whole := _parse_all(values)) is not None:
        return [ABSENT if cell is ABSENT else value for cell, value in zip(cells, whole, strict=True)]
    for row, cell in enumerate(cells):
        if cell is not ABSENT:
            try:
                cells[row] = json.loads(cell)
            except (ValueError, TypeError, RecursionError) as error:
                cells[row] = ABSENT
                broken.setdefault(row, f"{schema_field.name}: expected JSON text: {error}")
    return cells


def _parse_all(values: pa.ChunkedArray) -> list[Any] | None:
    """All cells in one go, None where that fails: one call for many small texts is much faster."""
    texts = pc.fill_null(values, "null").to_pylist()
    try:
        whole = json.loads(f"[{','.join(texts)}]")
    except (ValueError, RecursionError):
        return None
    return whole if len(whole) == len(texts) else None


def _is_json(schema_field: pa.Field) -> bool:
    return (schema_field.metadata or {}).get(b"guerdon") == b"json"


def _decode_keys(columns: Columns, place: str, schema_field: pa.Field, values: pa.ChunkedArray) -> None:
    name = schema_field.name
    if _is_list(values.type) and pa.types.is_signed_integer(values.type.value_type):
        columns.keys[name] = _numbers(place, name, values, np.int64, columns.broken)
        return
    lists = _cells(schema_field, values, columns.broken)
    keys, labels = [], []
    for row, value in enumerate(lists):
        try:
            key, label = (np.empty(0, np.int64), None) if value is ABSENT else parse_keys(name, value)
        except BadRecord as error:
            columns.broken.setdefault(row, str(error))
            key, label = np.empty(0, np.int64), None
        keys.append(np.asarray(key, np.int64))
        labels.append(label)
    present = np.array([value is not ABSENT for value in lists], bool)
    columns.keys[name] = Column(Ragged.from_lists(keys, np.int64), present)
    columns.labels[name] = labels


def _decode_signal(columns: Columns, place: str, name: str, signal: pa.ChunkedArray) -> None:
    if signal.null_count == len(signal):
        return
    parts = _children(place, signal)
    if "level" not in parts or "values" not in parts:
        raise DataError(f"{place}: expected a struct of 'level' and 'values', got {signal.type}")
    if parts["values"].null_count == len(signal):
        return
    column = _numbers(f"{place}.values", f"signals.{name}", parts["values"], np.float64, columns.broken)
    levels = parts["level"].to_pylist()
    level = levels[int(np.flatnonzero(column.present)[0])]
    decoded = SignalColumn(str(level), column)
    if set(levels) - {level, None} or level is None:
        decoded.other = {i: str(v) for i, v in enumerate(levels) if column.present[i] and v != level}
    if "causes" in parts and parts["causes"].null_count < len(signal):
        for row, text in enumerate(parts["causes"].to_pylist()):
            if text is not None:
                decoded.causes[row] = {int(at): why for at, why in json.loads(text).items()}
    columns.signals[name] = decoded


def _children(place: str, values: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Children of a struct column, null where the struct is."""
    if not pa.types.is_struct(values.type):
        raise DataError(f"{place}: expected a struct, got {values.type}")
    names = [values.type.field(i).name for i in range(values.type.num_fields)]
    return dict(zip(names, values.flatten(), strict=True))


def _is_list(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind)
        for is_kind in (
            pa.types.is_list,
            pa.types.is_large_list,
            pa.types.is_fixed_size_list,
            pa.types.is_list_view,
            pa.types.is_large_list_view,
        )
    )


def _numbers(place: str, name: str, values: pa.ChunkedArray, dtype: Any, broken: dict[int, str]) -> Column:
    """A column of lists as ragged numbers; rows that do not fit the type are noted as broken."""
    expected = _KINDS[np.dtype(dtype).kind]
    inner = values.type.value_type if _is_list(values.type) else None
    fits = inner is not None and (
        pa.types.is_null(inner)
        or pa.types.is_integer(inner)
        or (expected == "numbers" and (pa.types.is_floating(inner) or pa.types.is_decimal(inner)))
        or (expected == "booleans" and pa.types.is_boolean(inner))
    )
    if not fits:
        raise DataError(f"{place}: expected lists of {expected}, got {values.type}")
    parts = [_chunk(chunk) for chunk in values.chunks]
    lengths = [np.diff(offsets) for offsets, _ in parts]
    flats, start = [], 0
    for (offsets, flat), each in zip(parts, lengths, strict=True):
        array, wrong = _flat(flat, np.dtype(dtype))
        if wrong is not None and wrong.any():
            rows = np.searchsorted(offsets, np.flatnonzero(wrong), side="right") - 1 + start
            for row in np.unique(rows).tolist():
                broken.setdefault(row, f"{name}: expected {expected}{_range(dtype)} in every place")
        flats.append(array)
        start += len(each)
    present = ~values.is_null().to_numpy() if values.null_count else np.ones(len(values), bool)
    if len(parts) == 1:
        return Column(Ragged(flats[0], parts[0][0]), present)
    return Column(Ragged.from_lengths(np.concatenate(flats), np.concatenate(lengths)), present)


def _range(dtype: Any) -> str:
    return {np.int32: " of 32 bits", np.int64: " of 64 bits", np.bool_: " (or 0 and 1)"}.get(dtype, "")


def _chunk(chunk: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Offsets from 0 and flat values of a list array; null rows are empty."""
    if not (pa.types.is_list(chunk.type) or pa.types.is_large_list(chunk.type)):
        chunk = chunk.cast(pa.large_list(chunk.type.value_type))
    if chunk.null_count:
        lengths = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy(zero_copy_only=False)
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]), chunk.flatten()
    offsets = chunk.offsets.to_numpy()
    values = chunk.values.slice(offsets[0], offsets[-1] - offsets[0])
    return (offsets - offsets[0] if offsets[0] else offsets).astype(np.int64, copy=False), values


def _flat(values: pa.Array, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Flat numbers of `dtype`, and which of them did not fit it (None: all did). Same type: no copy."""
    if values.type == pa.from_numpy_dtype(dtype) and not values.null_count and dtype != np.bool_:
        if not len(values):
            return np.empty(0, dtype), None
        # The buffer belongs to the table just read, nobody else sees it: unlike to_numpy() this is writable.
        return np.frombuffer(values.buffers()[1], dtype, len(values), values.offset * dtype.itemsize), None
    if dtype.kind == "f":
        return pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False).astype(dtype), None
    missing = values.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_boolean(values.type):
        return pc.fill_null(values, False).to_numpy(zero_copy_only=False), missing
    if pa.types.is_null(values.type):
        return np.zeros(len(values), dtype), missing
    given = pc.fill_null(values, 0).to_numpy(zero_copy_only=False)
    array = given.astype(dtype)
    return array, missing | (array != given)
