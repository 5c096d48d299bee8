"""OpenRLHF: a file that `--reward.remote_url` takes, `reward_func(queries, prompts, labels)`.

A file of one's own names the reward:

    from guerdon.adapters.openrlhf import make_reward_func

    reward_func = make_reward_func("verify.math")

OpenRLHF calls it with lists of one sample, in threads. For rewards that need processes of their own, limits
or a cache, `guerdon serve` speaks the same protocol over HTTP at `/openrlhf`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build


def completion_of(query: str, prompt: Any) -> str:
    """A text without its prompt; a tokenizer may have put a special token before it."""
    if not isinstance(prompt, str) or not prompt:
        return query
    at = query.find(prompt, 0, len(prompt) + 64)
    return query if at < 0 else query[at + len(prompt) :]


def make_reward_func(reward: Any, logs: Mapping[str, Any] | None = None) -> Callable[..., dict[str, Any]]:
    """A function as OpenRLHF takes it.

    Args:
        reward: a Reward, a registered name, or `{"use": name, parameter: value}`: one value per sample.
        logs: more rewards by name, only to be logged.

    Returns:
        `reward_func(queries, prompts, labels) -> {"rewards", "scores", "extra_logs"}`. `rewards` is a tensor
        where torch is there and all samples have a verdict; None where the only sample has none, which is
        how OpenRLHF marks a sample without reward.

    Raises:
        RecipeError: an unknown reward.
    """
    made = _made(reward)
    extra = {name: _made(each) for name, each in (logs or {}).items()}

    def reward_func(queries: Sequence[str], prompts: Sequence[Any], labels: Sequence[Any]) -> dict[str, Any]:
        if not len(queries) == len(prompts) == len(labels):
            raise DataError(
                f"expected lists of one length, got {len(queries)} queries, {len(prompts)} prompts and "
                f"{len(labels)} labels"
            )
        pairs = zip(queries, prompts, strict=True)
        rollouts = Rollouts(
            prompt=list(prompts),
            completion=[completion_of(query, prompt) for query, prompt in pairs],
            reference=list(labels),
        )
        values = _values(made, rollouts)
        told = {name: _values(each, rollouts) for name, each in extra.items()}
        found = _tensor(values)
        return {
            "rewards": found,
            "scores": found,
            "extra_logs": {name: _tensor(each) for name, each in told.items() if None not in each},
        }

    return reward_func


def _made(reward: Any) -> Any:
    if isinstance(reward, str | Mapping):
        return build("reward", {"use": reward} if isinstance(reward, str) else reward, "reward")
    return reward


def _values(reward: Any, rollouts: Rollouts) -> list[float | None]:
    signal: Signal = reward(rollouts, None)
    if signal.level != "rollout":
        raise RecipeError(
            f"reward {reward.name!r} has values per {signal.level}; OpenRLHF takes one per sample"
        )
    return [None if math.isnan(value) else value for value in signal.values.tolist()]


def _tensor(values: list[float | None]) -> Any:
    """As the host's own examples return it; a list where a value is missing."""
    if values == [None]:
        return None
    if None in values:
        return values
    try:
        import torch
    except ModuleNotFoundError:
        return values
    return torch.tensor(values, dtype=torch.float32)
