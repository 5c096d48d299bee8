"""Learning from pairs of a batch: which rollouts are preferred to which, and the DPO step on them.

    L = -mean over pairs log s( beta [ (log pi - log ref)(y+) - (log pi - log ref)(y-) ] )

Enters: rollouts with signals, a choice of pairs. Leaves: optimiser steps. The gradient of L is a weight per
rollout times that of its log-prob; the weights are computed first, so that a pair may lie in two
micro-batches and the step is exact all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from guerdon.data.kernels import segment_reduce
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.reward import signal_of
from guerdon.learn.objective import KL
from guerdon.registry import build

Pairs = Callable[[Rollouts], np.ndarray]
"""Rollouts with signals -> int64 (pairs, 2): rows of the preferred and of the other one."""


@dataclass(frozen=True)
class Preferences:
    """An objective that learns from pairs in place of advantages.

    Attributes:
        pairs: chooses them from a scored batch.
        beta: scale of the log-ratio.
        reference: "start" is the policy as the run began, "batch" the one that sampled.
        average: log-probs are averaged over tokens instead of summed.
    """

    pairs: Pairs
    beta: float = 0.1
    reference: str = "start"
    average: bool = False
    kl: KL = field(default_factory=KL)

    @property
    def needs_reference(self) -> bool:
        """Whether the rollouts must carry `ref_logprobs`."""
        return self.reference == "start"

    def learn(
        self,
        engine: Any,
        rollouts: Rollouts,
        rng: np.random.Generator,
        lr: float,
        epochs: int = 1,
        minibatches: int = 1,
        micro_rollouts: int | None = None,
        max_grad_norm: float = 1.0,
        max_length: int = 1,
        drop: np.ndarray | None = None,
        temperature: float = 1.0,
    ) -> dict[str, float]:
        """`epochs` passes over the pairs, one optimiser step per minibatch; see `update`.

        Returns:
            the number of pairs and, where there are any, means over the steps of the loss, the gradient's
            norm, the margin, and the share of pairs on the right side before the step that learnt from them.

        Raises:
            DataError: pairs that are no rows of the batch, or rollouts without the reference's log-probs.
        """
        found = np.asarray(self.pairs(rollouts), np.int64).reshape(-1, 2)
        if found.size and not (found.min() >= 0 and found.max() < len(rollouts)):
            raise DataError(f"pairs name row {int(found.max())} of {len(rollouts)} rollouts")
        if drop is not None:
            found = found[~drop[found].any(axis=1)]
        logged = []
        for _ in range(epochs):
            for part in np.array_split(found[rng.permutation(len(found))], minibatches):
                if len(part):
                    logged.append(
                        self._step(engine, rollouts, part, lr, micro_rollouts, max_grad_norm, temperature)
                    )
        out = {"preference/pairs": float(len(found))}
        return out | {key: float(np.mean([m[key] for m in logged])) for key in (logged[0] if logged else ())}

    def _step(
        self,
        engine: Any,
        rollouts: Rollouts,
        pairs: np.ndarray,
        lr: float,
        micro_rollouts: int | None,
        max_grad_norm: float,
        temperature: float,
    ) -> dict[str, float]:
        from guerdon.models.losses import preference_weights

        rows, local = np.unique(pairs, return_inverse=True)
        good, bad = local.reshape(-1, 2).T
        batch = rollouts.select(rows)
        ref = batch.ref_logprobs if self.reference == "start" else batch.logprobs
        if ref is None or batch.tokens is None or batch.acted is None:
            raise DataError("preferences need rollouts with tokens and the reference's log-probs")
        tokens, share = batch.tokens, batch.acted.values.astype(np.float64)
        if self.average:
            counts = np.maximum(segment_reduce(share, tokens.offsets, "sum"), 1.0)
            share = share / counts[tokens.row_ids()]
        ratio = engine.logprobs(batch, temperature).values.astype(np.float64) - ref.values
        score = self.beta * segment_reduce(ratio * share, tokens.offsets, "sum")
        value, gradient = preference_weights(score, good, bad)
        weight = (self.beta * gradient[tokens.row_ids()] * share).astype(np.float32)

        def loss(stats: Any, some: np.ndarray) -> tuple[Any, Mapping[str, float]]:
            import torch

            here = torch.from_numpy(weight[tokens.positions(some)]).to(stats.logprobs.device)
            return (here * stats.logprobs).sum(), {}

        step = engine.train_step(
            batch,
            loss,
            micro_rollouts=micro_rollouts,
            max_grad_norm=max_grad_norm,
            lr=lr,
            temperature=temperature,
            entropy=False,
        )
        lead = score[good] - score[bad]
        return {
            "loss": value,
            "policy/grad_norm": step["grad_norm"],
            "preference/margin": float(lead.mean()),
            "preference/accuracy": float((lead > 0).mean()),
        }


def dpo(
    pairs: Mapping[str, Any] | str,
    beta: float = 0.1,
    reference: Literal["start", "batch"] = "start",
    average: bool = False,
) -> Preferences:
    """-log s(beta (Q+ - Q-)) over pairs chosen from the batch, Q = sum_t (log pi - log ref).

    Args:
        pairs: a registered choice of pairs: {use: outcome}, {use: best_and_worst}, {use: confidence}.
        beta, reference, average: see `Preferences`.

    Reference: Rafailov et al., Direct Preference Optimization, arXiv 2305.18290.
    """
    if not beta > 0:
        raise RecipeError(f"objective.beta: got {beta!r}, expected a number > 0")
    if reference not in ("start", "batch"):
        raise RecipeError(f"objective.reference: got {reference!r}, expected 'start' or 'batch'")
    spec = {"use": pairs} if isinstance(pairs, str) else pairs
    return Preferences(build("pairs", spec, "objective.pairs"), float(beta), reference, average)


def by_outcome(source: str = "outcome", success: float = 0.5) -> Pairs:
    """All pairs of a success (signal above `success`) and a failure inside a group."""
    from guerdon.models.losses import outcome_pairs

    def choose(rollouts: Rollouts) -> np.ndarray:
        values = signal_of(rollouts, source)
        return np.stack(outcome_pairs(values, rollouts.groups()[0], success), axis=1)

    return choose
