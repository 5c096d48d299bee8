"""KnowRL: does a model agree with itself on whether it can do a task?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guerdon.errors import RecipeError
from guerdon.intrinsic.reward import Intrinsic
from guerdon.intrinsic.votes import agreement, cluster, winner
from guerdon.intrinsic.voting import by_group
from guerdon.systems.catalogue import system

_LABEL = re.compile(r"\b(infeasible|feasible)\b", re.IGNORECASE)
FORMS = ("label", "scaled", "share", "margin")


@system(
    "knowrl",
    title="KnowRL: Teaching Language Models to Know What They Know",
    arxiv="2510.11407",
    family="intrinsic",
    kind="reward",
)
def knowrl(form: str = "label") -> Intrinsic:
    """Agreement of k self-analyses of a task, one value per rollout; p = votes of the majority / k.

        label   1[label_i == majority]        share   p, for who wrote the task
        scaled  p 1[label_i == majority]      margin  2p - 1

    The label is the last "feasible" or "infeasible" of a completion; an unreadable one stays in k. A tie has
    no majority: all 0. A group of one is missing.

    Reference: Kale and Dhami, arXiv 2510.11407; the form of the reward per analysis is our reading.
    """
    if form not in FORMS:
        raise RecipeError(f"knowrl: form is one of {', '.join(FORMS)}, got {form!r}")

    def of_group(labels: Sequence[str | None], rows: np.ndarray) -> np.ndarray:
        said, p = consensus(labels)
        if said is None:
            return np.zeros(len(labels))
        if form in ("share", "margin"):
            return np.full(len(labels), p if form == "share" else 2 * p - 1)
        return agreement(labels, said) * (p if form == "scaled" else 1.0)

    return Intrinsic("knowrl", lambda rollouts, ctx: by_group(rollouts, read_label, of_group))


def read_label(text: str) -> str | None:
    """The last label of a self-analysis, lower case."""
    found = _LABEL.findall(text)
    return found[-1].lower() if found else None


def consensus(labels: Sequence[str | None]) -> tuple[str | None, float]:
    """The majority label (None for a tie or no label) and its share of all analyses."""
    found = cluster(labels)
    best = winner(found, tie="none")
    return (found.representatives[best], found.counts[best] / len(labels)) if best >= 0 else (None, 0.0)


def consistency(intended: Sequence[str], majority: Sequence[str | None]) -> float:
    """Share of tasks whose majority label is the one they were written for; ties count as wrong."""
    return float(np.mean([a == b for a, b in zip(intended, majority, strict=True)]))


@dataclass(frozen=True)
class Pool:
    """Few-shot examples (task, label): seeds and tasks of high consensus. The seeds always stay.

    Attributes:
        seeds, grown: pairs of task and label.
        threshold: least share of the majority. per_label: most grown examples of a label, so that
            "always feasible" cannot fill the pool.
    """

    seeds: tuple[tuple[str, str], ...]
    grown: tuple[tuple[str, str], ...] = ()
    threshold: float = 0.9
    per_label: int = 100

    def grow(self, tasks: Sequence[tuple[str, str]], votes: Sequence[Sequence[str | None]]) -> Pool:
        """With the tasks whose consensus is high and equal to the label they were written for."""
        kept = list(self.grown)
        for task, labels in zip(tasks, votes, strict=True):
            said, p = consensus(labels)
            room = sum(label == task[1] for _, label in kept) < self.per_label
            if said == task[1] and p >= self.threshold and room and task not in kept:
                kept.append(task)
        return Pool(self.seeds, tuple(kept), self.threshold, self.per_label)
