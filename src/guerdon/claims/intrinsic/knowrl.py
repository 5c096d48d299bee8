"""KnowRL: agreement with oneself about what one can do, against the model before it."""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import Any

import numpy as np

from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.credit import Credit, Level, Raw, Whiten
from guerdon.data.rollouts import Rollouts
from guerdon.engines.protocol import Sampling
from guerdon.intrinsic.feasibility import read_label
from guerdon.systems.intrinsic.knowrl import knowrl
from guerdon.tasks.base import Problem

SKILLS, LABELS, TASK = string.ascii_lowercase, ("infeasible", "feasible"), re.compile(r"[a-z][0-9]")
WANTED = 16
CREDIT = Credit([Level("outcome", span="rollout", baseline=Raw())], whiten=Whiten(), name="reinforce_pp")
LOOP = kit.Loop(steps=60, group=8, tokens=11, lr=3e-4, credit=CREDIT)


class Agent:
    """An agent that manages tasks of a skill up to some size, and what it believes about that.

    Tasks are a skill's letter and a size from 0 to 9. The belief misjudges every limit by about 1.5 sizes and
    is voiced wrongly one time in four; 50 feasible and 50 infeasible tasks are known for sure.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 6])
        limit = rng.uniform(1, 9, len(SKILLS))
        believed = limit + rng.normal(0, 1.5, len(SKILLS))
        self.tasks = [f"{skill}{size}" for skill in SKILLS for size in range(10)]
        sizes = np.tile(np.arange(10), len(SKILLS))
        self.can = (sizes <= np.repeat(limit, 10)).astype(int)
        self.thinks = (sizes <= np.repeat(believed, 10)).astype(int)
        self.seeds = np.concatenate([rng.permutation(np.flatnonzero(self.can == x))[:50] for x in (0, 1)])
        self.unseen = np.setdiff1d(np.arange(len(self.tasks)), self.seeds)

    def lesson(self, rng: np.random.Generator) -> list[tuple[str, str]]:
        """64 lines: labels of tasks, and in a quarter tasks for a label; a third of all are seeds."""
        lines = []
        for at in range(64):
            sure = rng.random() < 1 / 3
            i = int(rng.choice(self.seeds if sure else self.unseen))
            voiced = int(self.thinks[i]) ^ int(rng.random() < 0.25)
            label = LABELS[int(self.can[i]) if sure else voiced]
            lines.append((f"{label}:", self.tasks[i]) if at % 4 == 0 else (f"{self.tasks[i]}?", label))
        return lines

    def problem(self, task: str) -> Problem:
        """A task to analyse, with what is true of it."""
        return Problem(f"{task}?", LABELS[self.can[self.tasks.index(task)]])

    def written(self, engine: Any, seed: int) -> list[Problem]:
        """Tasks that the model itself writes, as many feasible as infeasible ones by its own intention."""
        asked = [f"{label}:" for label in LABELS]
        drawn = engine.generate(asked, n=3 * WANTED, sampling=Sampling(3, seed=seed))
        problems: list[Problem] = []
        for rows in np.split(np.arange(len(drawn)), len(LABELS)):
            texts = dict.fromkeys(drawn.text(i) for i in rows.tolist())
            problems += [self.problem(text) for text in texts if TASK.fullmatch(text)][:WANTED]
        return problems


def labelled(rollouts: Rollouts, ctx: Context) -> np.ndarray:
    """1 where the label is true."""
    pairs = enumerate(rollouts.reference or [])
    return np.array([float(read_label(rollouts.text(i)) == truth) for i, truth in pairs])


@lru_cache(maxsize=1)
def _start(seed: int, steps: int) -> tuple[Agent, Any]:
    agent = Agent(seed)
    return agent, kit.imitate(kit.lab(seed, context=32), agent.lesson, steps, seed)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Chance that an analysis of a task which was no seed ends in the true label."""
    agent, start = _start(seed, 5 if smoke else 500)
    prompts = [f"{agent.tasks[i]}?" for i in agent.unseen]
    true = [LABELS[agent.can[i]] for i in agent.unseen]

    def measure(engine: Any) -> float:
        return float(kit.chance_of(engine, prompts, true).mean())

    def optimism(engine: Any) -> float:
        return float(kit.chance_of(engine, prompts, [LABELS[1]] * len(prompts)).mean())

    if arm == "before":
        return {"value": 100 * measure(start), "says feasible": optimism(start)}
    engine = kit.copy_of(start)
    learned = kit.learn(
        engine,
        lambda step: agent.written(engine, seed * 7 + step) or [agent.problem("a0")],
        knowrl(),
        labelled,
        LOOP.short() if smoke else LOOP,
        seed,
        measure,
        read_label,
    )
    return learned.measured(100 * learned.curve[-1], **{"says feasible": optimism(engine)})


CLAIM = Claim(
    slug="knowrl",
    claim="Reinforcing agreement with oneself on whether one can do a task, on tasks one wrote oneself, "
    "makes a model's self-knowledge better without labels (Kale and Dhami, arXiv 2510.11407: up to 28 % "
    "accuracy and 12 % F1 on benchmarks of feasibility with LLaMA-3.1-8B).",
    metric="exact chance of the true label for tasks that were no seeds, after 60 updates, %",
    baseline="before",
    system="self-agreement",
    run=run,
    margin=3.0,
    seeds=6,
    notes="An agent manages tasks of 26 skills up to a size of its own for each. A 2-layer byte-level "
    "decoder first imitates its belief, which misjudges every limit by about 1.5 sizes and is voiced "
    "wrongly one time in four, and 100 verified seeds; it also learns to write tasks for a label. Every "
    "update: it writes up to 16 tasks it holds feasible and 16 it holds infeasible, analyses each 8 times, "
    "and is paid for analyses that agree with the majority; rewards normalised over the batch "
    "(REINFORCE++), learning rate 3e-4 as in the claim of co-reward. A model of this size does not read "
    "few-shot examples, so the growing pool is not tried, and the writing of tasks is not trained.",
)
