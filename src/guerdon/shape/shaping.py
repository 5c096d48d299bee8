"""What a transform is: `(rollouts, signal, ctx) -> signal`, with every intermediate value to be seen.

A `Shaping` declares which signals it reads and computes named parts; the part `reward` is its result. The
signal it is called with stands for one of those it reads, so it can follow other transforms in a chain; the
rest come from `rollouts.signals`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.credit.view import View
from guerdon.data.kernels import segment_reduce
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError

Transform = Callable[..., Signal]
REWARD = "reward"


class Reading(View):
    """The rollouts as a shaping sees them: its own signals with clear errors, per rollout."""

    def rollout(self, name: str, optional: bool = False) -> np.ndarray:
        """Values of a rollout signal, float64 (N,); zeros where it is optional and not carried."""
        if optional and name not in self.signals:
            return np.zeros(len(self.rollouts))
        return self.signal(name, "rollout").values

    def spans(self, name: str, level: str) -> np.ndarray:
        """Values of a signal at a finer level, float64 (spans,)."""
        return self.signal(name, level).values

    def first(self, *names: str) -> np.ndarray:
        """Values of the first rollout signal of these names that is carried."""
        carried = [name for name in names if name in self.signals]
        return self.rollout((carried or list(names))[0])

    def length(self) -> np.ndarray:
        """The rollout signal `length`, or how many tokens the policy chose, float64 (N,).

        Raises:
            DataError: neither is known.
        """
        if "length" in self.signals:
            return self.rollout("length")
        if self.rollouts.tokens is None:
            raise DataError(
                f"{self.method} needs the signal 'length' (tokens); these rollouts have no tokens"
            )
        return self.at("rollout").acted_counts()

    def texts(self) -> list[str]:
        """Completions as text."""
        return [self.rollouts.text(row) for row in range(len(self.rollouts))]

    @property
    def groups(self) -> tuple[np.ndarray, int]:
        """Labels int64 (N,) of the prompt groups and how many there are."""
        return self.rollouts.groups()

    @property
    def moment(self) -> Context:
        """The context, or the beginning of training where none was given."""
        return self.ctx or Context()


Parts = Callable[[Reading], Mapping[str, np.ndarray | Signal]]


@dataclass(frozen=True)
class Shaping:
    """A transform whose intermediates stay visible.

    Attributes:
        name: for messages.
        parts: makes the named parts; arrays are values per rollout. The one called `reward` is the result.
        reads: signals it reads, for the causes of missing values.
        stands_for: level -> which of them the signal it is called with stands for.
        otherwise: why a value is missing where all of them are there.
        state: what has `state_dict` and `load_state_dict`, where something is carried from batch to batch.

    Raises:
        DataError: a signal it needs is missing, at another level, or does not fit.
    """

    name: str
    parts: Parts
    reads: Sequence[str] = ("outcome",)
    stands_for: Mapping[str, str] = field(default_factory=lambda: {"rollout": "outcome"})
    state: Any = None
    otherwise: str = "no value of what it is computed from"

    def __call__(
        self, rollouts: Rollouts, signal: Signal | None = None, ctx: Context | None = None
    ) -> Signal:
        return self.explain(rollouts, signal, ctx)[REWARD]

    def explain(
        self,
        rollouts: Rollouts,
        signal: Signal | None = None,
        ctx: Context | None = None,
        signals: Mapping[str, Signal] | None = None,
    ) -> dict[str, Signal]:
        """Every part as a signal of its own, `reward` among them.

        Args:
            signal: takes the place of the one it stands for.
            signals: what was scored; default those the rollouts carry.
        """
        carried = dict(rollouts.signals if signals is None else signals)
        if signal is not None:
            carried[self._place_of(signal)] = signal
        view = Reading(rollouts, carried, "rollout", self.name, ctx)
        found = {}
        for name, values in self.parts(view).items():
            part = values if isinstance(values, Signal) else Signal(values, "rollout", name)
            causes = {**self._causes(view, part), **part.causes}
            found[name] = Signal(part.values, part.level, name, causes)
        return found

    def _place_of(self, signal: Signal) -> str:
        if signal.level not in self.stands_for:
            wanted = ", ".join(f"{level} ({name})" for level, name in self.stands_for.items())
            raise DataError(f"{self.name} shapes a signal at level {wanted}, not at {signal.level!r}")
        return self.stands_for[signal.level]

    def _causes(self, view: Reading, part: Signal) -> dict[int, str]:
        """Why values are missing: the first signal read that has none for the same rollout."""
        lost = np.flatnonzero(np.isnan(part.values))
        if len(lost) == 0:
            return {}
        offsets = view.rollouts.offsets(part.level)
        rows = np.searchsorted(offsets, lost, side="right") - 1
        holes = []
        for name in self.reads:
            if name in view.signals and view.signals[name].level != "group":
                signal = view.signals[name]
                missing = np.isnan(signal.values).astype(np.float64)
                holes.append((name, signal, segment_reduce(missing, view.rollouts.offsets(signal.level)) > 0))
        return {
            int(at): _cause(int(at), int(row), part, holes) or self.otherwise
            for at, row in zip(lost, rows, strict=True)
        }

    def state_dict(self) -> dict[str, Any]:
        """What is carried from batch to batch; empty where nothing is."""
        return {} if self.state is None else self.state.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        if self.state is not None:
            self.state.load_state_dict(state)


def _cause(at: int, row: int, part: Signal, holes: Sequence[tuple[str, Signal, np.ndarray]]) -> str | None:
    for name, signal, missing in holes:
        if missing[row]:
            same = signal.causes.get(at) if signal.level == part.level else None
            return same or f"no value of {name!r}"
    return None


def chain(*transforms: Transform) -> Transform:
    """Transforms applied from left to right, as one."""

    def chained(rollouts: Rollouts, signal: Signal, ctx: Context | None = None) -> Signal:
        for transform in transforms:
            signal = transform(rollouts, signal, ctx)
        return signal

    return chained
