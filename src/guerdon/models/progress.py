"""Progress estimator: what each step contributed to the return, learnt from returns alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from guerdon.context import Context
from guerdon.data.kernels import segment_reduce
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError
from guerdon.models.head_model import HeadModel, as_tensor
from guerdon.models.losses import squared
from guerdon.models.points import Points
from guerdon.models.step_classifier import signal_of


class ProgressEstimator(HeadModel):
    """Contributions c_k of the steps whose sum regresses the return.

        R^ = sum_k c_k,  loss = (R^ - R)^2,  mean over rollouts

    c_k is read from the state after the last token the policy chose in step k, so it knows what was written
    until then and nothing later. The decomposition is not unique: nothing keeps the estimator from putting
    everything on the last step, so look at where the contributions lie. A rollout without steps predicts 0.
    (The paper reads a linear layer over the vocabulary's logits; those are linear in this state.)

    Args:
        level: "step" or "turn".
        source: signal with the return, one per rollout; partial rewards are kept as they are.
        settings: see `HeadModel`.

    Reference: Wang et al., SPA-RL, arXiv 2505.20732.
    """

    kind = "progress"
    name = "contribution"

    def __init__(
        self,
        engine: Any,
        level: str = "step",
        source: str = "outcome",
        hidden: Sequence[int] = (),
        **settings: Any,
    ) -> None:
        super().__init__(engine, 1, hidden=hidden, **settings)
        self.level, self.source = level, source
        self.settings |= {"level": level, "source": source}

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        points = self.points(rollouts)
        return points.gather(self.outputs(points.rollouts)[:, 0], self.name)

    def residual(self, rollouts: Rollouts, returns: Signal) -> Signal:
        """R - sum_k c_k of every rollout: what the contributions leave unexplained."""
        found = self(rollouts)
        total = segment_reduce(found.values, rollouts.offsets(self.level), "sum", True)
        return Signal(returns.values - total, "rollout", "residual")

    def train_batch(self, rollouts: Rollouts, targets: Signal, trunk: bool | None = None) -> dict[str, float]:
        """One step on the returns of some rollouts.

        Raises:
            DataError: returns that are not one per rollout.
        """
        if targets.level != "rollout":
            raise DataError(
                f"the progress estimator regresses one return per rollout, not per {targets.level}"
            )
        points = self.points(rollouts)
        known = ~np.isnan(targets.values)
        marked = read_marks(points) & np.repeat(known, points.rollouts.lengths + 1)
        # a rollout without readable steps predicts 0: its error is constant and left out of the gradient
        fixed = float((targets.values[known & ~_has_points(points)] ** 2).sum())

        def loss(states: torch.Tensor, at: np.ndarray, row: np.ndarray) -> torch.Tensor:
            outputs = self.head(states)
            present, local = np.unique(row, return_inverse=True)
            index = torch.as_tensor(local.reshape(-1), device=outputs.device)
            total = outputs.new_zeros(len(present)).index_add(0, index, outputs[:, 0])
            return squared(total, as_tensor(targets.values[present], outputs.device))

        metrics = self.learn(points, marked, loss, float(known.sum()), trunk)
        metrics["loss"] += fixed / max(float(known.sum()), 1.0)
        return metrics

    def observe(self, rollouts: Rollouts, ctx: Context | None = None) -> dict[str, float]:
        """Learn from the signal `source` of a batch."""
        targets = signal_of(rollouts, self.source, "the progress estimator")
        if targets.missing == len(targets):
            return {"skipped": 1.0}
        return self.train_batch(rollouts, targets)


def read_marks(points: Points) -> np.ndarray:
    """True at prefixes where a span ends, bool (prefixes,)."""
    marked = np.zeros(points.prefixes, bool)
    marked[points.after[points.after >= 0]] = True
    return marked


def _has_points(points: Points) -> np.ndarray:
    has = np.zeros(len(points.rollouts), bool)
    has[points.row[points.after >= 0]] = True
    return has
