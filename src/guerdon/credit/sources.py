"""Where the values of a level come from: a signal by name, moved, mixed or differenced.

A source is a function of the `View` that returns one Signal. Mixing here is mixing *before* normalisation;
mixing normalised levels is what `Credit` does with its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from guerdon.credit.placing import place
from guerdon.credit.potentials import differences, gains, lookahead_fill
from guerdon.credit.view import View
from guerdon.data.kernels import segment_reduce
from guerdon.data.signal import Signal
from guerdon.errors import DataError

Source = Callable[[View], Signal]


def source_name(source: str | Source) -> str:
    """What a source is called in reports."""
    return source if isinstance(source, str) else str(getattr(source, "name", type(source).__name__))


def resolve(source: str | Source, view: View, level: str | None = None) -> Signal:
    """The signal a source stands for.

    Raises:
        DataError: it is missing, at another level, or does not fit the rollouts.
    """
    if isinstance(source, str):
        return view.signal(source, level)
    signal = source(view)
    if level is not None and signal.level != level:
        name = source_name(source)
        raise DataError(f"{view.method} needs {name!r} at level {level!r}, but it is at {signal.level!r}")
    return signal


@dataclass(frozen=True)
class FirstOf:
    """The first of several names that the rollouts carry, for signals that people call differently."""

    names: tuple[str, ...]
    level: str | None = None

    @property
    def name(self) -> str:
        return self.names[0]

    def __call__(self, view: View) -> Signal:
        carried = [name for name in self.names if name in view.signals]
        return view.signal((carried or [self.name])[0], self.level)


@dataclass(frozen=True)
class Moved:
    """A signal at another level: x_s = scale * how_{t in s} x_t, over what the policy chose.

    Attributes:
        source: the signal.
        level: where to.
        how: "sum", "mean", "min", "max", "last" or "first" upwards.
        scale: factor.
        origin: level the signal must be at; None: any finer one.
    """

    source: str | Source
    level: str
    how: str = "sum"
    scale: float = 1.0
    origin: str | None = None

    @property
    def name(self) -> str:
        return source_name(self.source)

    def __call__(self, view: View) -> Signal:
        signal = resolve(self.source, view, self.origin)
        values = signal.values
        if signal.level != self.level:
            mask = None if self.how in ("last", "first") else view.at(signal.level).compared()
            inside = view.at(self.level).inside(signal.level)
            values = segment_reduce(values, inside, self.how, mask=mask)
        return Signal(self.scale * values, self.level, self.name)


@dataclass(frozen=True)
class Mixed:
    """x_s = sum_k w_k x^k_s on the spans of `level`: sources added before they are normalised.

    Coarser sources are spread: `how="all"` puts their value on every span, "last" on the last one the policy
    wrote. A missing part makes the span missing.
    """

    parts: tuple[tuple[str | Source, float], ...]
    level: str
    how: str = "all"

    @property
    def name(self) -> str:
        return "+".join(source_name(source) for source, _ in self.parts)

    def __call__(self, view: View) -> Signal:
        at = view.at(self.level)
        total = np.zeros(at.rollouts.count(self.level))
        for source, weight in self.parts:
            signal = resolve(source, view)
            total += weight * place(signal.values, view.at(signal.level), self.level, self.how)
        return Signal(total, self.level, self.name)


@dataclass(frozen=True)
class Differences:
    """Progress of a potential along the spans of its level.

    `measured="after"`: x_k = phi_k - phi_{k-1}, where phi before the first span is the rollout signal
    `start`; without one the first span has no progress. `measured="before"`: x_k = phi_{k+1} - phi_k, and the
    last span has none. No progress is NaN. Either way sum_k x_k telescopes.

    Attributes:
        potential: signal with phi.
        start: rollout signal with phi of the bare prompt; taken where it is carried.
        through: map applied to phi first (a probability, a Best-of-K success rate).
    """

    potential: str
    level: str
    start: str | None = None
    measured: str = "after"
    through: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def name(self) -> str:
        return self.potential

    def __call__(self, view: View) -> Signal:
        signal = view.signal(self.potential, self.level)
        apply = self.through or (lambda values: values)
        offsets = view.at(self.level).offsets
        phi = apply(signal.values)
        if self.measured == "before":
            return signal.with_values(gains(phi, offsets))
        start = None
        if self.start is not None and self.start in view.signals:
            start = apply(view.signal(self.start, "rollout").values)
        return signal.with_values(differences(phi, offsets, start))

    def residual(self, view: View, values: np.ndarray) -> float:
        """max over rollouts |sum_k x_k - (phi_last - phi_first)|."""
        signal = view.signal(self.potential, self.level)
        phi = signal.values if self.through is None else self.through(signal.values)
        offsets = view.at(self.level).offsets
        ends = segment_reduce(phi, offsets, "last", True)
        begin = segment_reduce(phi, offsets, "first", True)
        if self.measured == "after" and self.start is not None and self.start in view.signals:
            begin = view.signal(self.start, "rollout").values
            begin = begin if self.through is None else self.through(begin)
        return largest(segment_reduce(values, offsets, "sum", True) - (ends - begin))


@dataclass(frozen=True)
class LookAhead:
    """Value differences of cut points, flat ones filled from what follows; see `lookahead_fill`."""

    potential: str
    level: str
    decay: float = 0.7
    reach: int = 4
    at: str = "segment"

    @property
    def name(self) -> str:
        return self.potential

    def __call__(self, view: View) -> Signal:
        signal = view.signal(self.potential, self.level)
        offsets = view.at(self.level).offsets
        cut = lookahead_fill(signal.values, offsets, self.decay, self.reach)
        if self.at == "cut":
            return signal.with_values(cut)
        behind = np.full(len(cut), np.nan)
        behind[1:] = cut[:-1]
        first = offsets[:-1][np.diff(offsets) > 0]
        behind[first] = np.where(np.isnan(signal.values[first]), np.nan, 0.0)
        return signal.with_values(behind)

    def residual(self, view: View, values: np.ndarray) -> float:
        """max over rollouts |sum_k x_k - (phi_last - phi_first)|: what looking ahead added."""
        phi = view.signal(self.potential, self.level).values
        offsets = view.at(self.level).offsets
        change = segment_reduce(phi, offsets, "last", True) - segment_reduce(phi, offsets, "first", True)
        return largest(segment_reduce(values, offsets, "sum", True) - change)


def largest(values: np.ndarray) -> float:
    """Largest absolute value that is present; 0 where none is."""
    present = np.abs(values[~np.isnan(values)])
    return float(present.max(initial=0.0))


def mixed(parts: Sequence[tuple[str | Source, float]], level: str, how: str = "all") -> Mixed:
    """`Mixed` without the parts whose weight is 0, unless all are."""
    kept = tuple(part for part in parts if part[1] != 0) or tuple(parts[:1])
    return Mixed(kept, level, how)


@dataclass(frozen=True)
class LogRatio:
    """x_t = log pi - log pi_ref of every token, from the columns `logprobs` and `ref_logprobs`."""

    name: str = "log_ratio"

    def __call__(self, view: View) -> Signal:
        new, reference = view.column("logprobs"), view.column("ref_logprobs")
        return Signal(new.astype(np.float64) - reference, "token", self.name)
