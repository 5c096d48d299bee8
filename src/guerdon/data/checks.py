"""What must hold between the columns of Rollouts; every failure names the row and the column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.errors import DataError

if TYPE_CHECKING:
    from guerdon.data.rollouts import Rollouts

_PER_TOKEN = ("acted", "logprobs", "ref_logprobs", "entropy", "values", "advantages")


def integers(column: Any, name: str) -> np.ndarray:
    """A flat int64 column.

    Raises:
        DataError: entries that are no whole numbers of 64 bits.
    """
    try:
        array = np.asarray(column)
        exact = array.astype(np.int64) if array.dtype.kind in "iub" or array.size == 0 else None
        if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.trunc(array)).all():
            exact = array.astype(np.int64)
    except (TypeError, ValueError, OverflowError):
        exact = None
    if exact is None or exact.ndim != 1:
        raise DataError(f"column {name!r} must be one flat array of 64-bit integers (number its names first)")
    return exact


def ragged(column: Any, name: str) -> Ragged:
    """A ragged column; DataError where it is something else."""
    if not isinstance(column, Ragged):
        raise DataError(f"{name} must be Ragged, not {type(column).__name__}; see Ragged.from_lists")
    return column


def entries(column: Any, name: str) -> list[Any]:
    """A column with one entry per rollout; DataError for a lone text."""
    if isinstance(column, str):
        raise DataError(f"column {name!r} must be a list with one entry per rollout, not one text")
    return list(column)


def check_rollouts(rollouts: Rollouts) -> None:
    """Raise DataError on the first column that disagrees with the others."""
    n = len(rollouts)
    for name in ("id", "prompt", "completion", "reference", "meta", "images", "truncated", "tokens"):
        column = getattr(rollouts, name)
        if column is not None and len(column) != n:
            raise DataError(f"column {name!r} has {len(column)} rows, expected {n} as in 'group'")
    for name in _PER_TOKEN:
        _check_token_column(rollouts, name)
    _check_partitions(rollouts)
    for name in ("state", "node"):
        column = getattr(rollouts, name)
        if column is None:
            continue
        if "step" not in rollouts.partitions:
            raise DataError(f"column {name!r} holds one key per step, but there is no 'step' partition")
        if len(column) != rollouts.count("step"):
            raise DataError(f"column {name!r} has {len(column)} keys for {rollouts.count('step')} steps")
    for name, signal in rollouts.signals.items():
        rollouts.check_signal(signal, name)


def _check_token_column(rollouts: Rollouts, name: str) -> None:
    column: Ragged | None = getattr(rollouts, name)
    if column is None:
        return
    if rollouts.tokens is None:
        raise DataError(f"column {name!r} holds one value per token, but there is no 'tokens' column")
    if np.array_equal(column.offsets, rollouts.tokens.offsets):
        return
    if len(column) != len(rollouts):
        raise DataError(f"column {name!r} has {len(column)} rows, expected {len(rollouts)}")
    row = int(np.flatnonzero(column.lengths != rollouts.tokens.lengths)[0])
    got, expected = int(column.lengths[row]), int(rollouts.tokens.lengths[row])
    raise DataError(f"row {row}: column {name!r} has {got} values for {expected} tokens")


def _check_partitions(rollouts: Rollouts) -> None:
    if not rollouts.partitions:
        return
    lengths = rollouts.lengths
    unit = "tokens" if rollouts.tokens is not None else "characters"
    finer: tuple[str, np.ndarray] | None = None
    for name, ends in rollouts.partitions.items():
        if len(ends) != len(rollouts):
            raise DataError(f"partition {name!r} has {len(ends)} rows, expected {len(rollouts)}")
        check_ends(name, ends, lengths, unit)
        keys = ends.values + np.repeat(np.cumsum(lengths) - lengths, ends.lengths)
        if finer is not None:
            inside = np.isin(keys, finer[1], assume_unique=True)
            if not inside.all():
                at = int(np.flatnonzero(~inside)[0])
                row = int(np.searchsorted(ends.offsets, at, side="right") - 1)
                raise DataError(
                    f"row {row}: {name} ends at {int(ends.values[at])}, inside a {finer[0]}; "
                    f"every {name} must end where a {finer[0]} ends"
                )
        finer = (name, keys)


def check_ends(name: str, ends: Ragged, lengths: np.ndarray, unit: str) -> None:
    """End offsets must rise strictly from above 0 to the row's length; a row of length 0 has none."""
    values, offsets, per_row = ends.values, ends.offsets, ends.lengths
    filled = per_row > 0
    previous = np.empty_like(values)
    previous[1:] = values[:-1]
    previous[offsets[:-1][filled]] = 0
    bad = np.zeros(len(ends), bool)
    np.logical_or.at(bad, ends.row_ids()[values <= previous], True)
    bad |= filled != (lengths > 0)
    bad[filled] |= values[offsets[1:][filled] - 1] != lengths[filled]
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        given, length = ends[row].tolist(), int(lengths[row])
        shown = given if len(given) <= 12 else [*given[:12], "..."]
        raise DataError(
            f"row {row}: {name} offsets {shown} do not partition its {length} {unit}; "
            f"expected end offsets that rise strictly up to {length}"
        )
