"""Ray Data: scoring, credit and labels as classes for `Dataset.map_batches`.

    dataset.map_batches(Score, fn_constructor_kwargs={"rewards": {"correct": "verify.math"}}, concurrency=4)

A batch is a mapping of columns; columns are those of records (`prompt`, `completion`, `reference`, `group`
..., see `guerdon.data.records`). Nothing here imports Ray. A reward that may hang or end its process is
better served by `guerdon score --on ray`, whose workers can be killed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from guerdon.adapters.given import built
from guerdon.data import spans
from guerdon.data.columns import FIELDS
from guerdon.data.record_checks import Schema, find_bad
from guerdon.data.record_fields import BadRecord, gather, parse_record
from guerdon.data.records import to_rollouts
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError

Batch = Mapping[str, Any]


class Score:
    """Adds a column per reward, one value per row, NaN where missing.

    Args:
        rewards: column name -> registered name or `{"use": name, parameter: value}`; rewards that look at
            groups need batches of whole groups.

    Raises:
        RecipeError: an unknown reward.
    """

    def __init__(self, rewards: Mapping[str, Any]) -> None:
        self._rewards = {name: built("reward", asked, "reward") for name, asked in rewards.items()}

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """The batch with its new columns."""
        rollouts = rollouts_of(batch)
        out = dict(batch)
        for name, reward in self._rewards.items():
            signal = reward(rollouts, None)
            if signal.level == "group":
                signal = rollouts.spread(signal, to="rollout")
            if signal.level == "rollout":
                out[name] = signal.values.copy()
            else:
                out[name] = _ragged(signal.values, rollouts.offsets(signal.level))
        return out


class Assign:
    """Adds the column `advantages`: one list per row, a value per token (per finest span of text).

    Args:
        method: a credit method's name or `{"use": name, parameter: value}`; batches must be whole groups
            (`dataset.groupby("group").map_groups(...)`).

    Raises:
        RecipeError: an unknown method.
    """

    def __init__(self, method: Any) -> None:
        self._credit = built("credit", method, "credit")

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """The batch with advantages."""
        rollouts = rollouts_of(batch)
        advantage = self._credit(rollouts)
        return {**batch, "advantages": _ragged(advantage.values, rollouts.offsets(advantage.level))}


class Annotate:
    """Adds labels to the column `signals`, as records carry them, and steps where they are cut here.

    What comes out is records again: it can be written as Parquet, credited by `Assign` with its steps, or
    trained on as process labels.

    Args:
        labels: name -> registered reward, `{"use": name, parameter: value}` or a Reward, at any level
            (`verify.step_checks`, a model of steps, prefix values ...).
        steps: a splitter (see `guerdon.data.spans.split`) for rows without steps of their own; None: they
            have them, or none are needed.
        tokenizer: where steps are cut in tokens.

    Raises:
        RecipeError: an unknown reward.
    """

    def __init__(self, labels: Mapping[str, Any], steps: Any = None, tokenizer: Any = None) -> None:
        self._labels = {name: built("reward", asked, "reward") for name, asked in labels.items()}
        self._steps, self._tokenizer = steps, tokenizer

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """The batch with its labels."""
        rollouts, out = rollouts_of(batch), dict(batch)
        if self._steps is not None:
            rollouts = spans.split(rollouts, self._steps, tokenizer=self._tokenizer)
            ends = rollouts.partitions["step"]
            out["steps"] = _ragged(ends.values, ends.offsets)
        told = [_plain(cell) or {} for cell in batch.get("signals", [None] * len(rollouts))]
        for name, reward in self._labels.items():
            signal = reward(rollouts, None)
            if signal.level == "group":
                signal = rollouts.spread(signal, to="rollout")
            values, offsets = signal.values.tolist(), rollouts.offsets(signal.level).tolist()
            for row, entry in enumerate(told):
                own = [None if math.isnan(v) else v for v in values[offsets[row] : offsets[row + 1]]]
                entry[name] = {"level": signal.level, "values": own}
        column = np.empty(len(told), dtype=object)
        column[:] = told
        return {**out, "signals": column}


def rollouts_of(batch: Batch) -> Rollouts:
    """A batch of columns as Rollouts.

    Raises:
        DataError: a row that cannot be used (its number in the batch and the field are named).
    """
    names = list(batch)
    records = []
    for i in range(len(batch[names[0]]) if names else 0):
        record = {name: _plain(batch[name][i]) for name in names}
        try:
            records.append(
                parse_record({n: v for n, v in record.items() if v is not None or n not in FIELDS})
            )
        except BadRecord as error:
            raise DataError(f"row {i} of the batch: {error}") from None
    columns, schema = gather(records), Schema()
    bad = find_bad(columns, schema)
    if bad:
        row = min(bad)
        raise DataError(f"row {row} of the batch: {bad[row]}")
    return to_rollouts(columns, schema)


def _plain(value: Any) -> Any:
    """Values as JSON has them: Ray hands over arrays and scalars of NumPy."""
    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value.tolist()]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if each is not None}
    return value


def _ragged(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    rows = np.empty(len(offsets) - 1, dtype=object)
    for i in range(len(rows)):
        rows[i] = values[offsets[i] : offsets[i + 1]]
    return rows
