"""Thoughts: runs of steps with one label, and what they earn in right and in wrong solutions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guerdon.credit.baselines import MeanStd
from guerdon.credit.groupings import by
from guerdon.credit.view import View
from guerdon.data.kernels import label_mean
from guerdon.data.signal import Signal


def run_ends(labels: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Last steps of maximal runs of equal labels, and which of them end their rollout.

    Args:
        labels: (steps,); NaN equals nothing.
        offsets: int64 (N+1,).

    Returns:
        two bool (steps,).
    """
    last = np.zeros(len(labels), bool)
    last[offsets[1:][np.diff(offsets) > 0] - 1] = True
    ends = last.copy()
    ends[:-1] |= ~(labels[1:] == labels[:-1])
    return ends, last


@dataclass(frozen=True)
class ThoughtRewards:
    """Reward of every thought, on its last step; the last thought of a rollout gets 0.

    With r_c = alpha * (share of the prompt's rollouts with an outcome above 0) and o the standardised
    outcome: in a right solution +r_c for a thought labelled above 0, else -r_c; in a wrong one o for a
    thought labelled below 0 (it matches the wrong answer), else -o. Thoughts alternate, so sums over what
    follows are 0 in thoughts like the last one, and -r_c or -o in the others.
    """

    alpha: float = 1.0
    ddof: int = 1
    eps: float = 1e-6
    label: str = "label"
    outcome: str = "outcome"

    @property
    def name(self) -> str:
        return self.label

    def __call__(self, view: View) -> Signal:
        labels = view.signal(self.label, "step").values
        steps, rows = view.at("step"), view.at("rollout")
        outcome = view.signal(self.outcome, "rollout").values
        groups, n_groups = by("prompt")(rows)
        right = np.where(np.isnan(outcome), np.nan, outcome > 0)
        size = self.alpha * label_mean(right, groups, n_groups)[groups]
        standard = MeanStd(self.ddof, self.eps, "zero")(outcome, groups, n_groups, rows)
        good = steps.per_rollout(right)
        paid = steps.per_rollout(np.where(right == 1, size, standard))
        plus = np.where(good == 1, labels > 0, labels < 0)
        ends, last = run_ends(labels, steps.offsets)
        reward = np.where(ends & ~last, np.where(plus, paid, -paid), 0.0)
        return Signal(np.where(np.isnan(labels) | np.isnan(good), np.nan, reward), "step", self.name)
