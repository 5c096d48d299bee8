"""IRCoCo: the reward of a token is by how much it raises the predicted quality of the completion."""

from __future__ import annotations

from functools import partial

import numpy as np

from guerdon.context import Context
from guerdon.data import kernels
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.systems.catalogue import system
from guerdon.verify.composite import Explained, rollout_values
from guerdon.verify.differences import differences


@system(
    "ircoco",
    title="IRCoCo: Immediate Rewards-Guided Deep Reinforcement Learning for Code Completion",
    arxiv="2401.16637",
    family="verify",
    kind="reward",
)
def ircoco(
    value: str = "V", start: str = "V0", decimals: int | None = 4, gamma: float = 0.0, eos: int | None = None
) -> Explained:
    """r_k = V(x, y_<=k) - V(x, y_<k), one value per token (per step, where V is given per step).

    Sums to V(x, y) - V(x). The credit is immediate: gamma = 0. Otherwise the reward-to-go
    sum_j gamma^j r_{k+j} is returned.

    Args:
        value: signal with V after each token (step): an evaluator's prediction of the final quality.
        start: V(x): a rollout-level signal, or a number per rollout in `meta` under this name.
        decimals: rounding of r_k; 4 as released, None for none (rounding kills small rewards).
        gamma: decay of later rewards, in [0, 1].
        eos: token id whose reward is 0; None: no token is special. Tokens the policy did not choose get 0.

    Parts: immediate (r_k), value.

    Reference: Li et al., FSE 2024, arXiv 2401.16637; Datasets/apps_dataset.py of Libolun-star/IRCoCo.
    """
    if not 0.0 <= gamma <= 1.0:
        raise RecipeError(f"ircoco: gamma must lie in [0, 1], got {gamma!r}")
    explain = partial(_explain, value=value, start=start, decimals=decimals, gamma=gamma, eos=eos)
    return Explained("ircoco", explain, f"1-{decimals}-{gamma}-{eos}", shape="sample")


def _explain(
    rollouts: Rollouts,
    ctx: Context | None,
    value: str,
    start: str,
    decimals: int | None,
    gamma: float,
    eos: int | None,
) -> tuple[Signal, dict[str, Signal]]:
    if value not in rollouts.signals:
        raise DataError(
            f"ircoco: the rollouts carry no signal {value!r} (they have: {', '.join(rollouts.signals)})"
        )
    prefix = rollouts.signals[value]
    if prefix.level in ("rollout", "group"):
        raise DataError(
            f"ircoco: signal {value!r} must hold one value per token or step, not per {prefix.level}"
        )
    rollouts.check_signal(prefix, value)
    offsets = rollouts.offsets(prefix.level)
    immediate = differences(prefix.values, offsets, rollout_values(rollouts, start))
    if decimals is not None:
        immediate = np.round(immediate, decimals)
    if prefix.level == "token" and rollouts.tokens is not None and rollouts.acted is not None:
        chosen = (
            rollouts.acted.values if eos is None else rollouts.acted.values & (rollouts.tokens.values != eos)
        )
        immediate[~chosen] = 0.0
    causes = {int(i): f"no {value} here or just before" for i in np.flatnonzero(np.isnan(immediate))}
    total = kernels.segment_scan(immediate, offsets, gamma) if gamma else immediate
    later = {int(i): causes.get(int(i), f"no {value} later on") for i in np.flatnonzero(np.isnan(total))}
    return Signal(total, prefix.level, "ircoco", later), {
        "immediate": Signal(immediate, prefix.level, "immediate", causes),
        "value": prefix.renamed("value"),
    }


def reinforce_loss(logprobs: np.ndarray, rewards: np.ndarray, count_eos: bool = True) -> float:
    """-sum_k logp_k r_k / T of one completion; the released code counts the EOS label too: / (T + 1)."""
    return float(-(logprobs * rewards).sum() / (len(rewards) + count_eos))
