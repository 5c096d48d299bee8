"""KnowRL's self-play: the policy writes tasks it thinks it can or cannot do, and judges each of them.

    before a step   `begin_step` shows examples of the pool and lets the policy write tasks, half of a label
    the prompts     ask whether the task is feasible; the reward `knowrl` is the vote of the answers
    after scoring   `end_step` lets tasks of high consensus join the pool, where it is the intended label

The pool is saved with the run. Evaluation is on the seeds, whose labels are known.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import Sampling
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.feasibility import Pool, consensus, consistency, read_label
from guerdon.intrinsic.votes import members
from guerdon.tasks.base import Problem, stable_seed

LABELS = ("feasible", "infeasible")
NO_TRUTH = "nobody knows whether a task the policy wrote is feasible"


class SelfKnowledge:
    """The task `knowrl` of recipes.

    Args:
        seeds: a JSON Lines file, or a list, of {task, label}, label "feasible" or "infeasible".
        shots: examples shown where a task is written.
        max_new_tokens, temperature: of writing; only the first line counts.
        threshold, per_label: of the pool; see `Pool`.

    Where the policy writes nothing, a seed is judged in its place, which the pool has already.

    Reference: Kale and Dhami, arXiv 2510.11407; the prompts are ours.
    """

    name: ClassVar[str] = "knowrl"
    has_steps: ClassVar[bool] = False

    def __init__(
        self,
        seeds: str | Sequence[Mapping[str, Any]],
        shots: int = 4,
        max_new_tokens: int = 48,
        temperature: float = 1.0,
        threshold: float = 0.9,
        per_label: int = 100,
    ) -> None:
        self.pool = Pool(_seeds(seeds), (), threshold, per_label)
        self.shots, self.max_new_tokens, self.temperature = shots, max_new_tokens, temperature
        self._written: list[tuple[str, str]] = []

    # -- a step of training ------------------------------------------------------------------------

    def begin_step(self, ctx: Context, count: int) -> None:
        """Let the policy write `count` tasks, labels in turn."""
        labels = [LABELS[i % 2] for i in range(count)]
        rng = random.Random(stable_seed("knowrl", ctx.step))
        prompts = [self._invitation(label, rng) for label in labels]
        limits = Sampling(
            self.max_new_tokens, self.temperature, stop=("\n",), seed=stable_seed("knowrl", ctx.step)
        )
        written = ctx.engines["policy"].generate(prompts, 1, limits)
        texts = [(written.text(i).splitlines() or [""])[0].strip() for i in range(count)]
        spare = {label: [task for task, said in self.pool.seeds if said == label] for label in LABELS}
        self._written = [
            (text or rng.choice(spare[label]), label) for text, label in zip(texts, labels, strict=True)
        ]

    def problems(self, split: str, n: int, seed: int = 0, start: int = 0) -> list[Problem]:
        """What was written for this step ("train"), or seeds with their labels (any other split)."""
        if split == "train":
            chosen = self._written[:n]
            return [
                Problem(question(task), None, {"task": task, "intended": label}) for task, label in chosen
            ]
        seeds = [self.pool.seeds[i % len(self.pool.seeds)] for i in range(start, start + n)]
        return [Problem(question(task), label, {"task": task}) for task, label in seeds]

    def end_step(self, rollouts: Rollouts, ctx: Context) -> dict[str, float]:
        """Grow the pool by the votes of a batch; what is reported."""
        tasks, votes = [], []
        for rows in members(rollouts.group):
            meta = (rollouts.meta or [{}] * len(rollouts))[int(rows[0])]
            tasks.append((str(meta["task"]), str(meta["intended"])))
            votes.append([read_label(rollouts.text(i)) for i in rows.tolist()])
        self.pool = self.pool.grow(tasks, votes)
        said = [consensus(labels) for labels in votes]
        return {
            "task/pool": float(len(self.pool.grown)),
            "task/consistency": consistency([label for _, label in tasks], [label for label, _ in said]),
            "task/consensus": float(np.mean([share for _, share in said])),
        }

    # -- checks ------------------------------------------------------------------------------------

    def answer(self, completion: str) -> str | None:
        """The last label of a self-analysis."""
        return read_label(completion)

    def outcome(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        """1 where the label is the reference; missing where there is none."""
        references = rollouts.reference or [None] * len(rollouts)
        known = np.array([reference is not None for reference in references], bool)
        right = [read_label(rollouts.text(i)) == references[i] for i in range(len(rollouts))]
        values = np.where(known, np.array(right, np.float64), np.nan)
        return Signal(values, "rollout", "outcome", dict.fromkeys(np.flatnonzero(~known).tolist(), NO_TRUTH))

    def state_dict(self) -> dict[str, Any]:
        """The tasks that joined."""
        return {"grown": [list(pair) for pair in self.pool.grown]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.pool = replace(self.pool, grown=tuple((str(a), str(b)) for a, b in state["grown"]))

    def _invitation(self, label: str, rng: random.Random) -> str:
        examples = [task for task, said in (*self.pool.seeds, *self.pool.grown) if said == label]
        shown = rng.sample(examples, min(self.shots, len(examples)))
        listed = "".join(f"Task: {task}\n" for task in shown)
        can = "can do" if label == "feasible" else "cannot do"
        return f"Write one task you {can}.\n{listed}Task: "


def question(task: str) -> str:
    """The prompt of a self-analysis."""
    return f"Task: {task}\nCan you do it? Think, then end with feasible or infeasible.\n"


def _seeds(given: str | Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Pairs of task and label.

    Raises:
        DataError: no such file, or a line that is no JSON object. RecipeError: a seed without task or
            label, or none of a label.
    """
    records: Sequence[Any] = given if not isinstance(given, str) else _lines(Path(given))
    out = []
    for i, record in enumerate(records):
        task = record.get("task") if isinstance(record, Mapping) else None
        label = record.get("label") if isinstance(record, Mapping) else None
        if not isinstance(task, str) or not task.strip() or label not in LABELS:
            raise RecipeError(f"knowrl: seed {i + 1} must be {{task: text, label: feasible or infeasible}}")
        out.append((task.strip(), str(label)))
    if {label for _, label in out} != set(LABELS):
        raise RecipeError(
            "knowrl: the seeds must hold both labels, or consensus on one of them pays for ever"
        )
    return tuple(out)


def _lines(path: Path) -> list[Any]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"knowrl: {path} cannot be read as JSON Lines: {error}") from error
