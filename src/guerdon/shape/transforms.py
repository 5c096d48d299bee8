"""Transforms that recipes name: `shape: {process: [{use: shape.clip_delta, eta: 0.5}]}`.

Each factory returns `(rollouts, signal, ctx) -> signal` and they chain in the order given. A missing value
stays missing with its cause; other signals are read from `rollouts.signals` by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.kernels import label_moments, segment_spread
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.shape import along, maps
from guerdon.shape.gates import gated, mixed_groups, reaches
from guerdon.shape.parameters import number, numbers, one_of
from guerdon.shape.references import mean_over, normal_quantile, ragged_references
from guerdon.shape.running import RunningMoments
from guerdon.shape.schedules import decay, schedule
from guerdon.shape.shaping import Reading

Values = Callable[[Reading, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Map:
    """A transform that keeps the level: `values(view, x) -> y`, one value for one.

    Attributes:
        name: for messages. values: what is computed; the view is at the signal's level.
        level: level the signal must be at; None: any.
        state: what is carried from batch to batch.
    """

    name: str
    values: Values
    level: str | None = None
    state: Any = None

    def __call__(self, rollouts: Rollouts, signal: Signal, ctx: Context | None = None) -> Signal:
        rollouts.check_signal(signal)
        if self.level is not None and signal.level != self.level:
            raise DataError(f"shape.{self.name} works per {self.level}, not per {signal.level}")
        view = Reading(rollouts, rollouts.signals, signal.level, f"shape.{self.name}", ctx)
        return Signal(self.values(view, signal.values), signal.level, signal.name, signal.causes)

    def state_dict(self) -> dict[str, Any]:
        """What is carried from batch to batch; empty where nothing is."""
        return {} if self.state is None else self.state.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        if self.state is not None:
            self.state.load_state_dict(state)


def _along(view: Reading) -> np.ndarray:
    if view.level in ("rollout", "group"):
        raise DataError(f"{view.method} works along the spans of a rollout; this signal is per {view.level}")
    return view.offsets


def clip_above(eta: float = 0.9) -> Map:
    """min(x - eta, 0); see `maps.clip_above`."""
    number(eta, "eta")
    return Map("clip_above", lambda view, x: maps.clip_above(x, eta))


def delta(last: str = "drop") -> Map:
    """x_k - x_{k+1} along the rollout; see `along.delta`."""
    one_of(last, ("drop", "keep"), "last")
    return Map("delta", lambda view, x: along.delta(x, _along(view), last))


def clip_delta(eta: float = 0.9, last: str = "drop") -> Map:
    """Differences of min(x - eta, 0) along the rollout; see `along.clip_delta`."""
    number(eta, "eta")
    one_of(last, ("drop", "keep"), "last")
    return Map("clip_delta", lambda view, x: along.clip_delta(x, _along(view), eta, last))


def suffix_max_scale(eps: float = 1e-6) -> Map:
    """Divided by the largest |sum of what follows| of the batch; see `along.suffix_max_scale`."""
    numbers(eps=eps)
    return Map("suffix_max_scale", lambda view, x: along.suffix_max_scale(x, _along(view), eps))


def clip(low: float | None = None, high: float | None = None) -> Map:
    """Into [low, high]; either may be left open."""
    bounds = [value for value in (low, high) if value is not None]
    if not bounds or (len(bounds) == 2 and number(low, "low") > number(high, "high")):
        raise RecipeError(f"clip needs low <= high, or one of them; got {low!r} and {high!r}")
    return Map("clip", lambda view, x: np.clip(x, low, high))


def scale(by: float = 1.0, shift: float = 0.0) -> Map:
    """by * x + shift."""
    numbers(by=by, shift=shift)
    return Map("scale", lambda view, x: by * x + shift)


def sigmoid(slope: float = 1.0, centre: float = 0.0) -> Map:
    """1 / (1 + exp(-slope (x - centre)))."""
    numbers(slope=slope, centre=centre)
    return Map("sigmoid", lambda view, x: maps.sigmoid(slope * (x - centre)))


def log_sigmoid(centre: float = 0.0) -> Map:
    """log sigmoid(x - centre)."""
    numbers(centre=centre)
    return Map("log_sigmoid", lambda view, x: maps.log_sigmoid(x - centre))


def tanh(slope: float = 1.0, centre: float = 0.0) -> Map:
    """tanh(slope (x - centre))."""
    numbers(slope=slope, centre=centre)
    return Map("tanh", lambda view, x: np.tanh(slope * (x - centre)))


def polynomial(centre: float = 0.0) -> Map:
    """A quintic fit of the sigmoid at x - centre; see `maps.polynomial_sigmoid`."""
    numbers(centre=centre)
    return Map("polynomial", lambda view, x: maps.polynomial_sigmoid(x - centre))


def hinge(margin: float = 0.0) -> Map:
    """max(0, x - margin)."""
    numbers(margin=margin)
    return Map("hinge", lambda view, x: maps.hinge(x, margin))


def versus_references(how: str = "sigmoid", slope: float = 1.0, quantile: float = 0.85) -> Map:
    """A rollout's reward against `meta.ref_rewards` of its prompt.

    Args:
        how: "sigmoid": mean_j sigmoid(slope (x - r_j)). "centred": x - mean_j r_j. "log_sigmoid": log
            sigmoid(x - q), q the normal quantile of the references.
    """
    one_of(how, ("sigmoid", "centred", "log_sigmoid"), "how")

    def values(view: Reading, x: np.ndarray) -> np.ndarray:
        refs = ragged_references(view.meta("ref_rewards"), "meta.ref_rewards")
        if how == "log_sigmoid":
            return maps.log_sigmoid(x - normal_quantile(refs.values, refs.offsets, quantile))
        through = (lambda gap: maps.sigmoid(slope * gap)) if how == "sigmoid" else (lambda gap: gap)
        return mean_over(x, refs.values, refs.offsets, through)

    return Map("versus_references", values, "rollout")


def normalise(over: str = "running", how: str = "mean_std", eps: float = 0.0) -> Map:
    """(x - mean)/(std + eps), or (x - min)/(max - min), with the statistics of more rewards.

    Args:
        over: "running": everything seen so far, this batch included (kept in the state). "batch". "group"
            (`mean_std` only): the prompt's rollouts.
        how: "mean_std" (population), "min_max", or "clip" into mean +- std.
        eps: added to the std, for "batch" and "group".
    """
    one_of(over, ("running", "batch", "group"), "over")
    one_of(how, ("mean_std", "min_max", "clip"), "how")
    if over == "group" and how != "mean_std":
        raise RecipeError(f"normalise: over='group' goes with how='mean_std', got {how!r}")
    seen = RunningMoments() if over == "running" else None

    def values(view: Reading, x: np.ndarray) -> np.ndarray:
        if over == "group":
            labels, n = view.groups
            labels = labels if view.level == "rollout" else np.repeat(labels, np.diff(view.offsets))
            count, mean, m2 = label_moments(x, labels, n)
            std = np.sqrt(np.divide(m2, count, out=np.zeros(n), where=count > 0))
            return (x - mean[labels]) / np.where(std > 0, std + eps, 1.0)[labels]
        moments = (RunningMoments() if seen is None else seen).add(x)
        by = {"mean_std": moments.standardise, "min_max": moments.min_max, "clip": moments.clip}
        if how == "mean_std" and moments.std > 0:
            return (x - moments.mean) / (moments.std + eps)
        return by[how](x)

    return Map("normalise", values, state=seen)


def gate(by: str = "outcome", threshold: float = 0.5, hard: bool = True, positives_only: bool = False) -> Map:
    """x where the rollout signal `by` is at least the threshold, else 0.

    Args:
        hard: a gate of 0 or 1; otherwise x is multiplied by the signal itself.
        positives_only: a closed gate takes away gains and keeps penalties.
    """
    number(threshold, "threshold")

    def values(view: Reading, x: np.ndarray) -> np.ndarray:
        signal = view.signal(by, "rollout").values
        opened = view.per_rollout(reaches(signal, threshold) if hard else signal)
        shaped = gated(x, opened)
        return np.where(x < 0, x, shaped) if positives_only else shaped

    return Map("gate", values)


def anneal(schedule: Any = "linear", horizon: float | None = None) -> Map:
    """x times a factor that falls over training.

    Args:
        schedule: "linear" or "cosine" in progress, a number in [0, 1], `{use: ..., start:, end:}`, or a
            function of the context; what leaves [0, 1] is refused.
        horizon: instead: exp(-step / horizon).
    """
    factor = _anneal(schedule, horizon)
    return Map("anneal", lambda view, x: factor(view.moment) * x)


def _anneal(spec: Any, horizon: float | None) -> Callable[[Context], float]:
    if horizon is None:
        return schedule(spec, "schedule")
    decay(0, horizon, "horizon")
    return lambda ctx: decay(ctx.step, horizon, "horizon")


def mixed_groups_only(low: float = 0.1, high: float = 0.9, by: str = "outcome") -> Map:
    """0 in groups whose rollouts are all right (`by` >= high) or all wrong (<= low)."""

    def values(view: Reading, x: np.ndarray) -> np.ndarray:
        labels, n = view.groups
        return gated(
            x, view.per_rollout(mixed_groups(view.signal(by, "rollout").values, labels, n, low, high))
        )

    return Map("mixed_groups_only", values)


def length_price(coef: float = 1000.0) -> Map:
    """x - coef / length: short rollouts are punished; see `maps.reciprocal_length`."""
    number(coef, "coef")
    return Map("length_price", lambda view, x: x + maps.reciprocal_length(view.length(), coef), "rollout")


def over_limit(limit: float = 300, price: float = 0.01) -> Map:
    """x - price * (length - limit) where a rollout is longer than the limit."""
    numbers(limit=limit, price=price)
    return Map("over_limit", lambda view, x: x + maps.over_limit(view.length(), limit, price), "rollout")


def combine(
    parts: Mapping[str, float] | Sequence[str], weight: float = 1.0, how: str = "add", clip_log: float = 1e-6
) -> Map:
    """weight * x joined with other signals, each at x's level or coarser; they stay signals of their own.

    Args:
        parts: names of the others, or name -> weight.
        how: "add": weighted sum. "multiply": x * prod y^w. "minimum": the least of all (weights unused).
            "conjunction": sum of w log y for values that are probabilities: the log of all being good.
        clip_log: least probability whose logarithm is taken.
    """
    one_of(how, ("add", "multiply", "minimum", "conjunction"), "how")
    weights = dict(parts) if isinstance(parts, Mapping) else dict.fromkeys(parts, 1.0)
    if not weights:
        raise RecipeError("combine needs at least one other signal in 'parts'")
    joined = {
        "add": lambda values, w: np.tensordot(w, values, 1),
        "multiply": lambda values, w: np.prod(values ** w[:, None], axis=0),
        "minimum": lambda values, w: values.min(axis=0),
        "conjunction": lambda values, w: np.tensordot(w, np.log(np.maximum(values, clip_log)), 1),
    }[how]

    def values(view: Reading, x: np.ndarray) -> np.ndarray:
        others = []
        for name in weights:
            signal = view.signal(name)
            same = signal.level == view.level
            others.append(
                signal.values
                if same
                else segment_spread(signal.values, view.at(signal.level).inside(view.level))
            )
        return joined(np.stack([x, *others]), np.array([weight, *weights.values()], np.float64))

    return Map("combine", values)
