"""JSON written by a model: strict parsing with a cause, finding it in a text, equality by JSON's types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.verify.markup import fences

MAX_CHARACTERS = 1_000_000
_SCANNER = json.JSONDecoder(parse_constant=lambda name: _refuse(f"{name} is not JSON"))
_MAX_STARTS = 64


class NotJSON(ValueError):
    """A text is no JSON; the message says why."""


def parse_json(text: str, unique_keys: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        text: the whole text must be one JSON value.
        unique_keys: refuse an object that gives a key twice (else the last one counts).

    Raises:
        NotJSON: it is not; also NaN and Infinity, nesting beyond Python's stack, numbers of absurd length.
    """
    if len(text) > MAX_CHARACTERS:
        raise NotJSON(f"longer than {MAX_CHARACTERS} characters")
    try:
        return json.loads(
            text,
            parse_constant=lambda name: _refuse(f"{name} is not JSON"),
            object_pairs_hook=_unique if unique_keys else None,
        )
    except NotJSON:
        raise
    except (ValueError, RecursionError) as error:
        raise NotJSON(f"not JSON: {error}"[:120]) from error


def find_json(text: str, kinds: tuple[type, ...] = (dict, list), prose: bool = True) -> Any:
    """The JSON value in a text: the whole text, else the last fence that is JSON, else the first value in it.

    Args:
        kinds: Python types of values that are looked for.
        prose: whether a value in running text counts.

    Raises:
        NotJSON: there is none.
    """
    for candidate in (text, *reversed(fences(text))):
        try:
            value = parse_json(candidate)
        except NotJSON:
            continue
        if isinstance(value, kinds):
            return value
    starts = [i for i, c in enumerate(text[:MAX_CHARACTERS]) if prose and c in "{["][:_MAX_STARTS]
    for start in starts:
        try:
            value, _ = _SCANNER.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, kinds):
            return value
    raise NotJSON("no JSON object or array found")


def same_json(a: Any, b: Any) -> bool:
    """Equality as JSON sees it: true is not 1, 1 is 1.0, "3" is not 3, key order does not matter."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_json(a[key], b[key]) for key in a)
    if isinstance(a, str) or isinstance(b, str):
        return type(a) is type(b) and a == b
    if isinstance(a, Sequence) and isinstance(b, Sequence):
        return len(a) == len(b) and all(map(same_json, a, b))
    return type(a) is type(b) and a == b


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJSON("an object gives a key twice")
    return found


def _refuse(message: str) -> Any:
    raise NotJSON(message)
