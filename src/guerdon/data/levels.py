"""How the levels of Rollouts nest, and moving signals and rows along them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.signal import Signal
from guerdon.errors import DataError

if TYPE_CHECKING:
    from guerdon.data.rollouts import Rollouts


def order_partitions(partitions: Mapping[str, Ragged]) -> list[tuple[str, Ragged]]:
    """Partitions from fine to coarse (more spans first; `step` before `turn` on a tie)."""
    for name in partitions:
        if name in ("token", "rollout", "group"):
            raise DataError(f"a partition cannot be named {name!r}: that level exists already")
    rank = {"step": 0, "turn": 2}
    ordered = sorted(partitions.items(), key=lambda item: (-item[1].total, rank.get(item[0], 1), item[0]))
    names = [name for name, _ in ordered]
    if {"step", "turn"} <= set(names):  # a turn is never finer than a step: let the checks say where it is
        step, turn = names.index("step"), names.index("turn")
        if turn < step:
            ordered[step], ordered[turn] = ordered[turn], ordered[step]
    return ordered


def bounds(rollouts: Rollouts, fine: str, coarse: str) -> np.ndarray:
    """Offsets int64 (coarse spans + 1) into the spans of `fine`, over all rollouts at once.

    Raises:
        DataError: `coarse` is not coarser than `fine`, or either does not exist.
    """
    known = rollouts.levels
    for level in (fine, coarse):
        if level not in known:
            raise DataError(f"these rollouts have no {level!r} spans (levels: {', '.join(known)})")
    if known.index(coarse) < known.index(fine) and not _coincide(rollouts, fine, coarse):
        raise DataError(f"{coarse!r} is not coarser than {fine!r} (from fine to coarse: {', '.join(known)})")
    if coarse == "rollout":
        return rollouts.offsets(fine)
    ends = _unit_ends(rollouts, coarse)
    inside = ends if fine == "token" else np.searchsorted(_unit_ends(rollouts, fine), ends) + 1
    return np.concatenate([np.zeros(1, np.int64), inside])


def _coincide(rollouts: Rollouts, a: str, b: str) -> bool:
    """Two partitions with equally many spans are the same, whatever order their names came in."""
    mine = rollouts.partitions
    return a in mine and b in mine and mine[a].total == mine[b].total


def span_lengths(rollouts: Rollouts, level: str) -> np.ndarray:
    """Tokens (characters where there are none) in every span of `level`, int64."""
    if level == "token":
        return np.ones(rollouts.count("token"), np.int64)
    return rollouts.lengths if level == "rollout" else np.diff(_unit_ends(rollouts, level), prepend=0)


def _unit_ends(rollouts: Rollouts, level: str) -> np.ndarray:
    """End of every span of a partition in tokens (characters), counted over all rollouts."""
    ends = rollouts.partitions[level]
    lengths = rollouts.lengths
    return ends.values + np.repeat(np.cumsum(lengths) - lengths, ends.lengths)


def reduce(rollouts: Rollouts, signal: Signal, to: str, how: str, skip_missing: bool) -> Signal:
    """See `Rollouts.reduce`."""
    from guerdon.data.kernels import segment_reduce

    if to == signal.level:
        return signal
    if to != "group":
        values, offsets = signal.values, bounds(rollouts, signal.level, to)
    else:  # rollouts of a group side by side: its parts are then consecutive
        labels, n_groups = rollouts.groups()
        order = np.argsort(labels, kind="stable")
        parts = Ragged(signal.values, rollouts.offsets(signal.level)).select(order)
        ends = np.cumsum(np.bincount(labels, minlength=n_groups))
        values, offsets = parts.values, parts.offsets[np.concatenate([np.zeros(1, np.int64), ends])]
    return Signal(segment_reduce(values, offsets, how, skip_missing), to, signal.name)


def spread(rollouts: Rollouts, signal: Signal, to: str, how: str) -> Signal:
    """See `Rollouts.spread`."""
    from guerdon.data.kernels import segment_spread

    if to == signal.level:
        return signal
    if signal.level == "group":
        if how != "all":
            raise DataError("a group signal spreads with how='all' only: its rollouts have no order")
        per_row = Signal(signal.values[rollouts.groups()[0]], "rollout", signal.name)
        return spread(rollouts, per_row, to, how)
    return Signal(segment_spread(signal.values, bounds(rollouts, to, signal.level), how), to, signal.name)


def concat(parts: list[Rollouts]) -> Rollouts:
    """See `Rollouts.concat`."""
    if not parts:
        raise DataError("Rollouts.concat needs at least one part")
    kind = type(parts[0])
    new: dict[str, Any] = {}
    for column in fields(kind):
        values = [getattr(part, column.name) for part in parts]
        if column.name == "signals":
            continue
        if column.name == "partitions":
            new[column.name] = {
                name: Ragged.concat([value[name] for value in values])
                for name in _shared(values, "partition")
            }
        elif any(value is None for value in values):
            _refuse_partial(column.name, values)
            new[column.name] = None
        elif isinstance(values[0], Ragged):
            new[column.name] = Ragged.concat(values)
        elif isinstance(values[0], list):
            new[column.name] = [entry for value in values for entry in value]
        else:
            new[column.name] = np.concatenate(values)
    whole = kind(**new)
    names = _shared([part.signals for part in parts], "signal")
    return whole.replace(signals={name: _concat_signal(name, parts, whole) for name in names})


def _refuse_partial(name: str, values: list[Any]) -> None:
    if any(value is not None for value in values):
        part = next(i for i, value in enumerate(values) if value is None)
        raise DataError(f"column {name!r} is missing in part {part} but present in others; drop or add it")


def _shared(mappings: list[Mapping[str, Any]], what: str) -> list[str]:
    for i, mapping in enumerate(mappings):
        missing = set(mappings[0]) ^ set(mapping)
        if missing:
            raise DataError(
                f"{what} {sorted(missing)[0]!r} is not in every part (part {i} differs from part 0)"
            )
    return list(mappings[0])


def _concat_signal(name: str, parts: list[Rollouts], whole: Rollouts) -> Signal:
    signals = [part.signals[name] for part in parts]
    level = signals[0].level
    if any(signal.level != level for signal in signals):
        raise DataError(f"signal {name!r} is at level {level!r} in part 0 and at another level elsewhere")
    if level != "group":
        return Signal(np.concatenate([signal.values for signal in signals]), level, signals[0].name)
    values = np.full(whole.count("group"), np.nan)
    distinct = np.unique(whole.group)
    for i, (part, signal) in enumerate(zip(parts, signals, strict=True)):
        groups = np.unique(part.group)
        at = np.searchsorted(distinct, groups)
        clash = ~np.isnan(values[at]) & ~np.isnan(signal.values) & (values[at] != signal.values)
        if clash.any():
            group = int(groups[clash][0])
            raise DataError(f"signal {name!r}: group {group} has another value in part {i} than before it")
        values[at] = np.where(np.isnan(signal.values), values[at], signal.values)
    return Signal(values, level, signals[0].name)


def same(a: Any, b: Any) -> bool:
    """Equality of two column values, NaN equal to NaN."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, Signal) and isinstance(b, Signal):
        return (a.level, a.name) == (b.level, b.name) and same(a.values, b.values)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return False
    both_missing = isinstance(a, float) and isinstance(b, float) and a != a and b != b
    return both_missing or bool(a == b)
