"""What a primitive sees of one level: its values and the rollouts around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data import kernels
from guerdon.data.levels import bounds, span_lengths
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError


@dataclass(frozen=True)
class View:
    """One level of a credit computation.

    Attributes:
        rollouts: the rollouts.
        signals: everything that was scored, by name.
        level: the level whose spans carry the values.
        method: the method's name, for messages.
        ctx: the moment of training, for weights that follow a schedule.
    """

    rollouts: Rollouts
    signals: Mapping[str, Signal]
    level: str
    method: str = "credit"
    ctx: Context | None = None
    _known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def at(self, level: str) -> View:
        """The same rollouts seen at another level."""
        return self if level == self.level else replace(self, level=level)

    @property
    def finest(self) -> str:
        """The level that advantages leave on."""
        return self.rollouts.levels[0]

    def inside(self, fine: str) -> np.ndarray:
        """Offsets of this level's spans into the spans of a finer level, int64 (spans + 1,)."""
        if fine == self.level:
            return np.arange(self.rollouts.count(fine) + 1, dtype=np.int64)
        return bounds(self.rollouts, fine, self.level)

    def per_rollout(self, values: np.ndarray) -> np.ndarray:
        """One value per rollout repeated on its spans of this level."""
        return values if self.level == "rollout" else np.repeat(values, np.diff(self.offsets))

    @property
    def offsets(self) -> np.ndarray:
        """Spans of this level per rollout, int64 (N+1,)."""
        return self.rollouts.offsets(self.level)

    def mask(self) -> np.ndarray | None:
        """At token level, which tokens the policy chose (None: all of them); elsewhere None."""
        rollouts = self.rollouts
        if self.level != "token" or rollouts.acted is None or rollouts.all_acted:
            return None
        return rollouts.acted.values

    def compared(self) -> np.ndarray | None:
        """Which spans enter group statistics, bool (spans,); None: all of them.

        Tokens and partition spans that an environment wrote do not; a rollout always does.
        """
        if self.level in ("token", "rollout") or self.rollouts.all_acted:
            return self.mask()
        return self.acted_counts() > 0

    def acted_counts(self) -> np.ndarray:
        """Tokens the policy chose in every span (characters where there are no tokens), float64 (spans,)."""
        rollouts, key = self.rollouts, f"acted {self.level}"
        if key not in self._known:
            if rollouts.acted is None or rollouts.all_acted:
                found = span_lengths(rollouts, self.level).astype(np.float64)
            elif self.level == "token":
                found = rollouts.acted.values.astype(np.float64)
            else:
                found = kernels.segment_count(rollouts.acted.values, self.inside("token"))
            self._known[key] = found
        return self._known[key]

    def step_counts(self) -> np.ndarray:
        """Steps in every span of a level at least as coarse as the step, float64 (spans,)."""
        if self.level == "step":
            return np.ones(self.rollouts.count("step"))
        return np.diff(self.inside("step")).astype(np.float64)

    def first_of_node(self, among: np.ndarray) -> np.ndarray:
        """Which steps are the first of those `among` that carry their node in their group, bool (steps,)."""
        if self.level != "step" or self.rollouts.node is None:
            raise DataError(f'{self.method} needs per-step tree nodes: column "node"')
        at = np.flatnonzero(among)
        prompt = self.per_rollout(self.rollouts.groups()[0])
        labels = kernels.pair_labels(prompt[at], self.rollouts.node[at])[0]
        first = np.zeros(len(among), bool)
        first[at[kernels.first_positions(labels)]] = True
        return first

    def signal(self, name: str, level: str | None = None) -> Signal:
        """The signal called `name`, at `level` where one is required.

        Raises:
            DataError: it is missing, at another level, or does not fit the rollouts.
        """
        if name not in self.signals:
            have = ", ".join(sorted(self.signals)) or "none"
            at = f" at level {level!r}" if level else ""
            raise DataError(f"{self.method} needs the signal {name!r}{at}; these rollouts carry: {have}")
        signal = self.signals[name]
        if not isinstance(signal, Signal):
            raise DataError(f"{self.method}: {name!r} must be a Signal, not {type(signal).__name__}")
        if level is not None and signal.level != level:
            raise DataError(f"{self.method} needs {name!r} at level {level!r}, but it is at {signal.level!r}")
        self.rollouts.check_signal(signal, name)
        return signal

    def meta(self, name: str, required: bool = True) -> list[Any]:
        """`meta[name]` of every rollout, None where a row has none.

        Raises:
            DataError: `required`, and no row has it.
        """
        rows = self.rollouts.meta
        values = [None] * len(self.rollouts) if rows is None else [row.get(name) for row in rows]
        if required and all(value is None for value in values):
            raise DataError(f"{self.method} needs `meta.{name}`, and no rollout has it")
        return values

    def column(self, name: str) -> np.ndarray:
        """Flat token column (`values`, `logprobs` ...).

        Raises:
            DataError: the rollouts do not carry it.
        """
        column = getattr(self.rollouts, name)
        if column is None:
            raise DataError(f"{self.method} needs the column {name!r} (one number per token)")
        return column.values

    def require_tokens(self, why: str) -> None:
        """Raise DataError where this level is not the token level."""
        if self.level != "token":
            raise DataError(f"{self.method}: {why}, not per {self.level}")
