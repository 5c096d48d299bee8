"""What a primitive sees of one level: its values and the rollouts around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from guerdon.data.levels import span_lengths
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
    """

    rollouts: Rollouts
    signals: Mapping[str, Signal]
    level: str
    method: str = "credit"

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
        rollouts = self.rollouts
        if rollouts.acted is None or rollouts.all_acted:
            return span_lengths(rollouts, self.level).astype(np.float64)
        acted = Signal(rollouts.acted.values, "token", "acted")
        return rollouts.reduce(acted, to=self.level).values

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

    def column(self, name: str) -> np.ndarray:
        """Flat token column (`values`, `logprobs` ...).

        Raises:
            DataError: the rollouts do not carry it.
        """
        column = getattr(self.rollouts, name)
        if column is None:
            raise DataError(f"{self.method} needs the column {name!r} (one number per token)")
        return column.values
