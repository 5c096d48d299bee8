"""Cells: what one reward says about one record, in a form that is small, quick to store and to write.

A cell is a float (the verdict), a text (why there is none), or, where a reward gives more than one number a
record, `{output: [level, values, causes]}`: the output "" is the reward's signal, any other one a part of it.
Missing values are None there, causes are {position among the record's values: why}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError
from guerdon.scoring import Verdict

Output = list[Any]
"""[level, values, {position: why}]"""
Cell = float | str | dict[str, Output]

TOTAL = ""
_CAUSE_LENGTH = 300
UNKNOWN = "unknown"


def short(cause: str | None) -> str:
    """A cause of a length that a million records can carry."""
    if not cause:
        return UNKNOWN
    cause = cause if cause.isprintable() else " ".join(cause.split())
    return cause if len(cause) <= _CAUSE_LENGTH else cause[: _CAUSE_LENGTH - 3] + "..."


def of_error(error: BaseException) -> str:
    """What was raised, as a cause."""
    try:
        text = str(error)
    except Exception:  # the text of a user's exception may itself fail
        text = ""
    return short(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def of_number(value: Any, cause: str | None) -> float | str:
    """A number as a cell; what is not finite is missing."""
    number = float(value)
    if math.isfinite(number):
        return number
    return short(cause) if math.isnan(number) else f"returned {number}, expected a finite number"


def of_verdict(verdict: Any, parts: bool) -> Cell:
    """A verdict as a cell, with its parts where they are wanted and there are any."""
    if not isinstance(verdict, Verdict):
        return f"returned {type(verdict).__name__}, expected a Verdict"
    total = of_number(verdict.value, verdict.cause)
    named = verdict.detail.get("parts") if parts else None
    if not isinstance(named, Mapping):
        return total
    causes = verdict.detail.get("causes", {})
    whole = {TOTAL: _single(total)}
    return whole | {str(name): _single(of_number(value, causes.get(name))) for name, value in named.items()}


def _single(cell: float | str) -> Output:
    return ["rollout", [None], {0: cell}] if isinstance(cell, str) else ["rollout", [cell], {}]


def of_signals(signal: Signal, parts: Mapping[str, Signal], rollouts: Rollouts) -> list[Cell]:
    """One cell per rollout from the signals of a reward.

    Raises:
        DataError: a signal that does not fit the rollouts.
    """
    if not isinstance(signal, Signal):
        raise DataError(f"returned {type(signal).__name__}, expected a Signal")
    if not parts and signal.level == "rollout":
        rollouts.check_signal(signal)
        found = [of_number(value, signal.causes.get(i)) for i, value in enumerate(signal.values.tolist())]
        return [{TOTAL: _single(cell)} if isinstance(cell, str) else cell for cell in found]
    named = {TOTAL: list(_rows(signal, rollouts))}
    named |= {name: list(_rows(part, rollouts)) for name, part in parts.items()}
    return [{name: rows[i] for name, rows in named.items()} for i in range(len(rollouts))]


def _rows(signal: Signal, rollouts: Rollouts) -> Iterator[Output]:
    """A signal cut into the records it belongs to; every record of a group has the group's value."""
    rollouts.check_signal(signal)
    if signal.level == "group":
        spans = [(label, label + 1) for label in rollouts.groups()[0].tolist()]
    else:
        ends = rollouts.offsets(signal.level).tolist()
        spans = list(pairwise(ends))
    values = signal.values.tolist()
    for start, stop in spans:
        found = [of_number(values[at], signal.causes.get(at)) for at in range(start, stop)]
        numbers = [None if isinstance(cell, str) else cell for cell in found]
        yield [signal.level, numbers, {i: cell for i, cell in enumerate(found) if isinstance(cell, str)}]


def is_missing(cell: Cell) -> bool:
    """Whether any value of a cell is missing."""
    if isinstance(cell, dict):
        return any(None in values for _, values, _ in cell.values())
    return isinstance(cell, str)


def cause_of(cell: Cell) -> str | None:
    """Why the first missing value of the reward's own signal is missing; None where none is."""
    if isinstance(cell, dict):
        _, values, causes = cell[TOTAL]
        at = values.index(None) if None in values else None
        return None if at is None else causes.get(at, UNKNOWN)
    return cell if isinstance(cell, str) else None


def dump(cell: Cell) -> float | str:
    """A cell as a verdict of the cache: a number, or JSON text."""
    return cell if isinstance(cell, float) else json.dumps(cell, separators=(",", ":"))


def load(verdict: float | str) -> Cell:
    """The cell that `dump` made a verdict of."""
    if not isinstance(verdict, str):
        return float(verdict)
    found = json.loads(verdict)
    if isinstance(found, str):
        return found
    return {
        name: [level, values, {int(at): why for at, why in causes.items()}]
        for name, (level, values, causes) in found.items()
    }


def outputs(cell: Cell) -> Mapping[str, Output]:
    """Any cell in its long form."""
    return cell if isinstance(cell, dict) else {TOTAL: _single(cell)}


def spread(cause: str, sizes: Sequence[int]) -> list[list[Cell]]:
    """The same cause for every record of units of these sizes."""
    return [[cause] * size for size in sizes]


def finite_values(cell: Cell) -> np.ndarray:
    """The values of a reward's own signal that are not missing, float64."""
    if isinstance(cell, float):
        return np.array([cell])
    values = [] if isinstance(cell, str) else cell[TOTAL][1]
    return np.array([value for value in values if value is not None], np.float64)
