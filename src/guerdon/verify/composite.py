"""Rewards made of named parts that stay un-summed.

`Composite` looks at one sample at a time, `Explained` at whole rollouts (groups, turns, steps, tokens). Both
are built from one function and are rewards: called, they return the documented combination; `parts` returns
every part as its own signal, `explain` both in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, GuerdonError, RecipeError
from guerdon.scoring import Row, SampleReward, Verdict, missing

RowParts = Mapping[str, "float | Verdict"]


class Composite(SampleReward):
    """A sample reward of named parts: total_i = combine(parts_i), by default sum_k w_k part_ik.

    Args:
        name: of the reward.
        score: `score(row)` -> part name -> number or Verdict; or one Verdict where the whole row has no
            parts (its value is the total, NaN is missing). What it raises is a missing row with that cause.
        weights: part name -> weight. Only these parts are reported; weight 0 reports without adding.
        combine: total of a row from its parts (numbers, NaN where missing); default: the weighted sum.
        version: changes when verdicts may change.
        batch: `score(rows)` takes many rows and returns one result per row.
        signals: rollout-level signals that rows may read from `meta` under the same name.
        shape: how much it must see at once: "sample" (any rows), "group" (whole prompt groups) or "all".
        bounded: it ends in time by itself (its queries are killed, say), so nobody else needs to watch it.
        quick: a row takes microseconds, in time linear in its texts (not: patterns that may go back).
        on_error: what a row without a total is worth: "nan", "raise" or a number.
    """

    def __init__(
        self,
        name: str,
        score: Callable[..., Any],
        weights: Mapping[str, float],
        *,
        combine: Callable[[dict[str, float]], float] | None = None,
        version: str = "1",
        batch: bool = False,
        signals: Sequence[str] = (),
        shape: str = "sample",
        bounded: bool = False,
        quick: bool = False,
        on_error: str | float = "nan",
    ) -> None:
        self.name, self.version = name, version
        for part, weight in weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
                raise RecipeError(f"{name}: weight of {part!r} must be a finite number, got {weight!r}")
        super().__init__(on_error)
        self.weights = dict(weights)
        self._score, self._combine, self._batch = score, combine, batch
        self._signals, self.shape, self.quick = tuple(signals), shape, quick
        if bounded:
            self.item_seconds = self.batch_seconds = None

    def score_batch(self, rows: Sequence[Row]) -> list[Verdict]:
        if not self._batch:
            return [self._total(guarded(self._score, row)) for row in rows]
        found = guarded(self._score, rows)
        if isinstance(found, Verdict):
            return [found] * len(rows)
        if len(found) != len(rows):
            raise DataError(f"reward {self.name!r} scored {len(found)} of {len(rows)} rows")
        return [self._total(parts) for parts in found]

    def verdicts(self, rollouts: Rollouts) -> list[Verdict]:
        return super().verdicts(with_signals(rollouts, self._signals))

    def explain(self, rollouts: Rollouts, ctx: Context | None = None) -> tuple[Signal, dict[str, Signal]]:
        """The total and every part, from one scoring pass."""
        verdicts = self.verdicts(rollouts)
        return self.signal(verdicts), {part: part_signal(verdicts, part) for part in self.weights}

    def parts(self, rollouts: Rollouts, ctx: Context | None = None) -> dict[str, Signal]:
        """Every part as a rollout-level signal, un-weighted and un-summed."""
        return self.explain(rollouts, ctx)[1]

    def _total(self, parts: RowParts | Verdict) -> Verdict:
        if isinstance(parts, Verdict):
            return parts
        values: dict[str, float] = {}
        causes: dict[str, str] = {}
        for part in self.weights:
            value = parts.get(part, math.nan)
            if isinstance(value, Verdict):
                if value.cause:
                    causes[part] = value.cause
                value = value.value
            values[part] = float(value)
            if math.isnan(values[part]):
                causes.setdefault(part, "not given")
        total = self._combine(dict(values)) if self._combine else weighted_sum(values, self.weights)
        named = next((f"{part}: {cause}" for part, cause in causes.items() if math.isnan(values[part])), None)
        cause = (named or "no total") if math.isnan(total) else None
        return Verdict(float(total), cause, {"parts": values, "causes": causes})


class Explained:
    """A reward given by one function `(rollouts, ctx) -> (total, parts)`: for groups, turns and steps.

    `shape` says how much it must see at once: "sample" (any rollouts), "group" (whole groups) or "all".
    """

    def __init__(
        self,
        name: str,
        explain: Callable[[Rollouts, Context | None], tuple[Signal, dict[str, Signal]]],
        version: str = "1",
        shape: str = "group",
    ) -> None:
        self.name, self.version, self.shape, self._explain = name, version, shape, explain

    def explain(self, rollouts: Rollouts, ctx: Context | None = None) -> tuple[Signal, dict[str, Signal]]:
        """The total and every part."""
        total, parts = self._explain(rollouts, ctx)
        return total.renamed(self.name), parts

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        return self.explain(rollouts, ctx)[0]

    def parts(self, rollouts: Rollouts, ctx: Context | None = None) -> dict[str, Signal]:
        """Every part as its own signal."""
        return self.explain(rollouts, ctx)[1]


def weighted_sum(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """sum_k w_k v_k; parts of weight 0 are left out, so that a missing one does not matter."""
    return math.fsum(weight * values[part] for part, weight in weights.items() if weight)


def part_signal(verdicts: Sequence[Verdict], part: str) -> Signal:
    """One part of the verdicts of a Composite as a rollout-level signal."""
    values = np.full(len(verdicts), np.nan)
    causes: dict[int, str] = {}
    for i, verdict in enumerate(verdicts):
        values[i] = verdict.detail.get("parts", {}).get(part, math.nan)
        if math.isnan(values[i]):
            causes[i] = verdict.detail.get("causes", {}).get(part) or verdict.cause or "not scored"
    return Signal(values, "rollout", part, causes)


def guarded(function: Callable[[Any], Any], argument: Any) -> Any:
    """`function(argument)`, or a missing verdict whose cause is what it raised."""
    try:
        return function(argument)
    except GuerdonError:
        raise
    except Exception as error:  # data of the wrong shape is a counted cause, not the end of the run
        return missing(f"{type(error).__name__}: {error}"[:200])


def with_signals(rollouts: Rollouts, names: Sequence[str]) -> Rollouts:
    """Rollouts whose `meta` also holds the named rollout-level signals, where they carry them."""
    found = {name: rollouts.signals[name] for name in names if name in rollouts.signals}
    found = {name: signal for name, signal in found.items() if signal.level == "rollout"}
    if not found:
        return rollouts
    metas = rollouts.meta or [{}] * len(rollouts)
    columns = {name: signal.values.tolist() for name, signal in found.items()}
    return rollouts.replace(
        meta=[
            {**(meta or {}), **{name: columns[name][i] for name in columns}} for i, meta in enumerate(metas)
        ]
    )


def rollout_values(rollouts: Rollouts, name: str) -> np.ndarray:
    """One number per rollout: the rollout-level signal of that name, else `meta[name]`, else NaN."""
    signal = rollouts.signals.get(name)
    if signal is not None and signal.level == "rollout":
        return signal.values
    values = np.full(len(rollouts), np.nan)
    for i, meta in enumerate(rollouts.meta or ()):
        value = (meta or {}).get(name)
        if isinstance(value, int | float):
            values[i] = value
    return values


def absent(value: Any) -> bool:
    """True for what stands for "not given" in a record: None and NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def given(row: Row, name: str, default: Any = None) -> Any:
    """`meta[name]`, or `reference[name]` of a mapping; `default` where neither is given."""
    for source in (row.meta, row.reference):
        if isinstance(source, Mapping) and not absent(source.get(name)):
            return source[name]
    return None if absent(default) else default


def stated(row: Row, name: str, default: Any = None) -> Any:
    """As `given`, but NaN counts: a score that is there and missing is not the same as no score."""
    for source in (row.meta, row.reference):
        if isinstance(source, Mapping) and source.get(name) is not None:
            return source[name]
    return default


def as_list(value: Any) -> list[Any]:
    """One value or a sequence of values as a list; text is one value, None is none."""
    if absent(value):
        return []
    return list(value) if isinstance(value, list | tuple | set | frozenset | np.ndarray) else [value]
