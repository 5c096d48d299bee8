"""From the body of a request to records: checked as in files, and bounded in every direction.

Enters: bytes. Leaves: chunks of records as scoring takes them. What a file would do with a broken line, a
request does with a status: 400 for what is no JSON, 422 for what is no record (the index and field named).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

from guerdon.data.record_checks import Schema, describe
from guerdon.errors import DataError
from guerdon.score.chunk import Chunk, check
from guerdon.score.jsonl_source import to_columns
from guerdon.serve.refusals import Refusal
from guerdon.serve.settings import Settings

_OPENED = (b"[[", b",[", b":[", b"[{", b",{", b":{")
_NESTED = (dict, list)
_TYPED = frozenset(("tokens", "acted", "logprobs", "ref_logprobs", "entropy", "values", "advantages"))


def check_structure(body: bytes, settings: Settings) -> None:
    """Look at a body before it is parsed: small lists and objects cost 25 times their text.

    Commas, colons and brackets before an opening bracket are counted; those in texts too, which are few.

    Raises:
        Refusal: 413, about more than `settings.containers` of them.
    """
    if body.count(b"[") + body.count(b"{") <= settings.containers:
        return
    dense = body.translate(None, b" \t\r\n")
    if sum(map(dense.count, _OPENED)) > settings.containers:
        raise Refusal(
            413,
            f"expected at most {settings.containers} lists and objects; send the records in several requests",
        )


def parse_json(body: bytes) -> Any:
    """The JSON document of a body.

    Raises:
        Refusal: 400, it is none.
    """
    try:
        return json.loads(body.removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
    except RecursionError:
        raise Refusal(400, "expected JSON, got a document that is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise Refusal(400, f"expected UTF-8 text, got byte {error.object[error.start]:#04x}") from None
    except ValueError as error:
        raise Refusal(400, f"expected JSON: {error}") from None


def parse_object(body: bytes, fields: Sequence[str], required: Sequence[str] = ()) -> dict[str, Any]:
    """A JSON object with known fields.

    Raises:
        Refusal: 400 for no JSON; 422 for another type, an unknown field or a missing one.
    """
    found = parse_json(body)
    if not isinstance(found, dict):
        raise Refusal(422, f"expected a JSON object, got {describe(found)}")
    for name in found:
        if name not in fields:
            raise Refusal(422, f"unknown field {name[:80]!r}; expected {', '.join(fields)}")
    for name in required:
        if name not in found:
            raise Refusal(422, f"the field {name!r} is required")
    return found


def parse_lines(body: bytes) -> list[Any]:
    """One JSON document a line; blank lines are left out.

    Raises:
        Refusal: 400, a line is none; the first such line is named.
    """
    records = []
    for number, line in enumerate(body.splitlines(), 1):
        if not line.strip():
            continue
        try:
            records.append(parse_json(line))
        except Refusal as error:
            raise Refusal(400, f"line {number}: {error}") from None
    return records


def to_chunk(records: Any, settings: Settings, first: int = 0) -> Chunk:
    """Records as scoring takes them.

    Args:
        records: a list of JSON objects (see `guerdon.data.records`).
        settings: the limits.
        first: index of the first of them in the request, for messages.

    Raises:
        Refusal: 413 for too many; 422 for a record that cannot be used.
    """
    check_list(records, settings)
    names: set[str] = set()
    for i, record in enumerate(records):
        _check_size(record, first + i, settings, names)
    columns, wrong = to_columns(records)
    try:
        bad = wrong or check(columns, Schema())
    except DataError as error:
        raise Refusal(422, str(error)) from None
    if bad:
        row = min(bad)
        raise Refusal(422, f"record {first + row}: {bad[row]}")
    return Chunk(columns, range(first, first + len(records)), None, {})


def check_list(records: Any, settings: Settings) -> None:
    """Raise a Refusal where this is no list of records of an acceptable length."""
    if not isinstance(records, list):
        raise Refusal(422, f"records: expected a list of objects, got {describe(records)}")
    if not records:
        raise Refusal(422, "records: expected at least one")
    if len(records) > settings.records:
        raise Refusal(
            413,
            f"records: expected at most {settings.records}, got {len(records)}; send several requests",
        )


def _check_size(record: Any, index: int, settings: Settings, names: set[str]) -> None:
    """Before anything is made of a record: a column per name and recursion over values cost memory."""
    if not isinstance(record, dict):
        raise Refusal(422, f"record {index}: expected an object, got {describe(record)}")
    if len(record) <= settings.fields:
        names.update(record)
        for inner in ("signals", "partitions"):
            value = record.get(inner)
            if isinstance(value, dict):
                names.update(f"{inner}.{name}" for name in islice(value, settings.fields + 1))
    if len(record) > settings.fields or len(names) > settings.fields:
        raise Refusal(
            422,
            f"record {index}: more than {settings.fields} different fields, signals and partitions "
            "in one request",
        )
    nested = [value for name, value in record.items() if type(value) in _NESTED and name not in _TYPED]
    if nested and _deeper(nested, settings.depth):
        raise Refusal(422, f"record {index}: values nested more than {settings.depth} deep")


def _deeper(value: Any, most: int) -> bool:
    """Whether JSON is nested more than so many times; level by level, not by recursion."""
    level = [value]
    for _ in range(most + 1):
        level = [
            child
            for each in level
            for child in (each.values() if type(each) is dict else each)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True
