"""Where sampled rollouts are forked, and the tree that comes of it.

    trunk          s0 -- s1 -- s2 -- s3
    fork at 2            \\---- s2' -- s3' -- s4'      shares the nodes of s0 and s1
                         \\---- s2" -- ...

Enters: trunks with a step partition and a `Branch`. Leaves: which trunk is continued from which step under
which draw number, and the node of every step: what was sampled once carries one id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.seeds import uniforms
from guerdon.errors import DataError, RecipeError
from guerdon.learn.recipe_fields import Section, setting
from guerdon.tasks.base import stable_seed


@dataclass(frozen=True, kw_only=True)
class Branch(Section):
    """How trees are grown: trunks first, then continuations from some of their steps.

    Attributes:
        at: which steps are sampled anew. "random": uniform over the steps after the first; "entropy": those
            of highest mean token entropy; or step numbers from 0. A number beyond a trunk's last step means
            its last step, and 0 is a fresh rollout that shares nothing.
        points: forks per trunk ("random", "entropy"); where it has fewer steps, they are forked in turn.
        width: continuations per fork.

    Raises:
        RecipeError: an unknown `at`, or a number below its least.
    """

    where = "sampler.branch"
    at: str | tuple[int, ...] = "random"
    points: int = setting(1, low=1)
    width: int = setting(1, low=1)

    def __post_init__(self) -> None:
        if isinstance(self.at, int) and not isinstance(self.at, bool):
            object.__setattr__(self, "at", (self.at,))
        elif not isinstance(self.at, str):
            object.__setattr__(self, "at", tuple(self.at))
        super().__post_init__()
        if isinstance(self.at, str) and self.at not in ("random", "entropy"):
            raise RecipeError(f"{self.where}.at: expected random, entropy or step numbers, got {self.at!r}")
        if not isinstance(self.at, str) and (not self.at or min(self.at) < 0):
            raise RecipeError(f"{self.where}.at: step numbers start at 0, got {list(self.at)}")

    @property
    def forks(self) -> int:
        """Continuations per trunk."""
        return (self.points if isinstance(self.at, str) else len(self.at)) * self.width

    def trunks(self, leaves: int) -> int:
        """How many trunks give so many leaves.

        Raises:
            RecipeError: `leaves` is no multiple of 1 + forks.
        """
        if leaves % (1 + self.forks):
            raise RecipeError(
                f"{self.where}: every trunk gives 1 + {self.forks} rollouts, which does not divide the group "
                f"of {leaves}; change sampler.group, points or width"
            )
        return leaves // (1 + self.forks)


class Plan(NamedTuple):
    """Continuations, `forks` per trunk, trunk after trunk.

    Attributes:
        trunk: int64 (F,), row of the trunk.
        step: int64 (F,), the first step to be sampled anew.
        draw: int64 (F,), draw numbers no trunk uses.
        problem: int64 (F,), its group.
    """

    trunk: np.ndarray
    step: np.ndarray
    draw: np.ndarray
    problem: np.ndarray

    def interleave(self, trunks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each trunk followed by its continuations.

        Returns:
            order int64: rows of (trunks, then continuations) in their final order; origin int64: final row
            of each row's trunk; shared int64: how many of its first steps are the trunk's.
        """
        owner = np.concatenate([np.arange(trunks), self.trunk])
        order = np.argsort(owner, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        shared = np.concatenate([np.zeros(trunks, np.int64), self.step])
        return order, place[:trunks][owner[order]], shared[order]


def fork_rows(
    rollouts: Rollouts, branch: Branch, problem: np.ndarray, draw: np.ndarray, trunks: int, seed: int
) -> Plan:
    """Where every trunk is forked.

    Args:
        rollouts: trunks with a `step` partition.
        problem, draw: int64 (N,), group and draw number of each trunk.
        trunks: trunks per group: continuations are numbered from there.
        seed: of the random choice; it depends on (seed, problem, draw) only.

    Raises:
        DataError: no steps, or "entropy" without token entropies.
    """
    if "step" not in rollouts.partitions:
        raise DataError("branching needs steps: this task has none; fork a task with steps, or a world")
    counts = np.diff(rollouts.offsets("step"))
    points = _points(rollouts, branch, counts, problem, draw, seed)
    step = np.repeat(points, branch.width, axis=1)
    number = trunks + draw[:, None] * branch.forks + np.arange(branch.forks)
    rows = np.repeat(np.arange(len(counts)), branch.forks)
    return Plan(rows, step.reshape(-1), number.reshape(-1), problem[rows])


def _points(
    rollouts: Rollouts,
    branch: Branch,
    counts: np.ndarray,
    problem: np.ndarray,
    draw: np.ndarray,
    seed: int,
) -> np.ndarray:
    """int64 (N, points), ascending."""
    last = np.maximum(counts - 1, 0)
    if not isinstance(branch.at, str):
        return np.minimum(np.array(branch.at, dtype=np.int64)[None, :], last[:, None])
    offsets = rollouts.offsets("step")
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    row = np.repeat(np.arange(len(counts)), counts)
    if branch.at == "entropy":
        score = _step_entropy(rollouts)
    else:
        keys = np.array([stable_seed(seed, "fork", group) for group in problem.tolist()], dtype=np.uint64)
        score = uniforms(keys[row], draw[row], position)
    score = np.where(position == 0, -np.inf, score)  # the first step is forked only where there is no other
    order = np.lexsort((position, -score, row))
    place = offsets[:-1, None] + np.arange(branch.points)[None, :] % np.maximum(last, 1)[:, None]
    return np.sort(position[order][place], axis=1)


def _step_entropy(rollouts: Rollouts) -> np.ndarray:
    """Mean entropy over the chosen tokens of every step, float64 (steps,)."""
    if rollouts.entropy is None or rollouts.acted is None:
        raise DataError("branching by entropy needs token entropies; sample with Sampling(entropy=True)")
    acted = rollouts.acted.values.astype(np.float64)
    summed = rollouts.reduce(Signal(rollouts.entropy.values * acted, "token"), "step").values
    counted = rollouts.reduce(Signal(acted, "token"), "step").values
    return summed / np.maximum(counted, 1.0)


def tree_nodes(offsets: np.ndarray, origin: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Node of every step: its own position, or that of the step it shares with its origin.

    Args:
        offsets: int64 (N+1,), steps per rollout.
        origin: int64 (N,), the row whose first steps are repeated; itself for a trunk.
        shared: int64 (N,), how many of them.

    Returns:
        int64 (steps,): ready to be the column `node`.
    """
    counts = np.diff(offsets)
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    source = offsets[:-1][np.repeat(origin, counts)] + position
    return np.where(position < np.repeat(shared, counts), source, np.arange(offsets[-1]))


def sampled_tokens(rollouts: Rollouts) -> int:
    """Tokens that had to be drawn: those of a node shared by several rollouts count once."""
    assert rollouts.tokens is not None and rollouts.acted is not None
    acted = Signal(rollouts.acted.values, "token")
    if rollouts.node is None:
        return int(acted.values.sum())
    per_step = rollouts.reduce(acted, "step").values
    group = np.repeat(rollouts.group, np.diff(rollouts.offsets("step")))
    pairs = np.stack([group, rollouts.node], axis=1)
    first = np.unique(pairs, axis=0, return_index=True)[1]
    return int(per_step[first].sum())
