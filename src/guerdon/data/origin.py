"""Origins: what a record was before it became a row of Rollouts, so that writers write back what was read.

Rollouts hold keys where a record may hold text, defaults where it may hold nothing, and unknown fields as
entries of `meta`. The difference is kept on the rows of `meta`: they are `RecordMeta`, dicts with an
`origin`. Nobody has to look at it, and a value changed since then wins over it. A `meta` rebuilt from
scratch (`{**meta, ...}`) loses its origin: keys, defaults and entries are then written as they stand in
Rollouts. `meta | {...}` keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guerdon.data.columns import ABSENT, Column, Columns, is_present
from guerdon.data.keys import stable_key
from guerdon.data.ragged import Ragged

_DEFAULTED = ("group", "meta", "truncated", "acted", "reference", "images")
_NO_COLUMN_IS_FINE = ("reference", "images")
_INT64 = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a record was before it became a row of Rollouts.

    Attributes:
        absent: fields it did not have and Rollouts filled in ("signals.NAME" for a signal).
        row: its number in the file, the default `group`.
        labels: "id", "group", "state", "node" -> what stood there, where Rollouts hold something else.
        lifted: unknown fields now in `meta`.
        shadowed: unknown fields of the same name as an entry of its own `meta`, with their values.
    """

    absent: frozenset[str] = frozenset()
    row: int = 0
    labels: Mapping[str, Any] = field(default_factory=dict)
    lifted: frozenset[str] = frozenset()
    shadowed: Mapping[str, Any] = field(default_factory=dict)


class RecordMeta(dict[str, Any]):
    """A row of `meta` that remembers its record (`origin`)."""

    __slots__ = ("origin",)

    def __init__(self, content: Mapping[str, Any], origin: Origin) -> None:
        super().__init__(content)
        self.origin = origin

    def __or__(self, other: Mapping[str, Any]) -> RecordMeta:  # type: ignore[override]
        return RecordMeta({**self, **other}, self.origin)

    def copy(self) -> RecordMeta:
        """Shallow copy with the same origin."""
        return RecordMeta(self, self.origin)

    def __reduce__(self) -> tuple[Any, ...]:
        return RecordMeta, (dict(self), self.origin)


def is_key(label: Any) -> bool:
    """Whether a label is an integer that int64 columns hold as it is."""
    return type(label) is int and label in _INT64


def keys_of(labels: Sequence[Any]) -> list[int]:
    """The int64 that stands for every label: integers themselves, text by `stable_key`."""
    known: dict[Any, int] = {}
    for label in labels:
        if label not in known:
            known[label] = label if is_key(label) else stable_key(label)
    return [known[label] for label in labels]


def find_origins(columns: Columns, first_row: int) -> list[Origin] | None:
    """One Origin per row, or None where Rollouts hold all there is to know."""
    always, sometimes = _absences(columns)
    labels = _labels(columns)
    if not (always - {"meta"} or sometimes.keys() - {"meta"} or labels or columns.extra):
        return None
    own = columns.cells.get("meta", [ABSENT] * columns.n)
    origins = []
    for row in range(columns.n):
        extra = {name: values[row] for name, values in columns.extra.items() if values[row] is not ABSENT}
        shadowed = {} if own[row] is ABSENT else {k: v for k, v in extra.items() if k in own[row]}
        missing = {name for name, present in sometimes.items() if not present[row]}
        origins.append(
            Origin(
                absent=always | missing if missing else always,
                row=first_row + row,
                labels={name: values[row] for name, values in labels.items() if values[row] is not None},
                lifted=frozenset(extra.keys() - shadowed.keys()),
                shadowed=shadowed,
            )
        )
    return origins


def _absences(columns: Columns) -> tuple[frozenset[str], dict[str, np.ndarray]]:
    """Fields with a default that no row has, and those that only some rows have (with which)."""
    always: set[str] = set()
    present: dict[str, np.ndarray] = {}
    for name in _DEFAULTED:
        if name in columns.cells:
            present[name] = is_present(columns.cells[name])
        elif name in columns.tokens:
            present[name] = columns.tokens[name].present
        elif name not in _NO_COLUMN_IS_FINE and (name != "acted" or "tokens" in columns.tokens):
            always.add(name)
    present |= {f"signals.{name}": signal.column.present for name, signal in columns.signals.items()}
    return frozenset(always), {name: mask for name, mask in present.items() if not mask.all()}


