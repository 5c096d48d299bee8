"""The policy loss as arithmetic on flat token tensors (see `objective` for what the slots mean)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from guerdon.errors import TrainingError
from guerdon.learn.objective import KL, Objective

if TYPE_CHECKING:
    from torch import Tensor

_LOG_RATIO_LIMIT = 20.0
_SEQUENCE_LOG_RATIO_LIMIT = 10.0
_K3_LIMIT = 10.0


@dataclass(frozen=True)
class Counts:
    """What the whole optimiser step averages over, also when it is computed in micro-batches.

    Attributes:
        tokens: tokens that count.
        rollouts: rollouts with at least one such token.
        max_length: constant of the "constant" aggregation.
    """

    tokens: int
    rollouts: int
    max_length: int = 1


@dataclass(frozen=True)
class TokenBatch:
    """Flat tensors (tokens,) of a micro-batch.

    Attributes:
        old: log-probs of the policy before this round of updates.
        advantage: one per token.
        mask: 1.0 where the token counts, else 0.0.
        row: int64, rollout of each token, dense from 0.
        lengths: float (rows,), the number of tokens that count per rollout.
        mu: log-probs of the policy that sampled; None: same as `old`.
        ref: log-probs of the reference policy.
    """

    old: Tensor
    advantage: Tensor
    mask: Tensor
    row: Tensor
    lengths: Tensor
    mu: Tensor | None = None
    ref: Tensor | None = None


def policy_loss(
    logp: Tensor, entropy: Tensor | None, batch: TokenBatch, objective: Objective, counts: Counts
) -> tuple[Tensor, dict[str, Tensor]]:
    """This micro-batch's share of the loss (minimise), and sums of what to log.

    Args:
        logp: log pi of every token, with gradients, (tokens,).
        entropy: token entropies, with gradients where the bonus is on; None skips them.
        batch: everything that is constant.
        objective: the slots.
        counts: of the whole optimiser step.

    Returns:
        (loss, metrics): metrics are detached shares that add up over micro-batches to means per token.

    Raises:
        TrainingError: a KL term without reference log-probs.
    """
    log_ratio = bounded_log_ratio(logp, batch.old)
    per_token, clipped = token_losses(logp, log_ratio, batch, objective)
    total = aggregate(per_token, batch, objective.aggregate, counts)

    def share(x: Tensor) -> Tensor:
        return (x.detach() * batch.mask).sum() / max(counts.tokens, 1)

    metrics = {"policy/clip_fraction": share(clipped), "policy/old_kl": share(-log_ratio)}
    if batch.ref is not None:
        metrics["policy/kl"] = share(kl_estimate(logp, batch.ref, "k1"))
    if objective.kl.coef and objective.kl.where == "loss":
        if batch.ref is None:
            raise TrainingError("the objective has a KL term, but there are no reference log-probs")
        penalty = kl_estimate(logp, batch.ref, objective.kl.estimator)
        total = total + objective.kl.coef * aggregate(penalty, batch, objective.aggregate, counts)
    if entropy is not None:
        metrics["policy/entropy"] = share(entropy)
        if objective.entropy:
            total = total - objective.entropy * aggregate(entropy, batch, objective.aggregate, counts)
    return total, metrics


def token_losses(
    logp: Tensor, log_ratio: Tensor, batch: TokenBatch, objective: Objective
) -> tuple[Tensor, Tensor]:
    """-W * PG per token, before it is aggregated, and which tokens were clipped (0/1), both (tokens,).

    Args:
        logp: log pi of every token, with gradients.
        log_ratio: logp - old, bounded.
        batch, objective: see `policy_loss`.
    """
    per_token, clipped = _surrogate(logp, log_ratio, batch, objective)
    if objective.weight != "none":
        per_token = per_token * off_policy_weight(logp, batch, objective)
    return per_token, clipped


def bounded_log_ratio(logp: Tensor, old: Tensor) -> Tensor:
    """log pi - log pi_old, bounded so that its exponential stays finite."""
    return (logp - old).clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT)


def _surrogate(
    logp: Tensor, log_ratio: Tensor, batch: TokenBatch, objective: Objective
) -> tuple[Tensor, Tensor]:
    """-PG per token and which tokens were clipped (0/1)."""
    a = batch.advantage
    low, high = 1.0 - objective.low, 1.0 + objective.high
    if objective.ratio == "none":
        return -a * logp, torch.zeros_like(a)
    if objective.ratio == "sequence":
        mean = _row_mean(log_ratio.detach(), batch)[batch.row]
        log_ratio = (logp - logp.detach() + mean).clamp(max=_SEQUENCE_LOG_RATIO_LIMIT)
    ratio = log_ratio.exp()
    outside = torch.where(a > 0, ratio > high, ratio < low) & (a != 0)
    if objective.clip == "cispo":
        bounded = ratio.detach().clamp(low, high)
        return -bounded * a * logp, (bounded != ratio).float()
    if objective.clip == "mask":
        return -a * logp * (~outside), outside.float()
    if objective.clip == "none":
        return -a * ratio, torch.zeros_like(a)
    loss = torch.maximum(-a * ratio, -a * ratio.clamp(low, high))
    if objective.dual is not None:
        loss = torch.where(a < 0, torch.minimum(loss, -a * objective.dual), loss)
    return loss, outside.float()


def off_policy_weight(logp: Tensor, batch: TokenBatch, objective: Objective) -> Tensor:
    """Detached W per token: min(w, C) or w * 1[w <= C], w = pi_old/mu or pi/mu."""
    mu = batch.old if batch.mu is None else batch.mu
    top = batch.old if objective.weight_of == "old" else logp.detach()
    log_w = top - mu
    if objective.weight_level == "sequence":
        log_w = _row_sum(log_w * batch.mask, batch)[batch.row]
    w = log_w.clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT).exp()
    if objective.weight == "masked":
        return torch.where(w <= objective.weight_cap, w, torch.zeros_like(w))
    return w.clamp(max=objective.weight_cap)


def kl_estimate(logp: Tensor, ref: Tensor, estimator: str) -> Tensor:
    """Per-token estimate of KL(pi||ref) from samples of pi: see `objective.KL`."""
    d = ref - logp
    if estimator == "k1":
        return -d
    if estimator == "abs":
        return d.abs()
    if estimator == "k2":
        return 0.5 * d * d
    d = d.clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT)
    return (d.exp() - d - 1.0).clamp(-_K3_LIMIT, _K3_LIMIT)


def aggregate(per_token: Tensor, batch: TokenBatch, how: str, counts: Counts) -> Tensor:
    """Tokens to one number; denominators are those of the whole optimiser step."""
    masked = per_token * batch.mask
    if how == "token_mean":
        return masked.sum() / max(counts.tokens, 1)
    rollouts = max(counts.rollouts, 1)
    if how == "seq_mean_token_sum":
        return masked.sum() / rollouts
    if how == "constant":
        return masked.sum() / (rollouts * counts.max_length)
    return (masked / batch.lengths.clamp(min=1.0)[batch.row]).sum() / rollouts


def _row_sum(x: Tensor, batch: TokenBatch) -> Tensor:
    return torch.zeros_like(batch.lengths).index_add(0, batch.row, x)


def _row_mean(x: Tensor, batch: TokenBatch) -> Tensor:
    return _row_sum(x * batch.mask, batch) / batch.lengths.clamp(min=1.0)


def reward_penalty(kl: KL) -> float:
    """The coefficient to take off the rewards, 0 where the KL is part of the loss."""
    return kl.coef if kl.where == "reward" else 0.0
