"""Sample selection: which rollouts of a batch are learnt from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.kernels import label_moments
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError
from guerdon.registry import build

Filter = Callable[..., np.ndarray]
"""rollouts -> bool (rollouts,); one that names engines in `asks` is given the context too."""


def uniform_groups(source: str = "outcome") -> Filter:
    """Drop groups whose rewards are all equal: they carry no relative signal (DAPO's dynamic sampling).

    Reference: Yu et al., DAPO, arXiv 2503.14476.
    """

    def keep(rollouts: Rollouts) -> np.ndarray:
        values = _rollout_values(rollouts, source)
        labels, n = rollouts.groups()
        count, _, m2 = label_moments(values, labels, n)
        return ((m2 > 0) | (count == 1))[labels]

    return keep


def unscored(source: str = "outcome") -> Filter:
    """Drop rollouts whose reward is missing."""
    return lambda rollouts: ~np.isnan(_rollout_values(rollouts, source))


def band(low: float = 0.0, high: float = 1.0, source: str = "outcome") -> Filter:
    """Keep groups whose mean reward lies in [low, high]: neither too hard nor too easy."""

    def keep(rollouts: Rollouts) -> np.ndarray:
        values = _rollout_values(rollouts, source)
        labels, n = rollouts.groups()
        mean = label_moments(values, labels, n)[1]
        return ((mean >= low) & (mean <= high))[labels]

    return keep


def _rollout_values(rollouts: Rollouts, source: str) -> np.ndarray:
    if source not in rollouts.signals:
        raise DataError(
            f"a filter reads the signal {source!r}; there is: {', '.join(rollouts.signals) or 'none'}"
        )
    signal = rollouts.signals[source]
    return signal.values if signal.level == "rollout" else rollouts.reduce(signal, "rollout", "mean").values


def build_filters(section: Sequence[Mapping[str, Any]]) -> list[Filter]:
    """The recipe's filters, in order."""
    return [build("filter", spec, f"filters.{i}") for i, spec in enumerate(section)]


def select(rollouts: Rollouts, filters: Sequence[Filter], ctx: Context | None = None) -> Rollouts:
    """Rollouts that pass every filter; those behind one that lets nothing through are not asked."""
    for keep in filters:
        if len(rollouts):
            kept = keep(rollouts, ctx) if getattr(keep, "asks", ()) else keep(rollouts)
            rollouts = rollouts.select(kept)
    return rollouts
