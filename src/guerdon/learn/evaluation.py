"""How good a policy is on a task: pass@1, avg@k, pass@k and step validity, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.kernels import label_moments
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import Sampling
from guerdon.errors import DataError
from guerdon.intrinsic.votes import cluster, members, winner
from guerdon.learn.sampling import sample
from guerdon.learn.statistics import Estimate, mean_interval, pass_at_k


@dataclass(frozen=True)
class Evaluation:
    """Results on one split.

    Attributes:
        k: draws per problem.
        pass_1: chance that one draw is right; with k draws the mean over draws (avg@k).
        pass_k: chance that at least one of k draws is right.
        steps: share of valid steps (NaN where the task cannot check steps).
        length: mean tokens per completion.
        per_problem: avg@k of every problem, in problem order (for paired comparisons).
        truncated: share of completions cut by the token limit.
        unscored: completions whose check could not be computed.
        majority, voted: share of problems whose most frequent answer, and whose answer of largest summed
            score, is right; None where no vote was asked for.
    """

    k: int
    pass_1: Estimate
    pass_k: Estimate
    steps: Estimate
    length: float
    per_problem: np.ndarray
    truncated: float
    unscored: int
    majority: Estimate | None = None
    voted: Estimate | None = None

    def metrics(self) -> dict[str, float]:
        """Flat numbers for a run's log."""
        out = {
            "eval/pass@1": self.pass_1.mean,
            "eval/pass@1_low": self.pass_1.low,
            "eval/pass@1_high": self.pass_1.high,
            "eval/length": self.length,
            "eval/truncated": self.truncated,
            "eval/unscored": float(self.unscored),
        }
        if self.k > 1:
            out |= {
                f"eval/pass@{self.k}": self.pass_k.mean,
                f"eval/pass@{self.k}_low": self.pass_k.low,
                f"eval/pass@{self.k}_high": self.pass_k.high,
            }
        for name, found in (("maj", self.majority), ("vote", self.voted)):
            if found is not None:
                out |= {f"eval/{name}@{self.k}": found.mean, f"eval/{name}@{self.k}_low": found.low}
                out |= {f"eval/{name}@{self.k}_high": found.high}
        if not np.isnan(self.steps.mean):
            out |= {
                "eval/steps": self.steps.mean,
                "eval/steps_low": self.steps.low,
                "eval/steps_high": self.steps.high,
            }
        return out


def evaluate(
    engine: Any,
    task: Any,
    split: str = "valid",
    problems: int = 200,
    k: int = 1,
    temperature: float | None = None,
    max_new_tokens: int = 64,
    seed: int = 0,
    stop: tuple[str, ...] = (),
    turns: int | None = None,
    vote: Any = None,
    ctx: Context | None = None,
) -> Evaluation:
    """Sample k answers to each of `problems` problems of a split and check them.

    Args:
        temperature: default: greedy for k = 1, 1.0 otherwise.
        seed: of the draws; the problems of a split are always the same.
        turns: most turns of an episode, where the task is a world.
        vote: a reward; its scores (NaN counts as 0) weigh the votes of a problem's answers. ctx: for it.

    Raises:
        DataError: no problems were asked for.
    """
    if problems < 1 or k < 1:
        raise DataError(f"evaluation needs at least one problem and one draw, got {problems} and {k}")
    temperature = (0.0 if k == 1 else 1.0) if temperature is None else temperature
    limits = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, stop=stop)
    rollouts = sample(engine, task, task.problems(split, problems), k, limits, turns)
    outcome = task.outcome(rollouts)
    found = summarise(rollouts, outcome, task.steps(rollouts) if task.has_steps else None, k)
    if vote is None:
        return found
    scores = vote(rollouts, ctx).values
    texts = [rollouts.text(i) for i in range(len(rollouts))]
    plain, weighed = vote_outcomes(
        [task.answer(text) for text in texts], rollouts.group, outcome.values, scores
    )
    return replace(found, majority=mean_interval(plain), voted=mean_interval(weighed))


def vote_outcomes(
    answers: Sequence[str | None], groups: np.ndarray, outcome: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the winner of a vote is right, per group: by numbers, and by summed scores; float64 (groups,).

    Args:
        answers: None never votes; equal texts vote together. outcome: (N,) 1 where an answer is right.
        scores: (N,), negative ones and NaN count as 0. A tie goes to the answer seen first.
    """
    weights = np.maximum(np.nan_to_num(np.asarray(scores, np.float64)), 0.0)
    both: list[list[float]] = [[], []]
    for rows in members(groups):
        clusters = cluster([answers[i] for i in rows.tolist()])
        for right, given in zip(both, (None, weights[rows]), strict=True):
            best = winner(clusters, weights=given)
            first = rows[clusters.label == best]
            right.append(float(outcome[first[0]] >= 1.0) if best >= 0 else 0.0)
    return np.array(both[0]), np.array(both[1])


def summarise(rollouts: Rollouts, outcome: Signal, steps: Signal | None, k: int) -> Evaluation:
    """Evaluation from rollouts that were scored already."""
    labels, n = rollouts.groups()
    correct = np.where(outcome.values >= 1.0, 1.0, np.where(np.isnan(outcome.values), np.nan, 0.0))
    count, mean, _ = label_moments(correct, labels, n)
    at_k = pass_at_k(count.astype(np.int64), np.rint(np.nan_to_num(mean) * count).astype(np.int64), k)
    valid = np.full(n, np.nan)
    if steps is not None and len(steps):
        per_rollout = rollouts.reduce(steps, "rollout", "mean", skip_missing=True).values
        valid = label_moments(per_rollout, labels, n)[1]
    return Evaluation(
        k=k,
        pass_1=mean_interval(mean),
        pass_k=mean_interval(at_k),
        steps=mean_interval(valid),
        length=float(rollouts.lengths.mean()),
        per_problem=mean,
        truncated=float(rollouts.truncated.mean()),
        unscored=outcome.missing,
    )
