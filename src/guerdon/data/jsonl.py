"""Records as JSON Lines, plain or gzipped: bytes to Columns and back.

One JSON object a line, UTF-8. A byte-order mark, CRLF line ends and blank lines are accepted. Numbers are
written with as few digits as bring back the same value of their column's type; NaN is written as null and
infinity as 1e999, which every JSON reader takes.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.data.columns import ABSENT, CELLS, PARTITIONS, Column, Columns, SignalColumn
from guerdon.data.keys import plain
from guerdon.data.ragged import Ragged
from guerdon.data.record_checks import describe
from guerdon.data.record_fields import BadRecord, gather, parse_record
from guerdon.errors import DataError

UNIT = "line"
Report = Callable[[int, str], None]
"""Called with a line number and a reason; raises, or notes that the line is skipped."""

_GZIP_LEVEL = 1  # five times as fast as the default; numbers shrink by half at any level
_CHUNK = 4096  # records kept as Python objects at a time: more would keep the garbage collector busy
_scan = json.JSONDecoder().raw_decode
_encode_value = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=plain).encode


# -- reading --------------------------------------------------------------------------------------------


def iter_columns(
    path: Path, rows: int | None, report: Report, strict: bool
) -> Iterator[tuple[Columns, list[int]]]:
    """Batches of at most `rows` records (None: all in one) with their line numbers.

    A line that is no record goes to `report`, which raises where `strict`; then the records before it
    come first, so that the earliest failure of a file is the one told.
    """
    parts: list[Columns] = []
    records: list[dict[str, Any]] = []
    numbers: list[int] = []
    lines, number = _lines(path), 0
    while True:
        number += 1
        try:
            line = next(lines, None)
            record = None if line is None else _parse(line, number == 1)
        except BadRecord as error:
            if strict and numbers:
                yield Columns.concat([*parts, gather(records)]), numbers
            report(number, str(error))
            continue
        if record is not None:
            records.append(record)
            numbers.append(number)
        elif line is not None:
            continue
        if len(records) == _CHUNK or (records and (line is None or len(numbers) == rows)):
            parts.append(gather(records))
            records = []
        if parts and (line is None or len(numbers) == rows):
            yield Columns.concat(parts), numbers
            parts, numbers = [], []
        if line is None:
            return


def _lines(path: Path) -> Iterator[bytes]:
    zipped = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path, "rb") if zipped else open(path, "rb") as file:
            yield from file
    except EOFError:
        raise BadRecord("the compressed data ends in the middle; the file was cut off") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadRecord(f"expected gzip data: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _parse(line: bytes, first: bool) -> dict[str, Any] | None:
    """One line as parsed fields, None for a blank line."""
    if first:
        line = line.removeprefix(b"\xef\xbb\xbf")
    try:
        text = line.decode("utf-8").strip()
        if not text:
            return None
        record, end = _scan(text)
        if end < len(text):
            raise json.JSONDecodeError("Extra data", text, end)
    except UnicodeDecodeError as error:
        utf16 = " (it looks like UTF-16)" if first and line[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise BadRecord(f"expected UTF-8 text, got byte {line[error.start]:#04x}{utf16}") from None
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"expected one JSON object, {_json_failure(line, error)}") from None
    if not isinstance(record, dict):
        hint = "; a JSON array is not JSON Lines: write one object a line" if isinstance(record, list) else ""
        raise BadRecord(f"expected one JSON object, got {describe(record)}{hint}")
    return parse_record(record)


def _json_failure(line: bytes, error: Exception) -> str:
    if b"\x00" in line:
        return "got null bytes; the file was probably damaged while it was written"
    if isinstance(error, RecursionError):
        return "got one nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"got broken JSON at character {error.pos + 1}: {error.msg}"
    return f"got {error}"


# -- writing --------------------------------------------------------------------------------------------


def encode(columns: Columns) -> bytes:
    """One line per record."""
    fields = [_cell_texts(name, columns.cells[name]) for name in CELLS if name in columns.cells]
    fields += [_list_texts(name, column) for name, column in columns.tokens.items() if name != "advantages"]
    by_level = {level: name for name, level in PARTITIONS.items()}
    own = {by_level[k]: column for k, column in columns.partitions.items() if k in by_level}
    other = {k: column for k, column in columns.partitions.items() if k not in by_level}
    fields += [_list_texts(name, own[name]) for name in PARTITIONS if name in own]
    fields += _nested_texts("partitions", [_list_texts(level, column) for level, column in other.items()])
    for name, column in columns.keys.items():
        fields.append(_list_texts(name, column, columns.labels.get(name)))
    fields += _nested_texts("signals", [_signal_texts(k, signal) for k, signal in columns.signals.items()])
    if "advantages" in columns.tokens:
        fields.append(_list_texts("advantages", columns.tokens["advantages"]))
    fields += [_cell_texts(name, values) for name, values in columns.extra.items()]
    text = "".join(["{" + ",".join(filter(None, parts)) + "}\n" for parts in zip(*fields, strict=True)])
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text).encode("utf-8")


def _cell_texts(name: str, values: list[Any]) -> list[str]:
    start = _encode_value(name) + ":"
    texts = []
    for row, value in enumerate(values):
        try:
            texts.append("" if value is ABSENT else start + _encode_value(value))
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(f"row {row}: {name} cannot be written as JSON: {error}") from error
    return texts


def _list_texts(name: str, column: Column, labels: list[list[Any] | None] | None = None) -> list[str]:
    start = _encode_value(name) + ":["
    texts = [
        f"{start}{text}]" if there else ""
        for text, there in zip(_joined(column.rows), column.present.tolist(), strict=True)
    ]
    for row, label in enumerate(labels or ()):
        if label is not None:
            texts[row] = start[:-1] + _encode_value(label)
    return texts


def _signal_texts(name: str, signal: SignalColumn) -> list[str]:
    start = f"{_encode_value(name)}:{{{_encode_value('level')}:{_encode_value(signal.level)},"
    texts = [text and f"{start}{text}}}" for text in _list_texts("values", signal.column)]
    for row, causes in signal.causes.items():
        texts[row] = f"{texts[row][:-1]},{_encode_value('causes')}:{_encode_value(causes)}}}"
    return texts


def _nested_texts(name: str, fields: list[list[str]]) -> list[list[str]]:
    """One field that is an object of the given fields; none where there are no fields."""
    start = _encode_value(name) + ":{"
    rows = (",".join(filter(None, parts)) for parts in zip(*fields, strict=True))
    return [[row and f"{start}{row}}}" for row in rows]] if fields else []


def _joined(rows: Ragged) -> list[str]:
    """The values of every row as JSON, joined by commas."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = rows.values.view(np.uint8) if rows.values.dtype == bool else rows.values
    texts = pc.cast(pa.array(values), pa.string())
    if values.dtype.kind == "f":  # 1.0, not 1: readers that infer types must see one type
        with np.errstate(invalid="ignore"):
            whole = pa.array((values == np.trunc(values)) & (np.abs(values) < 1e6))
        texts = pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        for pick, text in (
            (np.isnan(values), "null"),
            (values == np.inf, "1e999"),
            (values == -np.inf, "-1e999"),
        ):
            texts = pc.if_else(pa.array(pick), text, texts)
    lists = pa.LargeListArray.from_arrays(pa.array(rows.offsets), texts)
    return pc.binary_join(lists, ",").to_pylist()


class Writer:
    """Appends records to a new file."""

    max_units = 1 << 19

    def __init__(self, path: Path, zipped: bool) -> None:
        self._file: Any = open(path, "wb")  # noqa: SIM115
        # No name and time in the header: the same records give the same bytes.
        self._out: Any = gzip.GzipFile("", "wb", _GZIP_LEVEL, self._file, mtime=0) if zipped else self._file

    def write(self, columns: Columns) -> None:
        """Append one line per record.

        Raises:
            DataError: a value JSON cannot hold.
        """
        self._out.write(encode(columns))

    def close(self) -> None:
        """Flush and close."""
        try:
            if self._out is not self._file:
                self._out.close()
        finally:
            self._file.close()
