"""verl: guerdon's objectives as policy losses, `actor.policy_loss.loss_mode=guerdon_<name>`.

The form of the loss is guerdon's (`guerdon.learn.objective`). Its bounds and its aggregation are those of
verl's configuration (`actor.clip_ratio_low`, `clip_ratio_high`, `loss_agg_mode`), and so are the KL and
entropy terms, which verl adds itself. verl hands a loss no log-probabilities of the policy that sampled, but,
with rollout correction, its weights w = pi_old / mu: losses without a weight of their own are multiplied by
them, and MiniRL takes mu from them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from guerdon.learn.objective import Objective, cispo, gspo, minirl, ppo, reinforce

_log = logging.getLogger("guerdon.verl")
OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "reinforce": reinforce,
    "ppo": ppo,
    "gspo": gspo,
    "cispo": cispo,
    "minirl": minirl,
}


def policy_loss(name: str, objective: Objective | None = None) -> Callable[..., Any]:
    """A function as verl's `register_policy_loss` takes it: `(loss, metrics)` of a micro-batch.

    Args:
        name: an objective's name.
        objective: its settings; default: those of the name. The range comes from verl's configuration, and
            for PPO so does the bound for negative advantages (`clip_ratio_c`).

    The returned function takes verl's keywords: `old_log_prob`, `log_prob`, `advantages`, `response_mask`,
    `rollout_is_weights` (B, T), `loss_agg_mode` and `config`.
    """
    slots = OBJECTIVES[name]() if objective is None else objective

    def compute(
        old_log_prob: Any,
        log_prob: Any,
        advantages: Any,
        response_mask: Any,
        loss_agg_mode: str = "token-mean",
        config: Any = None,
        rollout_is_weights: Any = None,
    ) -> tuple[Any, dict[str, float]]:
        from verl.trainer.ppo.core_algos import agg_loss

        from guerdon.learn.policy_loss import bounded_log_ratio, token_losses

        mask = response_mask.to(log_prob.dtype)
        now = _with_range(slots, config)
        batch = _flat(old_log_prob, advantages, mask, rollout_is_weights if now.weight != "none" else None)
        logp = log_prob.reshape(-1)
        log_ratio = bounded_log_ratio(logp, batch.old)
        per_token, clipped = token_losses(logp, log_ratio, batch, now)
        losses = per_token.reshape(log_prob.shape)
        if rollout_is_weights is not None and now.weight == "none":
            losses = losses * rollout_is_weights
        info = getattr(config, "global_batch_info", None) or {}
        loss = agg_loss(loss_mat=losses, loss_mask=mask, loss_agg_mode=loss_agg_mode, **info)
        count = batch.mask.sum().clamp(min=1.0)
        metrics = {
            "actor/pg_clipfrac": float((clipped.detach() * batch.mask).sum() / count),
            "actor/ppo_kl": float((-log_ratio.detach() * batch.mask).sum() / count),
        }
        return loss, metrics

    compute.__name__ = f"guerdon_{name}"
    return compute


def _with_range(objective: Objective, config: Any) -> Objective:
    """The objective with the bounds of verl's actor configuration; its own where there is none."""
    if config is None or objective.clip == "none":
        return objective
    both = config.get("clip_ratio", None)
    low, high = config.get("clip_ratio_low", None), config.get("clip_ratio_high", None)
    dual = config.get("clip_ratio_c", None) if (objective.ratio, objective.clip) == ("token", "ppo") else None
    return replace(
        objective,
        low=next(x for x in (low, both, objective.low) if x is not None),
        high=next(x for x in (high, both, objective.high) if x is not None),
        dual=objective.dual if dual is None else float(dual),
    )


def _flat(old: Any, advantages: Any, mask: Any, weights: Any) -> Any:
    """verl's (B, T) tensors as guerdon's flat ones."""
    import torch

    from guerdon.learn.policy_loss import TokenBatch

    n, width = mask.shape
    mu = None if weights is None else old - weights.clamp(min=1e-20).log()
    return TokenBatch(
        old=old.reshape(-1),
        advantage=advantages.reshape(-1),
        mask=mask.reshape(-1),
        row=torch.arange(n, device=mask.device).repeat_interleave(width),
        lengths=mask.sum(dim=1),
        mu=None if mu is None else mu.reshape(-1),
    )


def register(add: Callable[[str], Callable[[Any], Any]] | None = None) -> list[str]:
    """Register every objective as `guerdon_<name>`; the names. What fails is logged as an error.

    Args:
        add: verl's `register_policy_loss`, imported where None.
    """
    if add is None:
        from verl.trainer.ppo.core_algos import register_policy_loss as add  # type: ignore[no-redef]
    assert add is not None
    done = []
    for name in OBJECTIVES:
        try:
            add(f"guerdon_{name}")(policy_loss(name))
            done.append(f"guerdon_{name}")
        except Exception as error:
            _log.error("guerdon: the policy loss guerdon_%s was not registered: %s", name, error)
    return done
