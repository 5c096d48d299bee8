"""JSON Lines as chunks: lines are kept as they are, parsed many at a time, and checked as columns."""

from __future__ import annotations

import gzip
import json
import secrets
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.data import jsonl
from guerdon.data.columns import CELLS, FIELDS, Columns
from guerdon.data.record_checks import Schema
from guerdon.data.record_fields import BadRecord, gather, parse_record
from guerdon.errors import DataError
from guerdon.score.chunk import ADVICE, Chunk, Position, check, dump_schema, load_schema

UNIT = "line"
_NULLABLE = ("reference", "images")
_READ = 4096
_STEP, _BYTES = 64, 8 << 20
_MARK = b"\xef\xbb\xbf"


class JsonlSource:
    """A file of JSON Lines, plain or gzipped.

    Args:
        path: the file.
        skip_bad: leave out records that cannot be used; else they raise.
        whole_groups: no chunk ends inside a group.
        gather: one chunk of all records.
        file: where to read the same content instead.
    """

    unit = UNIT

    def __init__(
        self,
        path: Path,
        skip_bad: bool = False,
        whole_groups: bool = False,
        gather: bool = False,
        file: Path | None = None,
    ) -> None:
        self.path, self.skip_bad, self.whole_groups, self.gather = path, skip_bad, whole_groups, gather
        self._file = file or path
        self._zipped = self._file.name.lower().endswith(".gz")
        self._damage: str | None = None

    def estimate(self) -> int | None:
        """About how many records there are; None where that is not known without reading."""
        size = self._file.stat().st_size
        with open(self._file, "rb") as file:
            head = file.read(1 << 20)
        if self._zipped or not head.count(b"\n"):
            return None
        return max(1, round(size * head.count(b"\n") / len(head)))

    def chunks(
        self, after: Position, rows: Callable[[], int], until: Position | None = None
    ) -> Iterator[Chunk]:
        """Chunks from a position on.

        Args:
            after: where to begin; {}: at the beginning.
            rows: asked before every chunk how many lines to read.
            until: where to end; None: at the end.

        Raises:
            DataError: a record that cannot be used, unless they are skipped.
        """
        schema = load_schema(after)
        offset, number = int(after.get("offset", 0)), int(after.get("line", 0))
        held: list[bytes] = []
        with self._open() as file:
            file.seek(offset)
            lines = self._lines(file, None if until is None else int(until["line"]) - number)
            while True:
                # a group longer than that is read in ever larger pieces
                fresh = list(lines) if self.gather else _take(lines, max(rows(), len(held)), held)
                if not fresh and not held:
                    break
                keep = self._complete(held + fresh) if self.whole_groups and fresh else len(held + fresh)
                taken, held = (held + fresh)[:keep], (held + fresh)[keep:]
                if taken:
                    offset += sum(map(len, taken))
                    chunk = self._chunk(taken, number, schema)
                    number += len(taken)
                    chunk.after = {"offset": offset, "line": number, **dump_schema(schema)}
                    yield chunk
        if self._damage:
            if not self.skip_bad:
                raise DataError(f"{self.path} line {number + 1}: {self._damage}; {ADVICE}")
            end = {"offset": offset, "line": number, **dump_schema(schema)}
            yield Chunk(Columns(0), (), [], end, [(number + 1, self._damage)])

    def positions(self, rows: int) -> Iterator[Position]:
        """The position behind every so many lines, and the end; nothing is parsed."""
        offset = number = 0
        with self._open() as file:
            while lines := list(islice(file, rows)):
                offset, number = offset + sum(map(len, lines)), number + len(lines)
                yield {"offset": offset, "line": number}

    def labels_until(self, after: Position) -> Iterator[Any]:
        """`group` of all records before a position, for what must be known of them after a restart."""
        left = int(after.get("line", 0))
        with self._open() as file:
            while left > 0:
                lines = [line.strip() for line in islice(file, min(left, _READ))]
                left -= len(lines)
                records, _ = parse_lines(lines)
                yield from (
                    record["group"] for record in records if record and record.get("group") is not None
                )

    def _open(self) -> Any:
        return gzip.open(self._file, "rb") if self._zipped else open(self._file, "rb")

    def _lines(self, file: Any, most: int | None) -> Iterator[bytes]:
        """At most so many lines; damage to a compressed file ends them."""
        self._damage = None
        return islice(self._guarded(file) if self._zipped else file, most)

    def _guarded(self, file: Any) -> Iterator[bytes]:
        try:
            yield from file
        except EOFError:
            self._damage = "the compressed data ends in the middle; the file was cut off"
        except (gzip.BadGzipFile, zlib.error) as error:
            self._damage = f"expected gzip data: {error}"

    def _complete(self, lines: list[bytes]) -> int:
        """How many of the lines belong to groups that have certainly ended."""
        records, _ = parse_lines([line.strip() for line in lines])
        labels = [(i, record.get("group")) for i, record in enumerate(records) if record is not None]
        if not labels or labels[-1][1] is None:
            return len(lines)
        last = labels[-1][1]
        return next((i + 1 for i, label in reversed(labels) if label != last), 0)

    def _chunk(self, lines: list[bytes], number: int, schema: Schema) -> Chunk:
        if not number:
            lines[0] = lines[0].removeprefix(_MARK)
        texts = [line.strip() for line in lines]
        parsed, bad = parse_lines(texts)
        lost = {number + 1 + i: reason for i, reason in bad.items()}
        numbers: Sequence[int] = range(number + 1, number + 1 + len(texts))
        if None in parsed:
            parsed, texts, numbers = _pick(parsed, texts, numbers, [r is not None for r in parsed])
        columns, wrong = to_columns(parsed)
        if wrong:
            lost |= {numbers[i]: reason for i, reason in wrong.items()}
            parsed, texts, numbers = _pick(
                parsed, texts, numbers, [i not in wrong for i in range(len(parsed))]
            )
        unusable = check(columns, schema) if columns.n else {}
        if unusable:
            lost |= {numbers[i]: reason for i, reason in unusable.items()}
            good = [i not in unusable for i in range(columns.n)]
            columns = columns.select(np.flatnonzero(good))
            parsed, texts, numbers = _pick(parsed, texts, numbers, good)
        if lost and not self.skip_bad:
            first = min(lost)
            raise DataError(f"{self.path} line {first}: {lost[first]}; {ADVICE}")
        signalled = any("signals" in record for record in parsed)
        return Chunk(columns, numbers, texts, {}, sorted(lost.items()), signalled)


