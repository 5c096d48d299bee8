"""MRT: a block of thought earns how much it raises the chance of answering right now."""

from __future__ import annotations

import math

import numpy as np

from guerdon.credit.baselines import Minus, choice
from guerdon.credit.compose import Credit, Level
from guerdon.credit.placing import Fill
from guerdon.credit.sources import Differences
from guerdon.credit.stages import Returns
from guerdon.credit.view import View
from guerdon.data.kernels import segment_reduce
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.systems.catalogue import system


@system(
    "mrt",
    title="Optimizing Test-Time Compute via Meta Reinforcement Fine-Tuning",
    arxiv="2503.07572",
    family="credit",
    kind="credit",
)
def mrt(alpha: float = 1.0, j_star: float = 1.0, normalise: bool = False, returns: str = "none") -> Credit:
    """A_j = (R - R_term) + alpha (J_j - J_{j-1}).

    J_j is the success probability of answering right after block j, J before the first block that of
    answering with no thinking; R_term the reward of answering right after the prefix that the rollouts share,
    taken as the baseline in place of the group's mean. The first part stands on the whole rollout, the
    progress on its own block; no group is compared.

    Args:
        alpha: weight of progress; 0 needs no `j`.
        j_star, normalise: of the mean `cumulative_regret` that `explain` reports; they change no advantage.
        returns: "none" as above; "sum" credits a block with the progress of all blocks from it on.

    Inputs: `outcome` (rollout); `termination` (rollout; without it nothing is subtracted); `j` (step), and
    `j_start` (rollout; without it the first block has no progress).

    Reference: Qu et al., arXiv 2503.07572; train/rl/README.md of CMU-AIRe/MRT. `cumulative_regret` is its
    measure of a finished rollout.
    """
    choice(returns, ("none", "sum"), "returns")

    def regret(view: View) -> float:
        found = cumulative_regret(view.rollouts, view.signal("j", "step"), j_star, normalise).values
        return float(np.nanmean(found)) if not np.isnan(found).all() else math.nan

    levels = [Level("outcome", span="rollout", baseline=Minus("termination", optional=True))]
    if alpha:
        progress = Differences("j", "step", start="j_start")
        then = (Fill(), Returns(returns))
        levels.append(Level(progress, then=then, weight=alpha, notes={"regret": regret}))
    return Credit(levels, name="mrt")


def cumulative_regret(
    rollouts: Rollouts, j: Signal, j_star: float | np.ndarray = 1.0, normalise: bool = False
) -> Signal:
    """Delta = sum over the blocks of (J*_j - J_j) per rollout, or its mean over them.

    Args:
        j: step signal, success probability after every block.
        j_star: of the comparator, a number or one per block.
        normalise: divide by the number of blocks.
    """
    gap = j_star - j.values
    total = segment_reduce(gap, rollouts.offsets(j.level), "mean" if normalise else "sum")
    return Signal(total, "rollout", "regret")
