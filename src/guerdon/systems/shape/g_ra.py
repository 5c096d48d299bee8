"""G-RA: stepwise rewards are accumulated only where the rewards of higher priority pass their thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from guerdon.credit.backups import discount
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.shape.along import discounted_total
from guerdon.shape.gates import gated, priority_gates
from guerdon.shape.parameters import numbers
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited


@system(
    "g-ra",
    title="Stabilizing Long-term Multi-turn Reinforcement Learning with Gated Rewards",
    arxiv="2508.10548",
    family="shape",
    kind="shape",
    others={"credit": credited(baseline="none")},
)
def g_ra(
    delta: float = -0.5,
    priority: Sequence[str] = ("outcome", "step"),
    thresholds: Mapping[str, float] | Sequence[float] | None = None,
    gamma: float = 1.0,
    positives_only: bool = False,
) -> Shaping:
    """G = sum_i g_i sum_t gamma^t R^i_t, g_i = 1 while every stream j above i has R^j > delta_j, else 0.

    A threshold that is met exactly closes. Gates look at the ungated totals of the whole rollout. Credit: G
    itself on every token; any estimator can follow (`baseline="mean_std"`, "return" ...).

    Args:
        delta: threshold of every stream that has none of its own.
        priority: names of the streams, highest first.
        thresholds: stream -> threshold, or a list for all streams but the last.
        gamma: discount over the entries of a stream (a rollout signal has one, undiscounted).
        positives_only: a closed gate takes away gains and keeps penalties.

    Inputs: the streams, each at any level: `outcome` (rollout) and `step` (turn) by default.
    Parts: `gate_<stream>`, `gated_<stream>` (at the stream's own level) and `reward` (rollout).

    Reference: arXiv 2508.10548. The gate is published; the reward values of the agent tasks are not.
    """
    numbers(delta=delta)
    discount(gamma)
    names = tuple(priority)
    if isinstance(priority, str) or len(names) < 2:
        raise RecipeError(f"priority must name two or more streams, highest first; got {priority!r}")
    least = _thresholds(names, thresholds, delta)

    def parts(view: Reading) -> dict[str, np.ndarray | Signal]:
        streams = [view.signal(name) for name in names]
        spans = [view.rollouts.offsets(stream.level) for stream in streams]
        totals = [
            discounted_total(stream.values, at, gamma) for stream, at in zip(streams, spans, strict=True)
        ]
        found: dict[str, np.ndarray | Signal] = {}
        total = np.zeros(len(view.rollouts))
        for name, stream, at, gate in zip(names, streams, spans, priority_gates(totals, least), strict=True):
            values = stream.values
            kept = gated(values, np.repeat(gate, np.diff(at)))
            if positives_only:
                kept = np.where(values < 0, values, kept)
            found[f"gate_{name}"] = gate
            found[f"gated_{name}"] = Signal(kept, stream.level)
            total += discounted_total(kept, at, gamma)
        return {**found, "reward": total}

    return Shaping("g-ra", parts, names, {"rollout": names[0], "turn": names[-1], "step": names[-1]})


def _thresholds(
    names: tuple[str, ...], given: Mapping[str, float] | Sequence[float] | None, delta: float
) -> list[float]:
    if given is None:
        return [delta] * (len(names) - 1)
    if isinstance(given, Mapping):
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise RecipeError(f"thresholds: {unknown[0]!r} is no stream of {', '.join(names)}")
        return [float(given.get(name, delta)) for name in names[:-1]]
    if len(given) not in (len(names) - 1, len(names)):
        raise RecipeError(f"thresholds: one for each of {', '.join(names[:-1])}, got {given!r}")
    return [float(value) for value in given][: len(names) - 1]
