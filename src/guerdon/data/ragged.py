"""Ragged: N variable-length rows in one flat array. The storage under every token and span column.

Enters: lists, padded arrays, flat arrays with lengths. Leaves: views, padded arrays, lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from guerdon.errors import DataError


class Ragged:
    """N rows of different lengths: row i is `values[offsets[i]:offsets[i+1]]`.

    Args:
        values: flat array (total,), any dtype; kept without a copy.
        offsets: int64 (N+1,), non-decreasing, `offsets[0] == 0`, `offsets[-1] == total`.

    Raises:
        DataError: offsets that do not cover the values.
    """

    __slots__ = ("offsets", "values")

    def __init__(self, values: np.ndarray, offsets: np.ndarray) -> None:
        values = np.asarray(values)
        offsets = np.ascontiguousarray(offsets, dtype=np.int64)
        if values.ndim != 1 or offsets.ndim != 1 or len(offsets) == 0:
            raise DataError("Ragged needs flat values (total,) and offsets (N+1,)")
        if offsets[0] != 0 or offsets[-1] != len(values):
            raise DataError(
                f"Ragged offsets run {offsets[0]}..{offsets[-1]} but there are {len(values)} values"
            )
        if np.any(np.diff(offsets) < 0):
            row = int(np.flatnonzero(np.diff(offsets) < 0)[0])
            raise DataError(f"Ragged offsets decrease at row {row}")
        self.values = values
        self.offsets = offsets

    @classmethod
    def from_lists(cls, rows: Iterable[Sequence[Any] | np.ndarray], dtype: Any = None) -> Ragged:
        """Build from one sequence per row.

        Raises:
            DataError: an entry that `dtype` cannot hold; the row is named.
        """
        rows = list(rows)
        lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
        arrays = [_row_array(i, row, dtype) for i, row in enumerate(rows) if len(row)]
        values = np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype or np.float64)
        return cls.from_lengths(values, lengths)

    @classmethod
    def from_lengths(cls, values: np.ndarray, lengths: Sequence[int] | np.ndarray) -> Ragged:
        """Build from flat values and one length per row."""
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(values, offsets)

    @classmethod
    def from_padded(cls, array: np.ndarray, mask_or_lengths: np.ndarray) -> Ragged:
        """Strip padding from (N, T).

        Args:
            array: padded values.
            mask_or_lengths: what to keep, boolean (N, T), or the row lengths (N,) where padding is right.

        Raises:
            DataError: a mask or lengths that do not fit the array.
        """
        array = np.asarray(array)
        keep = np.asarray(mask_or_lengths)
        if array.ndim != 2:
            raise DataError(f"a padded array has the shape (rows, width), got {array.shape}")
        if keep.ndim == 1:
            if len(keep) and (keep.min() < 0 or keep.max() > array.shape[1]):
                raise DataError(f"lengths {keep.min()}..{keep.max()} do not fit the width {array.shape[1]}")
            keep = np.arange(array.shape[1])[None, :] < keep[:, None]
        if keep.shape != array.shape:
            raise DataError(f"mask of shape {keep.shape} does not fit the padded array {array.shape}")
        keep = keep.astype(bool)
        return cls.from_lengths(array[keep], keep.sum(axis=1))

    def to_padded(self, fill: Any = 0, width: int | None = None) -> np.ndarray:
        """Right-padded copy (N, max length or `width`).

        Raises:
            DataError: a row longer than `width`.
        """
        longest = int(self.lengths.max(initial=0))
        width = longest if width is None else width
        if longest > width:
            row = int(self.lengths.argmax())
            raise DataError(f"row {row} has {longest} values and does not fit into {width} columns")
        keep = np.arange(width)[None, :] < self.lengths[:, None]
        out = np.full((len(self), width), fill, dtype=self.values.dtype)
        out[keep] = self.values
        return out

    @property
    def lengths(self) -> np.ndarray:
        """Row lengths, int64 (N,)."""
        return np.diff(self.offsets)

    @property
    def total(self) -> int:
        """Number of values over all rows."""
        return len(self.values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        n = len(self)
        if not -n <= row < n:
            raise IndexError(f"row {row} of {n}")
        row %= n
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ragged):
            return NotImplemented
        floats = self.values.dtype.kind == "f" and other.values.dtype.kind == "f"
        return np.array_equal(self.offsets, other.offsets) and np.array_equal(
            self.values, other.values, equal_nan=floats
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ragged({len(self)} rows, {self.total} values, {self.values.dtype})"

    def row_ids(self) -> np.ndarray:
        """The row of every value, int64 (total,)."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def with_values(self, values: np.ndarray) -> Ragged:
        """Same rows, other values."""
        return Ragged(values, self.offsets)

    def select(self, rows: Sequence[int] | np.ndarray) -> Ragged:
        """The given rows (indices or boolean mask), in that order, copied."""
        rows = row_index(rows, len(self))
        return Ragged.from_lengths(self.values[self.positions(rows)], self.lengths[rows])

    def positions(self, rows: np.ndarray) -> np.ndarray:
        """Flat positions of the values of `rows`, in that order, int64."""
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        shift = np.repeat(self.offsets[:-1][rows] - (ends - lengths), lengths)
        return np.arange(int(lengths.sum()), dtype=np.int64) + shift

    @staticmethod
    def concat(parts: Sequence[Ragged]) -> Ragged:
        """Rows of all parts, one after the other."""
        if not parts:
            raise DataError("Ragged.concat needs at least one part")
        return Ragged.from_lengths(
            np.concatenate([p.values for p in parts]), np.concatenate([p.lengths for p in parts])
        )

    def to_lists(self) -> list[list[Any]]:
        """One Python list per row."""
        flat = self.values.tolist()
        bounds = self.offsets.tolist()
        return [flat[a:b] for a, b in pairwise(bounds)]


def row_index(rows: Sequence[int] | np.ndarray, n: int) -> np.ndarray:
    """Row selection as int64 indices in [0, n); accepts a boolean mask (n,) or (negative) indices."""
    index = np.asarray(rows)
    if index.dtype == bool:
        if index.shape != (n,):
            raise DataError(f"a row mask of shape {index.shape} does not fit {n} rows")
        return np.flatnonzero(index).astype(np.int64)
    if index.size and index.dtype.kind not in "iu":
        raise DataError(f"rows are selected by integers or a boolean mask, not by {index.dtype} values")
    index = index.astype(np.int64).reshape(-1)
    outside = (index < -n) | (index >= n)
    if outside.any():
        raise DataError(f"row {int(index[outside][0])} selected from {n} rows")
    return np.where(index < 0, index + n, index)


def _row_array(row: int, entries: Any, dtype: Any) -> np.ndarray:
    try:
        return np.asarray(entries, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"row {row}: {error}") from error