def _take(lines: Iterator[bytes], rows: int, held: list[bytes]) -> list[bytes]:
    """Up to `rows` lines, fewer where they are long."""
    taken: list[bytes] = []
    size, most = 0, max(_BYTES, 2 * sum(map(len, held)))
    while len(taken) < rows and size < most:
        some = list(islice(lines, min(_STEP, rows - len(taken))))
        if not some:
            break
        taken += some
        size += sum(map(len, some))
    return taken


def _pick(parsed: list[Any], texts: list[bytes], numbers: Sequence[int], keep: list[bool]) -> Any:
    return (list(compress(column, keep)) for column in (parsed, texts, numbers))


def parse_lines(lines: list[bytes]) -> tuple[list[Any], dict[int, str]]:
    """Every line as a JSON object, None where blank or broken, and why the broken ones are.

    Args:
        lines: without white space at the ends.
    """
    filled = [line for line in lines if line]
    found = _parse_together(filled)
    if found is not None and len(filled) == len(lines):
        return found, {}
    records: list[Any] = []
    bad: dict[int, str] = {}
    _parse_parts(lines, records, bad)
    return records, bad


def _parse_parts(lines: list[bytes], records: list[Any], bad: dict[int, str]) -> None:
    """Halve until the broken line is alone."""
    filled = [line for line in lines if line]
    found = _parse_together(filled)
    if found is not None:
        whole = iter(found)
        records += [next(whole) if line else None for line in lines]
    elif len(lines) == 1:
        try:
            jsonl._parse(lines[0], not records)
        except BadRecord as error:
            bad[len(records)] = str(error)
        records.append(None if bad.get(len(records)) else json.loads(lines[0]))
    else:
        middle = len(lines) // 2
        _parse_parts(lines[:middle], records, bad)
        _parse_parts(lines[middle:], records, bad)


def _parse_together(lines: list[bytes]) -> list[Any] | None:
    """All lines in one call, three times as fast as one call for each; None where any is broken."""
    # The mark between them is random, so that no broken lines can together look like whole ones.
    mark = secrets.token_hex(8)
    try:
        values = json.loads("[" + f',"{mark}",'.encode().join(lines).decode("utf-8") + "]")
    except (ValueError, RecursionError):
        return None
    marks = max(len(lines) - 1, 0)
    whole = len(values) == len(lines) + marks and values[1::2].count(mark) == marks
    return values[::2] if whole and set(map(type, values[::2])) <= {dict} else None


def to_columns(records: list[dict[str, Any]]) -> tuple[Columns, dict[int, str]]:
    """Records as columns, and which of them (left out there) have a field of the wrong type."""
    columns = _plain_columns(records)
    if columns is not None:
        return columns, {}
    rows: list[dict[str, Any]] = []
    bad: dict[int, str] = {}
    for i, record in enumerate(records):
        try:
            rows.append(parse_record(record))
        except BadRecord as error:
            bad[i] = str(error)
    return gather(rows), bad


def _plain_columns(records: list[dict[str, Any]]) -> Columns | None:
    """The same, fast, for records that all have the same fields and no numbers per token or span."""
    if not records:
        return Columns(0)
    names = set(map(tuple, records))
    if len(names) > 1:
        return None
    fields = names.pop()
    if any(name in FIELDS and name not in CELLS for name in fields):
        return None
    cells = {name: [record[name] for record in records] for name in fields if name in CELLS}
    if any(None in values for name, values in cells.items() if name not in _NULLABLE):
        return None
    extra = {name: [record[name] for record in records] for name in fields if name not in CELLS}
    ordered = {name: cells[name] for name in CELLS if name in cells}
    return Columns(n=len(records), cells=ordered, extra=extra)