def _labels(columns: Columns) -> dict[str, list[Any]]:
    """Per field the original value of every row whose column holds another one, else None."""
    labels: dict[str, list[Any]] = {name: values for name, values in columns.labels.items() if any(values)}
    ids = columns.cells.get("id", [])
    if any(type(value) is not str for value in ids):
        labels["id"] = [None if type(value) is str else value for value in ids]
    groups = columns.cells.get("group", [])
    if not all(map(is_key, groups)):
        labels["group"] = [None if is_key(value) else value for value in groups]
    return labels


def restore(columns: Columns, metas: Sequence[Mapping[str, Any]]) -> None:
    """Undo on `columns` what reading added, wherever it has not been changed since."""
    origins = [getattr(meta, "origin", None) for meta in metas]
    if not any(origins):
        return
    contents: list[Any] = []
    for row, (meta, origin) in enumerate(zip(metas, origins, strict=True)):
        if origin is None:
            contents.append(dict(meta))
            continue
        lifted = {name: meta[name] for name in origin.lifted if name in meta}
        for name, value in (lifted | dict(origin.shadowed)).items():
            columns.extra.setdefault(name, [ABSENT] * columns.n)[row] = value
        content = {name: value for name, value in meta.items() if name not in lifted}
        contents.append(content if content or "meta" not in origin.absent else ABSENT)
        if origin.labels:
            _restore_labels(columns, row, origin.labels)
    columns.cells["meta"] = contents
    _restore_absences(columns, origins)
    columns.cells = {
        name: values for name, values in columns.cells.items() if any(value is not ABSENT for value in values)
    }


def _restore_labels(columns: Columns, row: int, labels: Mapping[str, Any]) -> None:
    for name, label in labels.items():
        if name in ("state", "node"):
            if name in columns.keys and keys_of(label) == columns.keys[name].rows[row].tolist():
                columns.labels.setdefault(name, [None] * columns.n)[row] = label
        elif name in columns.cells:
            current = columns.cells[name][row]
            if current == (str(label) if name == "id" else keys_of([label])[0]):
                columns.cells[name][row] = label


def _restore_absences(columns: Columns, origins: Sequence[Origin | None]) -> None:
    def lacked(name: str) -> np.ndarray:
        return np.array([origin is not None and name in origin.absent for origin in origins], bool)

    cells = columns.cells
    ungrouped = lacked("group")
    if ungrouped.all() and all(
        group == origin.row for group, origin in zip(cells["group"], origins, strict=True) if origin
    ):
        del cells["group"]
    for name, default in (("truncated", False), ("reference", None), ("images", None)):
        if name in cells:
            cells[name] = [
                ABSENT if gone and value is default else value
                for value, gone in zip(cells[name], lacked(name).tolist(), strict=True)
            ]
    if "acted" in columns.tokens:
        rows = columns.tokens["acted"].rows
        keep = ~lacked("acted")
        keep[rows.row_ids()[~rows.values]] = True
        columns.tokens["acted"] = _keep(rows, keep)
    for name, signal in columns.signals.items():
        rows = signal.column.rows
        keep = ~lacked(f"signals.{name}")
        keep[rows.row_ids()[~np.isnan(rows.values)]] = True
        keep[list(signal.causes)] = True
        signal.column = _keep(rows, keep)
    for gone in [name for name, signal in columns.signals.items() if not signal.column.present.any()]:
        del columns.signals[gone]
    if "acted" in columns.tokens and not columns.tokens["acted"].present.any():
        del columns.tokens["acted"]


def _keep(rows: Ragged, keep: np.ndarray) -> Column:
    """Column of which the rows outside `keep` do not have the field."""
    if keep.all():
        return Column.full(rows)
    lengths = rows.lengths
    return Column(
        Ragged.from_lengths(rows.values[np.repeat(keep, lengths)], np.where(keep, lengths, 0)), keep
    )
