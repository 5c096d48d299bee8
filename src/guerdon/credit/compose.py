"""Credit: a declared composition of levels, computed in one pass over ragged arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from guerdon.context import Context
from guerdon.credit.backups import Backup, Own
from guerdon.credit.baselines import Baseline, Raw, at_least_zero
from guerdon.credit.diagnostics import describe_level
from guerdon.credit.groupings import Grouping, by
from guerdon.credit.view import View
from guerdon.data import kernels
from guerdon.data.levels import bounds
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError


class Part(NamedTuple):
    """What one level contributes: its source, and fresh advantages on the source's spans."""

    source: Signal
    advantage: np.ndarray
    labels: np.ndarray | None
    n_labels: int


@dataclass(frozen=True)
class Level:
    """One source of credit.

    Attributes:
        source: name of the signal.
        span: level the values must be at; None takes the signal's own level.
        backup: carries values along the rollout.
        group: which spans are compared, where the baseline compares any.
        baseline: how they are compared.
        weight: factor in the sum over levels.
    """

    source: str
    span: str | None = None
    backup: Backup = field(default_factory=Own)
    group: Grouping = field(default_factory=lambda: by("prompt"))
    baseline: Baseline = field(default_factory=Raw)
    weight: float = 1.0

    def __post_init__(self) -> None:
        number = isinstance(self.weight, int | float) and not isinstance(self.weight, bool)
        if not number or not math.isfinite(self.weight):
            raise RecipeError(f"the weight of {self.source!r} must be a finite number, got {self.weight!r}")

    def part(self, rollouts: Rollouts, signals: Mapping[str, Signal], method: str) -> Part:
        """Advantages on this level's spans.

        Raises:
            DataError: the source is missing, infinite somewhere, or does not fit the level.
        """
        signal = View(rollouts, signals, "rollout", method).signal(self.source, self.span)
        if signal.level == "group":
            raise DataError(f"{method}: {self.source!r} is one value per group; spread it to rollouts first")
        _refuse_infinite(signal, self.source, method)
        view = View(rollouts, signals, signal.level, method)
        compares = getattr(self.baseline, "compares", True)
        labels, n_labels = self.group(view) if compares else (None, 0)
        advantage = self.baseline(self.backup(signal.values, view), labels, n_labels, view)
        if np.may_share_memory(advantage, signal.values):  # the caller's values: not ours to write to
            advantage = advantage.copy()
        return Part(signal, advantage, labels, n_labels)


@dataclass(frozen=True)
class Whiten:
    """(A - mean) / sqrt(var + eps) over all tokens the policy chose, in the whole batch."""

    ddof: int = 1
    eps: float = 1e-8

    def __post_init__(self) -> None:
        at_least_zero(self.ddof, "ddof")
        at_least_zero(self.eps, "eps")

    def __call__(self, values: np.ndarray, mask: np.ndarray | None) -> None:
        """Whiten float64 `values` in place; NaN enters no statistic and becomes 0."""
        kernels.whiten(values, mask, self.ddof, self.eps, missing=0.0, out=values)


@dataclass(frozen=True)
class Credit:
    """Signals to one advantage per token: A_t = whiten(sum_k w_k * spread(A^k)_t).

    A call takes `(rollouts, signals=None, ctx=None)`; signals default to those the rollouts carry. It
    returns a Signal at token level (at the finest level where there are no tokens). Tokens the policy
    did not choose get 0. A missing value adds nothing to the sum; a token to which no level adds anything
    gets 0 and enters no whitening statistic. `explain` counts both.

    Attributes:
        levels: the sources.
        whiten: optional normalisation of the sum.
        name: for messages.

    Raises:
        DataError: an input the method needs is missing or does not fit.
    """

    levels: Sequence[Level]
    whiten: Whiten | None = None
    name: str = "credit"

    def __post_init__(self) -> None:
        if not self.levels:
            raise RecipeError("a credit method needs at least one level")

    def __call__(
        self, rollouts: Rollouts, signals: Mapping[str, Signal] | None = None, ctx: Context | None = None
    ) -> Signal:
        return self._mix(rollouts, self._parts(rollouts, signals))

    def explain(
        self, rollouts: Rollouts, signals: Mapping[str, Signal] | None = None, ctx: Context | None = None
    ) -> tuple[Signal, dict[str, dict[str, float]]]:
        """Advantages and, per source, what happened on the way (see `diagnostics`).

        A source used by several levels is reported as `name`, `name.2` and so on.
        """
        parts = self._parts(rollouts, signals)
        reports: dict[str, dict[str, float]] = {}
        for i, (level, part) in enumerate(zip(self.levels, parts, strict=True)):
            earlier = sum(other.source == level.source for other in self.levels[:i])
            key = f"{level.source}.{earlier + 1}" if earlier else level.source
            reports[key] = describe_level(part.source.values, part.advantage, part.labels, part.n_labels)
        return self._mix(rollouts, parts), reports

    def _parts(self, rollouts: Rollouts, signals: Mapping[str, Signal] | None) -> list[Part]:
        if len(rollouts) == 0:
            raise DataError(f"{self.name}: there are no rollouts to assign credit to")
        given = rollouts.signals if signals is None else signals
        return [level.part(rollouts, given, self.name) for level in self.levels]

    def _mix(self, rollouts: Rollouts, parts: Sequence[Part]) -> Signal:
        finest = rollouts.levels[0]
        total: np.ndarray | None = None
        for level, part in zip(self.levels, parts, strict=True):
            total = _add(rollouts, total, part, level.weight)
        assert total is not None
        mask = View(rollouts, {}, finest, self.name).mask()
        if self.whiten is not None:
            self.whiten(total, mask)
        elif mask is not None or any(np.isnan(part.advantage).any() for part in parts):
            kernels.settle(total, mask)
        return Signal(total, finest, "advantage")


def _add(rollouts: Rollouts, total: np.ndarray | None, part: Part, weight: float) -> np.ndarray:
    """Spread a part to the finest level and add it to the total; uses up the part's own array."""
    finest, level = rollouts.levels[0], part.source.level
    if level == finest and total is None:
        return part.advantage if weight == 1.0 else np.multiply(part.advantage, weight, out=part.advantage)
    n = rollouts.count(finest)
    inside = np.arange(n + 1) if level == finest else bounds(rollouts, finest, level)
    first = total is None
    total = np.empty(n) if total is None else total
    kernels.segment_add(total, part.advantage, inside, weight, first)
    return total


def _refuse_infinite(signal: Signal, name: str, method: str) -> None:
    """An infinite value would make every advantage of its group infinite or missing."""
    with np.errstate(invalid="ignore"):
        if np.isfinite(signal.values.sum()):  # one fast pass; only a doubtful sum is looked into
            return
    infinite = np.isinf(signal.values)
    if infinite.any():
        at = int(np.flatnonzero(infinite)[0])
        raise DataError(f"{method}: the signal {name!r} is infinite at {signal.level} {at}; clip it first")
