"""Parquet as chunks: Arrow tables are kept as they are, and checked as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from guerdon.data import parquet
from guerdon.data.columns import Columns
from guerdon.data.record_checks import Schema
from guerdon.errors import DataError
from guerdon.registry import nearest
from guerdon.score.chunk import ADVICE, Chunk, Position, check, dump_schema, load_schema

_READ = 16384
_BYTES = 8 << 20


def rows_per_read(file: pq.ParquetFile) -> int:
    """How many rows make about 8 MB."""
    sizes = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
    return max(1, min(_READ, _BYTES * file.metadata.num_rows // max(sum(sizes), 1)))


class ParquetSource:
    """A Parquet file; arguments as for `JsonlSource`."""

    unit = "row"

    def __init__(
        self,
        path: Path,
        skip_bad: bool = False,
        whole_groups: bool = False,
        gather: bool = False,
    ) -> None:
        self.path, self.skip_bad, self.whole_groups, self.gather = path, skip_bad, whole_groups, gather
        with self._file() as file:
            self._rows = file.metadata.num_rows
            names = file.schema_arrow.names
        if "completion" not in names and "tokens" not in names:
            hint = nearest("completion", names)
            raise DataError(f"{path}: expected a column 'completion' or 'tokens'{hint}")

    def estimate(self) -> int:
        """How many records there are."""
        return self._rows

    def chunks(
        self, after: Position, rows: Callable[[], int], until: Position | None = None
    ) -> Iterator[Chunk]:
        """Chunks from a position on, up to another; see `JsonlSource.chunks`."""
        schema, start = load_schema(after), int(after.get("row", 0))
        stop = self._rows if until is None else int(until["row"])
        held: pa.Table | None = None
        for table in self._tables(start, stop, rows):
            if held is not None:
                table = pa.concat_tables([held, table]).combine_chunks()
            keep = self._complete(table) if self.whole_groups else len(table)
            held = table.slice(keep) if keep < len(table) else None
            if keep:
                yield self._chunk(table.slice(0, keep), start, schema)
                start += keep
        if held is not None:
            yield self._chunk(held, start, schema)

    def positions(self, rows: int) -> Iterator[Position]:
        """The position behind every so many rows, and the end."""
        yield from ({"row": row} for row in range(rows, self._rows, rows))
        yield {"row": self._rows}

    def labels_until(self, after: Position) -> Iterator[Any]:
        """`group` of all records before a position."""
        left = int(after.get("row", 0))
        with self._file() as file:
            if "group" not in file.schema_arrow.names:
                return
            for batch in file.iter_batches(_READ, columns=["group"]):
                labels = batch.column(0).to_pylist()[:left]
                left -= len(labels)
                yield from (label for label in labels if label is not None)

    def _file(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DataError:
        reason = str(error).splitlines()[0]
        return DataError(f"{self.path}: cannot be read as Parquet, it may have been cut off: {reason}")

    def _tables(self, start: int, stop: int, rows: Callable[[], int]) -> Iterator[pa.Table]:
        """Rows `start` to `stop` in tables of as many as wanted."""
        with self._file() as file:
            groups, first = self._row_groups(file, start, stop)
            left, at = stop - start, start - first
            try:
                if self.gather and groups:
                    yield file.read_row_groups(groups).slice(at, left)
                    return
                most = rows_per_read(file)
                for batch in file.iter_batches(most, row_groups=groups) if groups else ():
                    while at < len(batch) and left:
                        part = batch.slice(at, min(rows(), left))
                        at, left = at + len(part), left - len(part)
                        yield pa.Table.from_batches([part])
                    at = max(at - len(batch), 0)
            except (pa.ArrowException, OSError) as error:
                raise self._unreadable(error) from error

    @staticmethod
    def _row_groups(file: pq.ParquetFile, start: int, stop: int) -> tuple[list[int], int]:
        """Row groups that hold some of the rows, and the first row of the first of them."""
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        ends = np.cumsum([0, *sizes]).tolist()
        groups = [i for i in range(len(sizes)) if ends[i] < stop and ends[i + 1] > start]
        return groups, ends[groups[0]] if groups else 0

    def _complete(self, table: pa.Table) -> int:
        """How many rows belong to groups that have certainly ended."""
        if "group" not in table.column_names:
            return len(table)
        labels = table["group"].to_pylist()
        last = len(labels) - 1
        if labels[last] is None:
            return len(labels)
        return next((i + 1 for i in range(last, -1, -1) if labels[i] != labels[last]), 0)

    def _chunk(self, table: pa.Table, start: int, schema: Schema) -> Chunk:
        columns = parquet.decode(table, str(self.path))
        numbers = range(start, start + len(table))
        bad = check(columns, schema)
        if bad and not self.skip_bad:
            row, reason = next(iter(bad.items()))
            raise DataError(f"{self.path} row {start + row}: {reason}; {ADVICE}")
        after = {"row": start + len(table), **dump_schema(schema)}
        signalled = "signals" in table.column_names
        if not bad:
            return Chunk(columns, numbers, None, after, [], signalled)
        good = np.setdiff1d(np.arange(columns.n), list(bad))
        skipped = [(start + row, reason) for row, reason in bad.items()]
        kept = columns.select(good) if len(good) else Columns(0)
        return Chunk(kept, [start + i for i in good.tolist()], None, after, skipped, signalled)
