"""Credit: a declared composition of levels, computed in one pass over ragged arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from guerdon.context import Context
from guerdon.credit.backups import Backup, Own
from guerdon.credit.baselines import Baseline, Raw, at_least_zero
from guerdon.credit.diagnostics import describe_agreement, describe_level
from guerdon.credit.groupings import Labelling, by
from guerdon.credit.sources import Source, resolve, source_name
from guerdon.credit.view import View
from guerdon.data import kernels
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError


class Part(NamedTuple):
    """What one level contributes.

    Attributes:
        source: the values it started from.
        backed: what the backup made of them: the values that are compared.
        compared: what its baseline made of them, on the source's spans.
        labels, n_labels: the groups they were compared in; None where nothing was compared.
        advantage: fresh values to be summed, on the spans of `level`.
        level: where the stages after the baseline left them.
    """

    source: Signal
    backed: np.ndarray
    compared: np.ndarray
    labels: np.ndarray | None
    n_labels: int
    advantage: np.ndarray
    level: str


Stage = Callable[[np.ndarray, View], Any]
Weight = float | Callable[[Context], float]


@dataclass(frozen=True)
class Compare:
    """Stage: compare once more, in another grouping (merge equal edges, normalise over the batch)."""

    group: Labelling
    baseline: Baseline

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        return self.baseline(values, *self.group(view), view)


@dataclass(frozen=True)
class Level:
    """One source of credit: source -> backup -> baseline over a group -> stages -> weight.

    Attributes:
        source: name of the signal, or a function of the `View` that makes one.
        span: level the values must be at; None takes the signal's own level.
        backup: carries values along the rollout before they are compared.
        group: which spans are compared, where the baseline compares any.
        baseline: how they are compared.
        then: stages after the baseline, each `(values, view) -> values` or `-> (values, view)` where it goes
            on at another level: returns of normalised rewards, a second comparison. Spans the policy did not
            write enter them as 0.
        weight: factor in the sum over levels, or a schedule `ctx -> factor`.
        notes: more numbers for the report of `Credit.explain`, by name; they change no advantage.
    """

    source: str | Source
    span: str | None = None
    backup: Backup = field(default_factory=Own)
    group: Labelling = field(default_factory=lambda: by("prompt"))
    baseline: Baseline = field(default_factory=Raw)
    then: Sequence[Stage] = ()
    weight: Weight = 1.0
    notes: Mapping[str, Callable[[View], float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not callable(self.weight):
            finite_weight(self.weight, self.name)

    @property
    def name(self) -> str:
        """What the source is called."""
        return source_name(self.source)

    def part(self, view: View) -> Part:
        """Advantages of this level.

        Raises:
            DataError: the source is missing, infinite somewhere, or does not fit the level.
        """
        signal = resolve(self.source, view, self.span)
        if signal.level == "group":
            raise DataError(
                f"{view.method}: {self.name!r} is one value per group; spread it to rollouts first"
            )
        _refuse_infinite(signal, self.name, view.method)
        at = view.at(signal.level)
        compares = getattr(self.baseline, "compares", True)
        labels, n_labels = self.group(at) if compares else (None, 0)
        backed = self.backup(signal.values, at)
        compared = self.baseline(backed, labels, n_labels, at)
        advantage = compared
        if self.then:
            written = None if at.level == "token" else at.compared()  # scans of tokens pass over them
            advantage = compared if written is None else np.where(written, compared, 0.0)
        for stage in self.then:
            out = stage(advantage, at)
            advantage, at = out if isinstance(out, tuple) else (out, at)
        if np.may_share_memory(advantage, signal.values):  # the caller's values: not ours to write to
            advantage = advantage.copy()
        return Part(signal, backed, compared, labels, n_labels, advantage, at.level)


def finite_weight(weight: Any, name: str) -> float:
    """Check the weight of a level; RecipeError unless it is a finite number."""
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight):
        raise RecipeError(f"the weight of {name!r} must be a finite number, got {weight!r}")
    return float(weight)


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
        view = self._view(rollouts, signals, ctx)
        return self._mix(view, [level.part(view) for level in self.levels])

    def explain(
        self, rollouts: Rollouts, signals: Mapping[str, Signal] | None = None, ctx: Context | None = None
    ) -> tuple[Signal, dict[str, dict[str, float]]]:
        """Advantages and, per source, what happened on the way (see `diagnostics`).

        A source used by several levels is reported as `name`, `name.2` and so on.
        """
        view = self._view(rollouts, signals, ctx)
        parts = [level.part(view) for level in self.levels]
        reports: dict[str, dict[str, float]] = {}
        for i, (level, part) in enumerate(zip(self.levels, parts, strict=True)):
            earlier = sum(other.name == level.name for other in self.levels[:i])
            key = f"{level.name}.{earlier + 1}" if earlier else level.name
            report = describe_level(
                part.source.values, part.backed, part.compared, part.labels, part.n_labels
            )
            report |= describe_agreement(
                view, part.advantage, part.level, [(o.advantage, o.level) for o in parts[:i]], list(reports)
            )
            if hasattr(level.source, "residual"):
                report["residual"] = level.source.residual(view, part.source.values)
            report |= {name: note(view) for name, note in level.notes.items()}
            reports[key] = {name: value for name, value in report.items() if not math.isnan(value)}
        return self._mix(view, parts), reports

    def state_dict(self) -> dict[str, Any]:
        """What baselines keep between calls, by the number of their level; {} where none keeps anything."""
        kept = ((str(i), level.baseline) for i, level in enumerate(self.levels))
        return {i: baseline.state_dict() for i, baseline in kept if hasattr(baseline, "state_dict")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        for i, kept in state.items():
            self.levels[int(i)].baseline.load_state_dict(kept)  # type: ignore[attr-defined]

    def _view(self, rollouts: Rollouts, signals: Mapping[str, Signal] | None, ctx: Context | None) -> View:
        if len(rollouts) == 0:
            raise DataError(f"{self.name}: there are no rollouts to assign credit to")
        return View(rollouts, rollouts.signals if signals is None else signals, "rollout", self.name, ctx)

    def _mix(self, view: View, parts: Sequence[Part]) -> Signal:
        weighed = [
            (_weighed(level, part, view), part.level) for level, part in zip(self.levels, parts, strict=True)
        ]
        total = _sum(view, weighed)
        mask = view.at(view.finest).compared()
        if self.whiten is not None:
            self.whiten(total, mask)
        elif mask is not None or any(np.isnan(part.advantage).any() for part in parts):
            kernels.settle(total, mask)
        return Signal(total, view.finest, "advantage")


def _weight(level: Level, view: View) -> float:
    if not callable(level.weight):
        return level.weight
    return finite_weight(level.weight(view.ctx or Context()), level.name)


def _weighed(level: Level, part: Part, view: View) -> np.ndarray:
    weight = _weight(level, view)
    return part.advantage if weight == 1.0 else np.multiply(part.advantage, weight, out=part.advantage)


def _sum(view: View, parts: Sequence[tuple[np.ndarray, str]]) -> np.ndarray:
    """Sum of parts on the finest spans, from coarse to fine: each is spread no further than it must be.

    Uses up the arrays it is given. A NaN adds nothing; where all parts are NaN, the sum is.
    """
    order = sorted(parts, key=lambda part: view.rollouts.levels.index(part[1]), reverse=True)
    total, at = order[0]
    for values, level in order[1:]:
        kernels.segment_add(values, total, view.at(at).inside(level))
        total, at = values, level
    if at == view.finest:
        return total
    out = np.empty(view.rollouts.count(view.finest))
    kernels.segment_add(out, total, view.at(at).inside(view.finest), first=True)
    return out


def _refuse_infinite(signal: Signal, name: str, method: str) -> None:
    """An infinite value would make every advantage of its group infinite or missing."""
    with np.errstate(invalid="ignore"):
        if np.isfinite(signal.values.sum()):  # one fast pass; only a doubtful sum is looked into
            return
    infinite = np.isinf(signal.values)
    if infinite.any():
        at = int(np.flatnonzero(infinite)[0])
        raise DataError(f"{method}: the signal {name!r} is infinite at {signal.level} {at}; clip it first")
