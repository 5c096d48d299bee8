"""Knowing what one can do: labels of self-analyses, their consensus, and a pool that grows by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guerdon.intrinsic.votes import cluster, winner

_LABEL = re.compile(r"\b(infeasible|feasible)\b", re.IGNORECASE)


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
