"""Verdicts on a Parquet file: kept as Arrow while the run is under way, joined with the input in the end.

The columns of the input go to the output as they are, without becoming Python values in between.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from guerdon.score.chunk import Chunk
from guerdon.score.parquet_source import rows_per_read
from guerdon.score.sinks import Appended, Streams, convert
from guerdon.score.splice import Item, stream
from guerdon.store.atomic import store_errors, sync_file

_GROUP_ROWS = 1 << 16
_GROUP_BYTES = 64 << 20
_VALUES = pa.large_list(pa.float64())


class ParquetSink:
    """Verdicts for a Parquet file; arguments as for `JsonlSink`, and the input."""

    def __init__(
        self, folder: Path, out: Path, source: Path, labels: Sequence[str], state: Mapping[str, Any]
    ) -> None:
        self._folder, self._source, self._labels = folder, source, labels
        self._convert = not out.name.lower().endswith(".parquet")
        self._out = out
        self.file = Appended(folder / "signals.arrow", int(state.get("size", 0)))
        self._rows: list[np.ndarray] = []
        self._items: dict[str, list[Item]] = {label: [] for label in labels}

    def append(self, chunk: Chunk, items: Mapping[str, Sequence[Item]]) -> None:
        """See `Sink`."""
        self._rows.append(np.asarray(chunk.numbers, np.int64))
        for label in self._labels:
            self._items[label] += items[label]

    def commit(self) -> dict[str, Any]:
        """See `Sink`."""
        if self._rows:
            self.file.write(_encode(np.concatenate(self._rows), self._items))
            self._rows, self._items = [], {label: [] for label in self._labels}
        return {"size": self.file.sync()}

    def build(self, streams: Streams) -> Path:
        """See `Sink`."""
        final = self._folder / "final.parquet"
        with store_errors(self._out.name, self._out):
            join(self._source, self.file.path, streams, final)
            sync_file(final)
        if not self._convert:
            return final
        suffix = ".jsonl.gz" if self._out.name.lower().endswith(".gz") else ".jsonl"
        return convert(final, self._folder / f"records{suffix}")

    def close(self) -> None:
        """See `Sink`."""
        self.file.close()


# -- verdicts as Arrow -------------------------------------------------------------------------------------


def _encode(rows: np.ndarray, items: Mapping[str, Sequence[Item]]) -> bytes:
    """A stream of one batch: row numbers, and values and causes of every signal."""
    columns: dict[str, pa.Array] = {"row": pa.array(rows)}
    for label, column in items.items():
        if set(map(type, column)) <= {float}:
            flat = pa.array(np.fromiter(column, np.float64, len(column)))
            columns[f"values:{label}"] = pa.LargeListArray.from_arrays(
                pa.array(np.arange(len(column) + 1)), flat
            )
            continue
        for output in dict.fromkeys(
            key for item in column for key in (item if isinstance(item, dict) else ("",))
        ):
            values, causes = zip(*(_cell(item, output) for item in column), strict=True)
            name = stream(label, output)
            columns[f"values:{name}"] = pa.array(values, _VALUES)
            columns[f"causes:{name}"] = pa.array(causes, pa.string())
    buffer = io.BytesIO()
    table = pa.table(columns)
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def _cell(item: Item, output: str) -> tuple[list[float | None] | None, str | None]:
    if isinstance(item, float):
        return ([item], None) if output == "" else (None, None)
    if item is None or output not in item:
        return None, None
    _, values, causes = item[output]
    return values, json.dumps({str(at): why for at, why in causes.items()}) if causes else None


def _segments(path: Path, names: Sequence[str]) -> Iterator[pa.Table]:
    """What was committed, each with the columns of all signals."""
    kinds = {"row": pa.int64()}
    for name in names:
        kinds |= {f"values:{name}": _VALUES, f"causes:{name}": pa.string()}
    schema = pa.schema(list(kinds.items()))
    with open(path, "rb") as file:
        size = path.stat().st_size
        while file.tell() < size:
            table = pa.ipc.open_stream(file).read_all()
            columns = [
                table[f.name] if f.name in table.column_names else pa.nulls(len(table), f.type)
                for f in schema
            ]
            yield pa.table(columns, schema=schema)


class _Cursor:
    """Reads the verdicts row by row of the input, in order."""

    def __init__(self, segments: Iterator[pa.Table]) -> None:
        self._segments = segments
        self._held: pa.Table = next(segments)

    def until(self, row: int) -> pa.Table:
        """All verdicts on rows before `row` that were not taken yet."""
        parts = []
        while True:
            stop = int(np.searchsorted(self._held["row"].to_numpy(), row))
            parts.append(self._held.slice(0, stop))
            self._held = self._held.slice(stop)
            following = None if len(self._held) else next(self._segments, None)
            if following is None:
                return pa.concat_tables(parts)
            self._held = following


# -- the join ----------------------------------------------------------------------------------------------


def join(source: Path, verdicts: Path, streams: Streams, target: Path) -> None:
    """Write the rows of `source` that have verdicts, with the signals added to their column `signals`.

    Args:
        source: the input, a Parquet file.
        verdicts: what a ParquetSink committed.
        streams: the signals.
        target: the file to write.
    """
    cursor = _Cursor(_segments(verdicts, list(streams)))
    writer: pq.ParquetWriter | None = None
    try:
        for table in _grouped(_joined(source, cursor, streams)):
            if writer is None:
                # Dictionaries pay for repeated text; numbers per token are read faster without.
                texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
                texts += [f"signals.{name}.level" for name in streams]
                writer = pq.ParquetWriter(target, table.schema, compression="zstd", use_dictionary=texts)
            writer.write_table(table, row_group_size=max(len(table), 1))
    finally:
        if writer is not None:
            writer.close()


def _joined(source: Path, cursor: _Cursor, streams: Streams) -> Iterator[pa.Table]:
    start = 0
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(rows_per_read(file)):
            table = pa.Table.from_batches([batch])
            found = cursor.until(start + len(table))
            if len(found) < len(table):
                table = table.take(pa.array(found["row"].to_numpy() - start))
            start += len(batch)
            if len(table):
                yield _with_signals(table, found, streams)


def _with_signals(table: pa.Table, found: pa.Table, streams: Streams) -> pa.Table:
    members: dict[str, pa.Array] = {}
    if "signals" in table.column_names and pa.types.is_struct(table.schema.field("signals").type):
        before = table["signals"].combine_chunks()
        members = {field.name: before.flatten()[i] for i, field in enumerate(before.type)}
    for name, (level, has_causes) in streams.items():
        values = found[f"values:{name}"].combine_chunks()
        arrays = {"level": pa.repeat(pa.scalar(level), len(found)), "values": values}
        if has_causes:
            arrays["causes"] = found[f"causes:{name}"].combine_chunks()
        mask = values.is_null() if values.null_count else None
        members[name] = pa.StructArray.from_arrays(list(arrays.values()), names=list(arrays), mask=mask)
    signals = pa.StructArray.from_arrays(list(members.values()), names=list(members))
    if "signals" in table.column_names:
        return table.set_column(table.column_names.index("signals"), "signals", signals)
    return table.append_column("signals", signals)


def _grouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Row groups of a useful size."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        waiting.append(table)
        rows, size = rows + len(table), size + table.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_tables(waiting)
