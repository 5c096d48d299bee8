"""Co-Reward: the majority of the other wording as the label, against the majority of one's own."""

from __future__ import annotations

import string
from functools import lru_cache
from typing import Any

import numpy as np

from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.systems.intrinsic.co_reward import co_reward
from guerdon.systems.intrinsic.mm_upt import mm_upt
from guerdon.tasks.base import Problem

THINGS = string.ascii_letters
DIGITS, BATCH, SPOILT = 10, 16, 0.4
LOOP = kit.Loop(steps=120, group=8, tokens=2, lr=3e-4)
WORDINGS = ("what is {}?", "tell me of {}:")


class Questions:
    """One fact, a digit, about each of 52 things, asked in two wordings, and what a teacher writes.

    In every wording a share of the questions has a habit: one wrong answer, another one in the other wording,
    written with a chance between .3 and .9. Otherwise the teacher is right with .9.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.problems, self.teacher = [], np.zeros((2 * len(THINGS), DIGITS))
        for at, thing in enumerate(THINGS):
            right, *wrong = rng.permutation(DIGITS).tolist()
            for view, wording in enumerate(WORDINGS):
                habit = rng.uniform(0.3, 0.9) if rng.random() < SPOILT else 0.1
                chances = np.zeros(DIGITS)
                chances[right], chances[wrong[view]] = 1 - habit, habit
                self.teacher[2 * at + view] = 0.95 * chances + 0.05 / DIGITS
                self.problems.append(Problem(wording.format(thing), str(right), {"pair": at}))

    def lesson(self, rng: np.random.Generator) -> list[tuple[str, str]]:
        """64 questions with answers of the teacher."""
        rows = rng.integers(len(self.problems), size=64)
        return [(self.problems[i].prompt, str(rng.choice(DIGITS, p=self.teacher[i]))) for i in rows]

    def batch(self, seed: int, step: int) -> list[Problem]:
        """Some questions, each in both wordings."""
        drawn = np.random.default_rng([seed, step]).choice(len(THINGS), BATCH, replace=False)
        return [self.problems[2 * at + view] for at in drawn for view in (0, 1)]


def correct(rollouts: Rollouts, ctx: Context) -> np.ndarray:
    """1 where the text is the reference."""
    return np.array([float(rollouts.text(i) == r) for i, r in enumerate(rollouts.reference or [])])


@lru_cache(maxsize=1)
def _start(seed: int, steps: int) -> tuple[Questions, Any]:
    questions = Questions(seed)
    return questions, kit.imitate(kit.lab(seed, context=32), questions.lesson, steps, seed)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Chance of a right answer after training, both wordings."""
    questions, start = _start(seed, 5 if smoke else 600)
    prompts = [p.prompt for p in questions.problems]
    right = [p.reference for p in questions.problems]
    reward = (
        co_reward(extract="text", equal="text")
        if arm == "other wording"
        else mm_upt(extract="text", equal="text")
    )
    learned = kit.learn(
        kit.copy_of(start),
        lambda step: questions.batch(seed, step),
        reward,
        correct,
        LOOP.short() if smoke else LOOP,
        seed,
        lambda engine: float(kit.chance_of(engine, prompts, right).mean()),
        lambda text: text or None,
    )
    return learned.measured(100 * learned.curve[-1])


CLAIM = Claim(
    slug="co-reward",
    claim="Labelling the samples of a question by the majority of its paraphrase avoids the collapse onto "
    "wrong answers that voting within one wording ends in (Co-Reward: up to 6.8 points on MATH500 above "
    "even ground-truth rewards, where majority voting collapses late).",
    metric="exact chance of a right answer after 120 updates, both wordings, %",
    baseline="own majority",
    system="other wording",
    run=run,
    margin=3.0,
    seeds=8,
    notes="A 2-layer byte-level decoder recalls one digit about each of 52 things, asked in two wordings. "
    "It first imitates a teacher who has habits: in each wording, for 40 % of the questions, one wrong "
    "answer is written with a chance between 0.3 and 0.9, another one in the other wording. Habits that "
    "both wordings share, which no vote can see, are not tried. Both arms see the same questions in both "
    "wordings, 8 samples of each, GRPO within each wording, one step size for both. The questions are those "
    "it is measured on: there are no labels to leak.",
)
