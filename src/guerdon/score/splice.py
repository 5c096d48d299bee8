"""Signals into the text of a record: everything else in the line stays as it was, byte for byte."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from guerdon.score.cells import TOTAL, Output

Item = float | dict[str, Output] | None
"""What is written for one reward and record: a value at rollout level, outputs, or nothing."""

_scan = json.JSONDecoder().raw_decode
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SPACE = " \t\n\r"


def stream(label: str, output: str) -> str:
    """Name of the signal of one output of a reward."""
    return f"{label}.{output}" if output != TOTAL else label


def number_text(value: float | None) -> str:
    """A number as JSON; null where missing."""
    if value is None or math.isnan(value):
        return "null"
    return repr(value) if math.isfinite(value) else ("1e999" if value > 0 else "-1e999")


def signal_text(name: str, item: Item) -> dict[str, str]:
    """Signal name -> `"name":{"level":...,"values":[...]}` for one reward and record."""
    if item is None:
        return {}
    if isinstance(item, float):
        return {name: f'{_encode(name)}:{{"level":"rollout","values":[{number_text(item)}]}}'}
    return {stream(name, output): _member(stream(name, output), *content) for output, content in item.items()}


def _member(name: str, level: str, values: list[float | None], causes: Mapping[int, str]) -> str:
    numbers = ",".join(map(number_text, values))
    why = f',"causes":{_encode({str(at): cause for at, cause in causes.items()})}' if causes else ""
    return f'{_encode(name)}:{{"level":{_encode(level)},"values":[{numbers}]{why}}}'


def with_signals(line: bytes, texts: Mapping[str, str]) -> bytes:
    """A record with some signals added, or replaced where they are there.

    Args:
        line: one JSON object.
        texts: signal name -> its member text.
    """
    text = line.decode("utf-8")
    found = [(start, stop) for key, _, start, stop in _members(text, 0) if key == "signals"]
    if not found:
        return f'{text[:-1]},"signals":{{{",".join(texts.values())}}}}}'.encode()
    start, stop = found[-1]
    kept = []
    if text[start] == "{":
        kept = [text[a:c] for key, a, _, c in _members(text, start) if key not in texts]
    return f"{text[:start]}{{{','.join([*kept, *texts.values()])}}}{text[stop:]}".encode()


def _members(text: str, at: int) -> Iterator[tuple[str, int, int, int]]:
    """(key, its start, start and end of its value) of the object that begins at `at`; it is valid JSON."""
    at = _skip(text, at + 1)
    while text[at] != "}":
        key_start = at
        key, at = scanstring(text, at + 1, True)
        start = _skip(text, _skip(text, at) + 1)
        _, at = _scan(text, start)
        yield key, key_start, start, at
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


class Fragments:
    """Ends of lines for one reward whose values repeat: `,"signals":{...}}` and a line break, as bytes."""

    _MOST = 1 << 14

    def __init__(self, label: str) -> None:
        self._label = label
        self._known: dict[float, bytes] = {}

    def of(self, values: list[Any]) -> list[bytes]:
        """One fragment per value; all are floats."""
        known = self._known
        for value in set(values).difference(known):
            text = signal_text(self._label, value)[self._label]
            known[value] = f',"signals":{{{text}}}}}\n'.encode()
        found = [known[value] for value in values]
        if len(known) > self._MOST:
            known.clear()
        return found
