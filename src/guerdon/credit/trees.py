"""Values backed up a tree of steps: what the leaves below a node say about it.

Rollouts of a prompt share prefixes: the steps they share carry one node id. Every rollout is one leaf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.credit.view import View
from guerdon.data.kernels import label_moments, pair_labels
from guerdon.data.signal import Signal
from guerdon.errors import DataError


def node_labels(view: View) -> tuple[np.ndarray, int]:
    """Dense labels of (prompt, node), int64 (steps,), and their number.

    Raises:
        DataError: no column `node`.
    """
    if view.rollouts.node is None:
        raise DataError(f'{view.method} needs per-step tree nodes: column "node"')
    steps = view.at("step")
    return pair_labels(steps.per_rollout(view.rollouts.groups()[0]), view.rollouts.node)


def _below(values: np.ndarray, labels: np.ndarray, n_labels: int, agg: str) -> np.ndarray:
    """Mean or maximum over the steps that carry one label, on each of them; NaN left out."""
    if agg == "mean":
        return label_moments(values, labels, n_labels)[1][labels]
    top = np.full(n_labels, -np.inf)
    known = ~np.isnan(values)
    np.maximum.at(top, labels[known], values[known])
    return np.where(np.isinf(top), np.nan, top)[labels]


@dataclass(frozen=True)
class NodeRewards:
    """r(s) = V(s) + eta e(s), V(s) = agg over the leaves l below s of gamma^d(s,l) O_l, d in steps.

    Copies of a node get one reward; e is the mean over them.

    Attributes:
        gamma: discount per step towards the leaf.
        eta: weight of the step's own score e, the step signal `own`.
        agg: "mean" or "max" over leaves.
    """

    gamma: float = 0.95
    eta: float = 0.1
    agg: str = "mean"
    outcome: str = "outcome"
    own: str = "call_ok"

    def __post_init__(self) -> None:
        choice(self.agg, ("mean", "max"), "agg")

    @property
    def name(self) -> str:
        return "node"

    def __call__(self, view: View) -> Signal:
        labels, n_labels = node_labels(view)
        steps = view.at("step")
        offsets = steps.offsets
        behind = np.repeat(offsets[1:], np.diff(offsets)) - 1 - np.arange(offsets[-1])
        leaf = steps.per_rollout(view.signal(self.outcome, "rollout").values)
        value = _below(self.gamma**behind * leaf, labels, n_labels, self.agg)
        if self.eta:  # a step that rollouts share has one score, whatever its copies say
            own = view.signal(self.own, "step").values
            value = value + self.eta * _below(own, labels, n_labels, "mean")
        return Signal(value, "step", self.name)


@dataclass(frozen=True)
class ShareNodes:
    """Stage at step level: copies of a tree node get their mean; `once` divides it by their number.

    Dividing makes all copies together weigh as much in the loss as one step that nobody shares.
    """

    once: bool = False

    def __call__(self, values: np.ndarray, view: View) -> np.ndarray:
        labels, n_labels = node_labels(view)
        written = view.compared()
        own = values if written is None else np.where(written, values, np.nan)
        count, mean, _ = label_moments(own, labels, n_labels)
        shared = np.where(np.isnan(own), np.nan, mean[labels])
        return shared / np.maximum(count, 1)[labels] if self.once else shared
