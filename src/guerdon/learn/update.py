"""One round of policy updates on a batch of rollouts with advantages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from guerdon.data.kernels import segment_reduce
from guerdon.data.rollouts import Rollouts
from guerdon.errors import TrainingError
from guerdon.intrinsic.tails import Extended, ExtraLoss
from guerdon.learn.extra_losses import seen_by
from guerdon.learn.objective import Objective
from guerdon.learn.policy_loss import Counts, TokenBatch, policy_loss


def update(
    engine: Any,
    rollouts: Rollouts,
    objective: Objective,
    rng: np.random.Generator,
    lr: float,
    epochs: int = 1,
    minibatches: int = 1,
    micro_rollouts: int | None = None,
    max_grad_norm: float = 1.0,
    max_length: int = 1,
    drop: np.ndarray | None = None,
    temperature: float = 1.0,
    losses: Sequence[ExtraLoss] = (),
) -> dict[str, float]:
    """`epochs` passes over the rollouts, one optimiser step per minibatch.

    Args:
        rollouts: with `tokens`, `logprobs`, `advantages`, and `ref_logprobs` where the objective has a KL.
        rng: order of the minibatches.
        max_length: constant of the "constant" aggregation where the objective names none.
        drop: bool (N,), rollouts whose tokens stay out of the loss.
        temperature: at which `logprobs` were recorded; the loss compares like with like.
        losses: further ones, added to the objective's in every optimiser step.

    Returns:
        Means over the optimiser steps of the loss, gradient norm and the policy metrics.

    Raises:
        TrainingError: no advantages, or a loss that is not finite (weights are those before that step).
    """
    if rollouts.advantages is None or rollouts.logprobs is None or rollouts.tokens is None:
        raise TrainingError("an update needs rollouts with tokens, logprobs and advantages")
    if not np.isfinite(rollouts.advantages.values).all():
        raise TrainingError(f"advantages that are not finite in {_rows_not_finite(rollouts)}")
    logged: list[dict[str, float]] = []
    for _ in range(epochs):
        order = rng.permutation(len(rollouts)) if minibatches > 1 else np.arange(len(rollouts))
        for rows in np.array_split(order, minibatches):
            if len(rows) == 0:
                continue
            batch = rollouts.select(rows)
            dropped = None if drop is None else drop[rows]
            extras: list[Extended] = []
            for extra in losses:
                extras.append(extra(batch, engine))
                batch = extras[-1].rollouts
            if dropped is not None:
                dropped = np.concatenate([dropped, np.zeros(len(batch) - len(dropped), bool)])
            step = _Step(batch, objective, max_length, dropped, engine.device, extras)
            result = engine.train_step(
                batch,
                step,
                micro_rollouts=micro_rollouts,
                max_grad_norm=max_grad_norm,
                lr=lr,
                temperature=temperature,
            )
            logged.append(step.metrics() | {"loss": result["loss"], "policy/grad_norm": result["grad_norm"]})
    return {key: float(np.mean([metrics[key] for metrics in logged])) for key in logged[0]}


class _Step:
    """The loss of one optimiser step, called once per micro-batch; adds up what is logged."""

    def __init__(
        self,
        batch: Rollouts,
        objective: Objective,
        max_length: int,
        drop: np.ndarray | None,
        device: Any,
        extras: Sequence[Extended] = (),
    ) -> None:
        assert batch.tokens is not None and batch.acted is not None
        self.batch, self.objective, self.device, self.extras = batch, objective, device, extras
        counted = batch.acted.values
        if drop is not None:
            counted = counted & ~drop[batch.tokens.row_ids()]
        self.mask = counted.astype(np.float32)
        self.lengths = segment_reduce(self.mask, batch.tokens.offsets, "sum")
        self.counts = Counts(
            int(counted.sum()), int((self.lengths > 0).sum()), objective.max_length or max(max_length, 1)
        )
        self.sums: dict[str, torch.Tensor] = {}

    def __call__(self, stats: Any, rows: np.ndarray) -> tuple[torch.Tensor, dict[str, Any]]:
        tokens = self.batch.tokens
        assert tokens is not None
        at = tokens.positions(rows)
        local = np.repeat(np.arange(len(rows)), tokens.lengths[rows])
        columns = {
            "old": self.batch.logprobs,
            "advantage": self.batch.advantages,
            "ref": self.batch.ref_logprobs,
        }
        flat = {k: None if c is None else self._tensor(c.values[at]) for k, c in columns.items()}
        inputs = TokenBatch(
            **flat,  # type: ignore[arg-type]
            mask=self._tensor(self.mask[at]),
            row=torch.as_tensor(local, device=self.device),
            lengths=self._tensor(self.lengths[rows]),
        )
        loss, metrics = policy_loss(stats.logprobs, stats.entropy, inputs, self.objective, self.counts)
        for extra in self.extras:
            share, more = extra.loss(seen_by(extra, stats, rows, tokens), rows[rows < len(extra.rollouts)])
            loss = loss + share
            metrics |= {key: torch.as_tensor(value) for key, value in more.items()}
        for key, value in metrics.items():
            self.sums[key] = self.sums[key] + value if key in self.sums else value
        return loss, {}

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    def metrics(self) -> dict[str, float]:
        return {key: float(value) for key, value in self.sums.items()}


def _rows_not_finite(rollouts: Rollouts) -> str:
    assert rollouts.advantages is not None
    bad = ~np.isfinite(rollouts.advantages.values)
    rows = np.unique(rollouts.advantages.row_ids()[bad])
    names = [rollouts.id[i] if rollouts.id else str(i) for i in rows[:8]]
    return f"rollouts {', '.join(names)}{' ...' if len(rows) > 8 else ''}"
