"""Baselines without weights: what length, the number of steps and a vote among answers are worth.

A reward that does not beat them has not learned what a benchmark is about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.votes import cluster, cluster_probability, equality
from guerdon.intrinsic.voting import by_group

Level = Literal["rollout", "step"]
Prefer = Literal["more", "less"]
Unit = Literal["words", "characters"]


class Counted:
    """A count as a reward: `value = n` (prefer more) or `-n` (prefer less), per rollout or per step.

    Args:
        name: of the reward.
        count: the steps of a rollout to one number per step.
        level, prefer: see `length`.
    """

    def __init__(
        self, name: str, count: Callable[[Sequence[str]], list[int]], level: str, prefer: str
    ) -> None:
        for field, value, valid in (
            ("level", level, ("rollout", "step")),
            ("prefer", prefer, ("more", "less")),
        ):
            if value not in valid:
                raise RecipeError(f"{name}: {field} must be {' or '.join(valid)}, got {value!r}")
        self.name, self.level, self.count, self.sign = name, level, count, 1.0 if prefer == "more" else -1.0
        self.version = f"1-{level}-{prefer}"

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        if self.level == "step":
            values = [n for steps in steps_of(rollouts, self.name) for n in self.count(steps)]
        else:
            values = [self.count([rollouts.text(row)])[-1] for row in range(len(rollouts))]
        return Signal(self.sign * np.array(values, np.float64), self.level, self.name.rpartition(".")[2])


def length(level: Level = "rollout", prefer: Prefer = "more", unit: Unit = "words") -> Counted:
    """The length of an answer, or of each of its steps.

    Args:
        level: "rollout" or "step".
        prefer: "more": longer is better; "less": shorter.
        unit: "words" (between spaces) or "characters".
    """
    if unit not in ("words", "characters"):
        raise RecipeError(f"bench.length: unit must be words or characters, got {unit!r}")
    made = Counted("bench.length", _words if unit == "words" else _characters, level, prefer)
    made.version += f"-{unit}"
    return made


def step_count(level: Level = "rollout", prefer: Prefer = "more") -> Counted:
    """The number of steps of an answer (paragraphs of text), or how many there are up to each step.

    At step level with `prefer="less"` a threshold of -k calls step k the first wrong one, where a solution
    has more than k steps: the best guess of one who reads nothing.
    """
    return Counted("bench.step_count", _ordinals if level == "step" else _paragraphs, level, prefer)


class AnswerVote:
    """Share of the answers to a prompt that agree with this one; rollout level, groups of two or more.

        value_i = |{j in group: answer_j = answer_i}| / |group|,  0 without an answer

    Args:
        equal: "maths" (same value) or "text" (same characters).

    Reference: Wang et al., Self-Consistency Improves Chain of Thought Reasoning, arXiv 2203.11171.
    """

    name = "bench.answer_vote"
    shape = "group"

    def __init__(self, equal: str = "maths") -> None:
        equality(equal)
        self.equal = equal
        self.version = f"1-{equal}"

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        values, causes = by_group(
            rollouts, _answer, lambda answers, rows: cluster_probability(cluster(answers, self.equal))
        )
        return Signal(values, "rollout", "answer_vote", causes)


def answer_vote(equal: str = "maths") -> AnswerVote:
    """Reward: see `AnswerVote`."""
    return AnswerVote(equal)


def steps_of(rollouts: Rollouts, who: str) -> list[list[str]]:
    """The texts of all steps.

    Raises:
        DataError: tokens, or no partition "step".
    """
    if rollouts.completion is None or rollouts.tokens is not None or "step" not in rollouts.partitions:
        raise DataError(
            f'{who} reads the steps of text: rollouts without tokens and with a partition "step" (make one '
            "with guerdon.data.split)"
        )
    ends = rollouts.partitions["step"]
    texts = [rollouts.text(row) for row in range(len(rollouts))]
    return [[text[a:b] for a, b in pairwise([0, *ends[row].tolist()])] for row, text in enumerate(texts)]


def _answer(text: str) -> str | None:
    from guerdon.verify.maths.locate import locate

    return locate(text).text


def _words(steps: Sequence[str]) -> list[int]:
    return [len(step.split()) for step in steps]


def _characters(steps: Sequence[str]) -> list[int]:
    return [len(step) for step in steps]


def _ordinals(steps: Sequence[str]) -> list[int]:
    return list(range(1, len(steps) + 1))


def _paragraphs(steps: Sequence[str]) -> list[int]:
    return [sum(1 for part in step.split("\n\n") if part.strip()) for step in steps]
