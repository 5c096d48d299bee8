"""OpenRLHF: a file that `--reward.remote_url` takes, `reward_func(queries, prompts, labels)`.

A file of one's own names the reward:

    from guerdon.adapters.openrlhf import make_reward_func

    reward_func = make_reward_func("verify.math")

OpenRLHF calls it with lists of one sample, in threads, and swallows what it raises. A sample without a reward
(`None`) does not stay one among others: OpenRLHF 0.11 then asks for a reward model, and fails later where
there is none. So say what such a sample is worth, `on_missing=0.0` for instance, or expect training to end.
For rewards that need processes of their own, limits or a cache, `guerdon serve` speaks the same protocol over
HTTP at `/openrlhf`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guerdon.adapters.given import built, check_worth
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError

_log = logging.getLogger("guerdon.openrlhf")


def completion_of(query: str, prompt: Any) -> str:
    """A text without its prompt; a tokenizer may have put a special token before it."""
    if not isinstance(prompt, str) or not prompt:
        return query
    at = query.find(prompt, 0, len(prompt) + 64)
    return query if at < 0 else query[at + len(prompt) :]


def make_reward_func(
    reward: Any, logs: Mapping[str, Any] | None = None, on_missing: str | float = "none"
) -> Callable[..., dict[str, Any]]:
    """A function as OpenRLHF takes it.

    Args:
        reward: a Reward, a registered name, or `{"use": name, parameter: value}`: one value per sample.
        logs: more rewards by name, only to be logged; NaN where there is no verdict.
        on_missing: what a sample without a verdict gets, and every sample of a call on which the reward
            itself fails: "none" (no reward) or a number. Each of them is logged with its cause.

    Returns:
        `reward_func(queries, prompts, labels) -> {"rewards", "scores", "extra_logs"}`. `rewards` is a tensor
        where torch is there and all samples have one; None where the only sample has none, which is how
        OpenRLHF marks a sample without reward. `extra_logs` has `missing` besides: 1.0 without a verdict.

    Raises:
        RecipeError: an unknown reward, or a policy that is none.
    """
    check_worth(on_missing, ("none",), "reward_func.on_missing")
    made = built("reward", reward, "reward")
    extra = {name: built("reward", each, "reward") for name, each in (logs or {}).items()}

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
        verdicts = _values(made, rollouts, on_missing)
        instead = None if on_missing == "none" else float(on_missing)
        found = _tensor([instead if value is None else value for value in verdicts])
        told = {name: _values(each, rollouts, math.nan) for name, each in extra.items()}
        told["missing"] = [float(value is None) for value in verdicts]
        # The same entries for every sample: OpenRLHF concatenates them.
        logged = {
            name: _tensor([math.nan if value is None else value for value in each])
            for name, each in told.items()
        }
        return {"rewards": found, "scores": found, "extra_logs": logged}

    return reward_func


def _values(reward: Any, rollouts: Rollouts, on_missing: str | float) -> list[float | None]:
    """Values, None where missing; what the reward raises is missing too where that is worth a number."""
    try:
        signal: Signal = reward(rollouts, None)
    except Exception as error:
        _log.error("reward %r failed: %s: %s", reward.name, type(error).__name__, error)
        if on_missing == "none":
            raise
        return [None] * len(rollouts)
    if signal.level != "rollout":
        raise RecipeError(
            f"reward {reward.name!r} has values per {signal.level}; OpenRLHF takes one per sample"
        )
    for row in range(len(signal)):
        if math.isnan(signal.values[row]):
            cause = signal.causes.get(row, "no cause was given")
            _log.warning("reward %r has no verdict: %s", reward.name, cause)
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
