"""Rollouts from files and to files: JSON Lines (.jsonl, .jsonl.gz) and Parquet (.parquet), by suffix.

Both hold the same records (see `guerdon.data.records`). Reading tells the first record that cannot be used
by its line (JSON Lines, from 1) or row (Parquet, from 0), or leaves such records out and counts them.
Writing is atomic: a file is there whole or not at all.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from guerdon.data.atomic import replacing
from guerdon.data.columns import Columns
from guerdon.data.record_checks import Schema, fields_of, find_bad
from guerdon.data.records import from_rollouts, to_rollouts
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_MAX_ROWS = 1 << 14
_Result = TypeVar("_Result")


class _Sink(Protocol):
    max_units: int
    """About how many tokens to hand over at once: a row group, or what is formatted in one go."""

    def write(self, columns: Columns) -> None: ...

    def close(self) -> None: ...


def read(path: str | Path, skip_bad: bool = False, skipped: list[tuple[int, str]] | None = None) -> Rollouts:
    """All rollouts of a file.

    Args:
        path: .jsonl, .jsonl.gz or .parquet.
        skip_bad: leave out records that cannot be used instead of raising.
        skipped: a list to which (line or row, reason) of each is appended. Without it a warning tells how
            many there were.

    Raises:
        DataError: no such file, unknown suffix, a record that cannot be used (file, line or row, field,
            what was expected), or no rollouts in the file.
    """
    (rollouts,) = _batches(_existing(path), None, skip_bad, skipped)
    return rollouts


def iter_batches(
    path: str | Path, rows: int = 4096, skip_bad: bool = False, skipped: list[tuple[int, str]] | None = None
) -> Iterator[Rollouts]:
    """The rollouts of a file in batches of at most `rows`, holding one batch in memory.

    A column of which no record has been seen yet (`reference`, `meta`, a signal) is not in the batch;
    later batches have it then, missing values included. Arguments and errors as in `read`.
    """
    if rows < 1:
        raise DataError(f"rows: expected at least 1 per batch, got {rows}")
    return _batches(_existing(path), rows, skip_bad, skipped)


def write(rollouts: Rollouts, path: str | Path) -> None:
    """Write rollouts to a file, replacing it; see `write_batches`."""
    write_batches(path, [rollouts])


def write_batches(path: str | Path, batches: Iterable[Rollouts]) -> int:
    """Write batches of rollouts to one file, holding one batch in memory.

    Args:
        path: .jsonl, .jsonl.gz or .parquet; an existing file is replaced when all is written. The
            batches may come from reading that very file.
        batches: with the same columns; `reference`, `meta`, `images` and signals may differ.

    Returns:
        How many rollouts were written.

    Raises:
        DataError: unknown suffix, no such folder, a full disk, no batch at all, batches whose columns
            differ, or a value that the format cannot hold. The file is then as it was before.
    """
    path = Path(path)
    suffix = _suffix(path)
    if not path.resolve().parent.is_dir():
        raise DataError(f"{path}: the folder {path.resolve().parent} does not exist; make it first")
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected a file name")
    fields: frozenset[str] | None = None
    total = 0
    with replacing(path) as temporary:
        sink = _on_disk(path, _sink, temporary, suffix)
        try:
            for number, rollouts in enumerate(batches):
                columns = from_rollouts(rollouts)
                fields = _same_fields(columns, fields, number)
                for piece in columns.pieces(_MAX_ROWS, sink.max_units) or [columns]:
                    _on_disk(path, sink.write, piece)
                total += columns.n
        finally:
            _on_disk(path, sink.close)
        if fields is None:
            raise DataError(f"{path}: there are no rollouts to write")
    return total


def _on_disk(path: Path, action: Callable[..., _Result], *arguments: Any) -> _Result:
    try:
        return action(*arguments)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def _same_fields(columns: Columns, before: frozenset[str] | None, number: int) -> frozenset[str]:
    fields = frozenset(fields_of(columns))
    if before is None or fields == before or not columns.n:
        return fields if before is None else before
    name = min(fields ^ before)
    has = "has" if name in fields else "lacks"
    raise DataError(
        f"batch {number} {has} {name!r} unlike the batches before; expected the same columns in all"
    )


def _sink(path: Path, suffix: str) -> _Sink:
    if suffix == ".parquet":
        from guerdon.data.parquet_write import Writer as ParquetWriter

        return ParquetWriter(path)
    from guerdon.data.jsonl import Writer

    return Writer(path, zipped=suffix.endswith(".gz"))


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise DataError(f"{path}: unknown kind of file {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")


def _existing(path: str | Path) -> Path:
    path = Path(path)
    _suffix(path)
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected a file")
    return path


def _batches(
    path: Path, rows: int | None, skip_bad: bool, skipped: list[tuple[int, str]] | None
) -> Iterator[Rollouts]:
    if _suffix(path) == ".parquet":
        from guerdon.data import parquet as reader
    else:
        from guerdon.data import jsonl as reader  # type: ignore[no-redef]
    notes: list[tuple[int, str]] = [] if skipped is None else skipped
    schema, done = Schema(), 0

    def report(number: int, reason: str) -> None:
        if not skip_bad:
            raise DataError(f"{path} {reader.UNIT} {number}: {reason}")
        notes.append((number, reason))

    for columns, numbers in reader.iter_columns(path, rows, report, not skip_bad):
        rollouts = _usable(columns, np.asarray(numbers), schema, done, report, path)
        if rollouts is not None:
            done += len(rollouts)
            yield rollouts
    if not done:
        raise DataError(f"{path} holds no rollouts{_summary(notes, reader.UNIT)}")
    if notes and skipped is None:
        warnings.warn(f"{path}: left out broken records{_summary(notes, reader.UNIT)}", stacklevel=2)


def _summary(skipped: list[tuple[int, str]], unit: str) -> str:
    if not skipped:
        return ""
    number, reason = min(skipped)
    return f" ({len(skipped)} skipped, first {unit} {number}: {reason})"


def _usable(
    columns: Columns, numbers: np.ndarray, schema: Schema, done: int, report: Any, path: Path
) -> Rollouts | None:
    """Rollouts of the records that can be used; `report` hears of the others."""
    bad = find_bad(columns, schema)
    while True:
        for row, reason in bad.items():
            report(int(numbers[row]), reason)
        if bad:
            kept = np.setdiff1d(np.arange(columns.n), list(bad))
            columns, numbers = columns.select(kept), numbers[kept]
        if not columns.n:
            return None
        try:
            return to_rollouts(columns, schema, done)
        except DataError as error:
            found = re.match(r"row (\d+): (.*)", str(error), re.DOTALL)
            if found is None:
                raise DataError(f"{path}: {error}") from error
            bad = {int(found[1]): found[2]}
