"""Benchmark files: JSON, JSON Lines or Parquet, plain or gzipped, checked against the fields they need."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon.bench import hub
from guerdon.errors import DataError
from guerdon.registry import nearest

Rows = list[dict[str, Any]]


def read_rows(path: str | Path, fields: Mapping[str, Any], what: str) -> Rows:
    """All rows of a file.

    Args:
        path: .json (a list of objects, or one object of columns), .jsonl, .parquet; .gz of the first two; or
            a data set of the hub, `hub:OWNER/NAME@SPLIT` (see `guerdon.bench.hub`).
        fields: name -> type or tuple of types every row must have. `None` as type: anything.
        what: the schema's name, for messages.

    Raises:
        DataError: no such file, not parseable, empty, or a field missing or of another type; names the file,
            the row and the field, and offers the nearest field found.
    """
    if hub.is_address(path):
        rows = hub.rows(str(path), what)
    else:
        path = Path(path)
        if not path.is_file():
            raise DataError(f"{path}: no such file; expected {what}")
        rows = _parquet(path) if path.suffix == ".parquet" else _text(path, what)
    if not rows:
        raise DataError(f"{path}: empty; expected {what}")
    for at, row in enumerate(rows):
        _check(row, fields, f"{path}, row {at + 1}", what)
    return rows


def _text(path: Path, what: str) -> Rows:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            text = file.read()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}); expected {what}") from error
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return _lines(path, text, what)
    if isinstance(found, list):
        return found
    if isinstance(found, dict) and found and all(isinstance(v, list) for v in found.values()):
        lengths = {name: len(column) for name, column in found.items()}
        if len(set(lengths.values())) == 1 and next(iter(lengths.values())) and len(lengths) > 1:
            return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
    return [found]


def _lines(path: Path, text: str, what: str) -> Rows:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error.msg}); expected {what}") from error
    return rows


def _parquet(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path).to_pylist()
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a Parquet file ({error})") from error


def _check(row: Any, fields: Mapping[str, Any], where: str, what: str) -> None:
    if not isinstance(row, dict):
        raise DataError(f"{where}: {type(row).__name__}, expected an object ({what})")
    for name, kind in fields.items():
        if name not in row:
            raise DataError(f"{where}: no field {name!r}{nearest(name, row)}; expected {what}")
        if kind is None:
            continue
        kinds = kind if isinstance(kind, tuple) else (kind,)
        value = row[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            expected = " or ".join(k.__name__ for k in kinds)
            raise DataError(f"{where}: field {name!r} is {type(value).__name__}, expected {expected}")


def unique(rows: Iterable[Mapping[str, Any]], name: str, where: str | Path) -> dict[Any, int]:
    """Row number by id.

    Raises:
        DataError: an id occurs twice.
    """
    place: dict[Any, int] = {}
    for at, row in enumerate(rows):
        key = row[name]
        if key in place:
            raise DataError(
                f"{where}: {name} {key!r} occurs twice, in rows {place[key] + 1} and {at + 1}; keep one"
            )
        place[key] = at
    return place


def match(
    place: Mapping[Any, int], answers: Sequence[Mapping[str, Any]], name: str, where: str | Path
) -> Rows:
    """Answers in the benchmark's order; `{}` where there is none.

    Raises:
        DataError: an answer to no question, or two to one.
    """
    out: Rows = [{} for _ in place]
    for key, at in unique(answers, name, where).items():
        if key not in place:
            raise DataError(f"{where}, row {at + 1}: {name} {key!r} is not in the benchmark file")
        out[place[key]] = dict(answers[at])
    return out


def numbers(values: Sequence[Any], where: str) -> list[float]:
    """Scores as floats; null is a missing one (NaN).

    Raises:
        DataError: something else than a number stands there; its place is named.
    """
    out = []
    for at, value in enumerate(values):
        if value is not None and not isinstance(value, int | float):
            raise DataError(f"{where}, score {at + 1}: {value!r:.60} is no number; expected a number or null")
        try:
            out.append(math.nan if value is None else float(value))
        except OverflowError as error:
            raise DataError(f"{where}, score {at + 1}: too large a number") from error
    return out


def check_texts(row: Mapping[str, Any], field: str, where: str, what: str) -> None:
    """Refuse a list that holds something else than texts."""
    for at, text in enumerate(row[field]):
        if not isinstance(text, str):
            raise DataError(
                f"{where}: entry {at + 1} of {field!r} is {type(text).__name__}, expected a text; {what}"
            )
