"""A self-reward watched: does it still follow the truth, and do answers stay different?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.intrinsic.reward import Intrinsic
from guerdon.intrinsic.votes import Equal, cluster, members, semantic_entropy
from guerdon.verify.extract import last_boxed


def collapse_metrics(
    reward: np.ndarray,
    truth: np.ndarray | None,
    answers: Sequence[str | None],
    rollouts: Rollouts,
    equal: str | Equal | None = None,
) -> dict[str, float]:
    """What a run should watch, as means over the batch.

        collapse/agreement   share of (self-reward above its group's mean) == (truth above 1/2)
        collapse/reward, collapse/truth
        collapse/entropy     semantic entropy of the answers of a group, nats
        collapse/diversity   distinct answers of a group / its size
        collapse/blank       share of completions without an answer
        collapse/length      tokens, or words where there are no tokens

    Args:
        reward: (N,) self-reward. truth: (N,) of the true checker, or None where there is none.
    """
    groups = members(rollouts.group if rollouts.group is not None else np.zeros(len(rollouts), np.int64))
    reward = np.asarray(reward, np.float64)
    clusters = [cluster([answers[i] for i in rows.tolist()], equal) for rows in groups]
    lengths = (
        rollouts.tokens.lengths
        if rollouts.tokens is not None
        else np.array([len(rollouts.text(i).split()) for i in range(len(rollouts))])
    )
    out = {
        "collapse/reward": _mean(reward),
        "collapse/entropy": _mean(np.array([semantic_entropy(c) for c in clusters])),
        "collapse/diversity": _mean(np.array([len(c.counts) / max(len(c.label), 1) for c in clusters])),
        "collapse/blank": _mean(np.concatenate([c.label < 0 for c in clusters]).astype(float)),
        "collapse/length": _mean(lengths.astype(np.float64)),
    }
    if truth is not None:
        truth = np.asarray(truth, np.float64)
        out["collapse/truth"] = _mean(truth)
        out["collapse/agreement"] = _mean(np.concatenate([_agreement(reward[r], truth[r]) for r in groups]))
    return out


class CollapseWatch:
    """Says when reward has risen while truth has fallen since the window in which truth was highest.

    Batches differ, so the fall has to exceed the margin by `sigmas` times sqrt(2 / window) s, s the noise of
    a step's truth: the standard deviation of its changes from step to step, over sqrt(2).

    Args:
        window: steps averaged at either end. margin: least change that counts. sigmas: see above.
    """

    def __init__(self, window: int = 5, margin: float = 0.02, sigmas: float = 4.0) -> None:
        self.window, self.margin, self.sigmas = window, margin, sigmas
        self.history: list[tuple[float, float]] = []

    def add(self, metrics: Mapping[str, float]) -> str | None:
        """Take in the metrics of a step; returns a warning, or None."""
        pair = metrics.get("collapse/reward", math.nan), metrics.get("collapse/truth", math.nan)
        if not any(map(math.isnan, pair)):
            self.history.append(pair)
        if len(self.history) < 2 * self.window:
            return None
        path = np.array(self.history)
        best = max(range(len(path) - 2 * self.window + 1), key=lambda i: path[i : i + self.window, 1].mean())
        before, after = path[best : best + self.window].mean(axis=0), path[-self.window :].mean(axis=0)
        noise = float(np.diff(path[:, 1]).std()) / math.sqrt(2)
        least = self.margin + self.sigmas * math.sqrt(2 / self.window) * noise
        if after[0] - before[0] > self.margin and before[1] - after[1] > least:
            return (
                f"reward rises while truth falls: self-reward {before[0]:.3f} -> {after[0]:.3f}, "
                f"true checker {before[1]:.3f} -> {after[1]:.3f}"
            )
        return None

    def state_dict(self) -> dict[str, Any]:
        """What was seen; {} before anything was."""
        return {"history": [list(pair) for pair in self.history]} if self.history else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.history = [(float(a), float(b)) for a, b in state["history"]]


def _agreement(reward: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Per rollout; a group of equal rewards is on the side of 1 where those exceed 1/2."""
    known = ~np.isnan(reward) & ~np.isnan(truth)
    reward, truth = reward[known], truth[known]
    flat = len(reward) > 0 and reward.max() == reward.min()
    high = reward > 0.5 if flat else reward > reward.mean() if len(reward) else reward > 0
    return (high == (truth > 0.5)).astype(np.float64)


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


def watch(
    rollouts: Rollouts, rewards: Mapping[str, Any], task: Any, ctx: Context | None = None
) -> dict[str, float]:
    """`collapse_metrics` of the first self-reward of a run whose task has a checker; {} where there is none.

    Args:
        rollouts: scored. rewards: name -> reward. task: with `outcome`, which is asked for the truth.
    """
    own = [name for name, r in rewards.items() if isinstance(r, Intrinsic) and r.level == "rollout"]
    checker = getattr(task, "outcome", None)
    if not own or checker is None or rollouts.completion is None:
        return {}
    truth = checker(rollouts, ctx)
    if truth.level != "rollout":
        return {}
    find = getattr(task, "answer", None) or (lambda text: last_boxed(text) or text.strip() or None)
    answers = [find(rollouts.text(i)) for i in range(len(rollouts))]
    known = None if np.isnan(truth.values).all() else truth.values
    return collapse_metrics(rollouts.signals[own[0]].values, known, answers, rollouts)
