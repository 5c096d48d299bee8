"""Credit: a declared composition of levels, computed in one pass over ragged arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.credit.backups import Backup, Own
from guerdon.credit.baselines import Baseline, Raw
from guerdon.credit.diagnostics import describe_level
from guerdon.credit.groupings import Grouping, by
from guerdon.credit.view import View
from guerdon.data import kernels
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError


@dataclass(frozen=True)
class Level:
    """One source of credit.

    Attributes:
        source: name of the signal.
        span: level the values must be at; None takes the signal's own level.
        backup: carries values along the rollout.
        group: which spans are compared.
        baseline: how they are compared.
        weight: factor in the sum over levels.
    """

    source: str
    span: str | None = None
    backup: Backup = field(default_factory=Own)
    group: Grouping = field(default_factory=lambda: by("prompt"))
    baseline: Baseline = field(default_factory=Raw)
    weight: float = 1.0

    def values(self, rollouts: Rollouts, signals: Mapping[str, Signal], method: str) -> tuple[Signal, dict[str, Any]]:
        """Advantages on this level's spans, and what to report about them."""
        signal = View(rollouts, signals, "rollout", method).signal(self.source, self.span)
        view = View(rollouts, signals, signal.level, method)
        if signal.level == "group":
            raise DataError(f"{method}: {self.source!r} is one value per group; spread it to rollouts first")
        backed = self.backup(signal.values, view)
        labels, n_labels = self.group(view)
        advantage = self.baseline(backed, labels, n_labels, view)
        report = describe_level(signal.values, advantage, labels, n_labels)
        return Signal(advantage, signal.level, self.source), report


@dataclass(frozen=True)
class Whiten:
    """(A - mean) / sqrt(var + eps) over all tokens the policy chose, in the whole batch."""

    ddof: int = 1
    eps: float = 1e-8

    def __call__(self, values: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        return kernels.whiten(values, mask, self.ddof, self.eps)


@dataclass(frozen=True)
class Credit:
    """Signals to one advantage per token: A_t = whiten(sum_k w_k * spread(A^k)_t).

    A call takes `(rollouts, signals=None, ctx=None)`; signals default to those the rollouts carry. It
    returns a Signal at token level (at the finest level where there are no tokens). Tokens the policy
    did not choose get 0. Where a value is missing its part of the advantage is 0, and counted in
    `explain(...)[1]`.

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
        return self.explain(rollouts, signals, ctx)[0]

    def explain(
        self, rollouts: Rollouts, signals: Mapping[str, Signal] | None = None, ctx: Context | None = None
    ) -> tuple[Signal, dict[str, dict[str, float]]]:
        """Advantages and, per source, what happened on the way (see `diagnostics`)."""
        if len(rollouts) == 0:
            raise DataError(f"{self.name}: there are no rollouts to assign credit to")
        signals = rollouts.signals if signals is None else signals
        finest = rollouts.levels[0]
        total: np.ndarray | None = None
        reports: dict[str, dict[str, float]] = {}
        for level in self.levels:
            advantage, reports[level.source] = level.values(rollouts, signals, self.name)
            part = advantage.values if level.weight == 1.0 else advantage.values * level.weight
            if self.whiten is None or len(self.levels) > 1:
                part = _zero_missing(part)
            part = rollouts.spread(Signal(part, advantage.level), to=finest).values
            total = part if total is None else total + part
        assert total is not None
        mask = View(rollouts, signals, finest, self.name).mask()
        if self.whiten is not None:
            total = _zero_missing(self.whiten(total, mask))
        elif mask is not None:
            total = np.where(mask, total, 0.0)
        return Signal(total, finest, "advantage"), reports


def _zero_missing(values: np.ndarray) -> np.ndarray:
    """NaN to 0; the sum tells cheaply that there is nothing to do."""
    return np.where(np.isnan(values), 0.0, values) if np.isnan(values.sum()) else values
