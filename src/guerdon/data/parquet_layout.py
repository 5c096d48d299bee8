"""How the columns of a batch are stored in Parquet: the narrowest type that holds all values of a column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guerdon.data.columns import ABSENT, Columns
from guerdon.data.keys import plain
from guerdon.data.origin import is_key

_OF_TYPE = {str: "text", int: "int", bool: "bool", float: "float"}
_EMPTY = {"group": "int", "truncated": "bool", "meta": "json"}


@dataclass(frozen=True)
class Layout:
    """How the columns of a file are stored.

    Attributes:
        cells, extra: field -> "text", "int", "bool", "float", "json", or "native" (Arrow's own choice,
            for bytes and dates).
        keys: "state", "node" -> "int", "text" or "json".
        lists: per-token fields and partitions ("partitions.LEVEL").
        signals: signal -> whether any of its values has a cause.
    """

    cells: Mapping[str, str]
    extra: Mapping[str, str]
    keys: Mapping[str, str]
    lists: frozenset[str]
    signals: Mapping[str, bool]

    def merge(self, other: Layout) -> Layout:
        """The layout that holds both."""
        return Layout(
            cells=_merge(self.cells, other.cells),
            extra=_merge(self.extra, other.extra),
            keys=_merge(self.keys, other.keys),
            lists=self.lists | other.lists,
            signals={
                name: self.signals.get(name, False) or other.signals.get(name, False)
                for name in {**self.signals, **other.signals}
            },
        )

    @classmethod
    def of(cls, columns: Columns) -> Layout:
        """The narrowest layout for one batch."""
        return cls(
            cells={name: _encoding(name, values) for name, values in columns.cells.items()},
            extra={name: _encoding(name, values) for name, values in columns.extra.items()},
            keys={name: _key_encoding(columns, name) for name in columns.keys},
            lists=frozenset((*columns.tokens, *(f"partitions.{level}" for level in columns.partitions))),
            signals={name: bool(signal.causes) for name, signal in columns.signals.items()},
        )


def _merge(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, str]:
    differ = {name: "json" for name in a.keys() & b.keys() if a[name] != b[name]}
    return {**a, **b, **differ}


def _encoding(name: str, values: list[Any]) -> str:
    kinds = set(map(type, values)) - {type(ABSENT)}
    if name == "meta" or not kinds:
        return _EMPTY.get(name, "text")
    kind = _OF_TYPE.get(kinds.pop(), "json") if len(kinds) == 1 else "json"
    given = [value for value in values if value is not ABSENT]
    if (kind == "text" and not all(map(_has_utf8, given))) or (kind == "int" and not all(map(is_key, given))):
        return "json"
    if kind == "json" and not _is_json(given):
        return "native"
    return kind


def _has_utf8(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _is_json(values: list[Any]) -> bool:
    try:
        return bool(json.dumps(values, default=plain))
    except (TypeError, ValueError, RecursionError):
        return False


def _key_encoding(columns: Columns, name: str) -> str:
    labels = columns.labels.get(name)
    if labels is None or not any(label is not None for label in labels):
        return "int"
    entries = [entry for label in labels for entry in (label or ())]
    lengths = columns.keys[name].rows.lengths
    full = all(label is not None or not lengths[row] for row, label in enumerate(labels))
    return "text" if full and all(type(e) is str and _has_utf8(e) for e in entries) else "json"
