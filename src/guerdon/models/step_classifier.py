"""A discriminative process reward model: good or bad, read at the end of every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.models.head_model import HeadModel, as_tensor
from guerdon.models.losses import bce, squared


class StepClassifier(HeadModel):
    """P(good) of every step from the state after its last token.

        m = z_good - z_bad (two logits) or z (one),  P(good) = s(m)
        score: "difference" 2 P(good) - 1 in [-1, 1], or "probability" P(good) in [0, 1]

    Args:
        outputs: 2 logits or 1; the loss is the same.
        score: what a call returns.
        level: spans that are judged: "step", "turn" or "rollout" (an outcome model).
        loss: "bce" (targets may be soft) or "mse" on the probability.
        balance: targets below 1/2 and the others weigh equally, however many there are of each.
        labels: signal to learn from inside a training run (`observe`).
        settings: see `HeadModel`.

    Reference: Lightman et al., Let's Verify Step by Step, arXiv 2305.20050; Cheng et al., PURE, arXiv
        2504.15275 (the difference); Setlur et al., PAV, arXiv 2410.08146 (soft targets, balanced).
    """

    kind = "step_classifier"
    name = "prm"

    def __init__(
        self,
        engine: Any,
        outputs: Literal[1, 2] = 2,
        score: Literal["difference", "probability"] = "difference",
        level: str = "step",
        loss: Literal["bce", "mse"] = "bce",
        balance: bool = False,
        labels: str = "steps",
        hidden: Sequence[int] = (),
        **settings: Any,
    ) -> None:
        for name, value, valid in (
            ("outputs", outputs, (1, 2)),
            ("score", score, ("difference", "probability")),
            ("loss", loss, ("bce", "mse")),
        ):
            if value not in valid:
                raise RecipeError(f"{name}: got {value!r}, expected {' or '.join(map(repr, valid))}")
        super().__init__(engine, outputs, hidden=hidden, **settings)
        self.score, self.level, self.loss, self.balance, self.labels = score, level, loss, balance, labels
        self.settings |= {
            "outputs": outputs,
            "score": score,
            "level": level,
            "loss": loss,
            "balance": balance,
            "labels": labels,
        }

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        points = self.points(rollouts)
        margin = margins(self.outputs(points.rollouts).astype(np.float64))
        # tanh(m/2) = 2 s(m) - 1 keeps its digits where s(m) is close to 0 or 1
        value = np.tanh(margin / 2)
        return points.gather(value if self.score == "difference" else (value + 1) / 2, self.name)

    def train_batch(self, rollouts: Rollouts, targets: Signal, trunk: bool | None = None) -> dict[str, float]:
        """One step on labels in [0, 1] at the model's spans.

        Raises:
            DataError: labels at another level or outside [0, 1].
        """
        if targets.level != self.level:
            raise DataError(f"this classifier judges {self.level} spans; the labels are per {targets.level}")
        check_unit(targets)
        points = self.points(rollouts)
        target = points.scatter(targets.values)
        weight = self._weights(target)

        def loss(states: torch.Tensor, at: np.ndarray, row: np.ndarray) -> torch.Tensor:
            outputs = self.head(states)
            margin = outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0]
            wanted, share = as_tensor(target[at], margin.device), as_tensor(weight[at], margin.device)
            if self.loss == "mse":
                return squared(torch.sigmoid(margin), wanted, share)
            return bce(margin, wanted, share)

        return self.learn(points, ~np.isnan(target), loss, float(np.nansum(weight)), trunk)

    def _weights(self, target: np.ndarray) -> np.ndarray:
        """1 each or, balanced, half of the total for each side of 1/2; NaN where there is no target."""
        weight = np.where(np.isnan(target), np.nan, 1.0)
        low, high = target < 0.5, target >= 0.5
        if self.balance and low.any() and high.any():
            total = low.sum() + high.sum()
            weight[low], weight[high] = total / (2 * low.sum()), total / (2 * high.sum())
        return weight

    def observe(self, rollouts: Rollouts, ctx: Context | None = None) -> dict[str, float]:
        """Learn from the signal `labels` of a batch."""
        targets = signal_of(rollouts, self.labels, "the step classifier")
        if targets.missing == len(targets):
            return {"skipped": 1.0}
        return self.train_batch(rollouts, targets)


def margins(outputs: np.ndarray) -> np.ndarray:
    """z_good - z_bad of (prefixes, 2), or the only column."""
    return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0]


def check_unit(targets: Signal) -> None:
    """DataError where a target lies outside [0, 1]."""
    outside = (targets.values < 0) | (targets.values > 1)
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise DataError(
            f"{targets.name!r} is {targets.values[at]} at {targets.level} {at}; a probability is learnt from "
            f"values in [0, 1] (map -1/1 to 0/1 first)"
        )


def signal_of(rollouts: Rollouts, name: str, who: str) -> Signal:
    """A signal the rollouts carry.

    Raises:
        DataError: they do not; those they do carry are listed.
    """
    if name not in rollouts.signals:
        have = ", ".join(rollouts.signals) or "none"
        raise DataError(f"{who} learns from the signal {name!r}; these rollouts carry: {have}")
    return rollouts.signals[name]
