"""guerdon rewards inside verifiers v1: of a task's own traces, and of all traces of one task together.

    class Sums(vf.Task[SumData]):
        correct = task_reward("verify.math", "correct", reference="answer")

or by configuration, as `--env.taskset.task.rewards` takes a function's path:

    # my_rewards.py
    correct = task_reward("verify.math", reference="answer")

Such a reward needs no runtime, so verifiers can score saved traces with it again. Rewards of groups go where
verifiers judges across agents, into an environment's `finalize`:

    async def finalize(self, task, episode):
        score_together("verify.match", episode.traces, reference="answer")
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import Any

from guerdon.adapters.given import built, check_worth, per_rollout
from guerdon.adapters.verifiers import from_traces
from guerdon.data import spans
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError

READS = ("reply", "messages", "tokens")


def task_reward(
    reward: Any,
    name: str | None = None,
    *,
    reference: str | None = None,
    weight: float = 1.0,
    priority: int = 0,
    reads: str = "reply",
    steps: Any = None,
    tokenizer: Any = None,
    reduce: str = "sum",
    on_missing: str | float = "missing",
) -> Callable[..., Any]:
    """A guerdon reward as one of a task's `@vf.reward` methods, or as a function plugged by configuration.

    Args:
        reward: a Reward, a registered name, or `{"use": name, parameter: value}`.
        name: its key in `trace.rewards`; default: the reward's.
        reference: field of the task's data with the ground truth; the other fields are `meta`.
        weight, priority: as of `@vf.reward`.
        reads: "reply", the last answer as text; "messages", everything from the first answer on; or "tokens",
            the last path with its token ids and its steps (messages of the model).
        steps: a splitter that replaces those steps, with `reads="tokens"`.
        tokenizer: of the policy, for `steps`.
        reduce: how values of steps or tokens become one.
        on_missing: what an answer without a verdict gets: "missing", no entry in `trace.rewards`; "raise",
            which verifiers counts as a failed trace; or a number.

    Raises:
        RecipeError: an unknown reward, or settings that are none.
    """
    made = _made(reward, reads, on_missing)
    key = name or str(made.name)

    async def score(task: Any, trace: Any) -> float | dict[str, float]:
        rollouts = _rollouts([trace], task, reference, reads)
        if steps is not None:
            rollouts = spans.split(rollouts, steps, tokenizer=tokenizer)
        signal = await asyncio.to_thread(made, rollouts, None)
        value = _settled(per_rollout(rollouts, signal, reduce), 0, key, on_missing)
        return {} if value is None else value  # no scores: the seeded entry goes

    score.__name__ = key
    # What `@vf.reward(weight=..., priority=...)` leaves on a function.
    for attribute, value in {"reward": True, "reward_priority": priority, "_vf_weight": weight}.items():
        setattr(score, attribute, value)
    return score


def score_together(
    reward: Any,
    traces: Iterable[Any],
    name: str | None = None,
    *,
    reference: str | None = None,
    weight: float = 1.0,
    reads: str = "reply",
    reduce: str = "sum",
    on_missing: str | float = "missing",
) -> None:
    """Score traces of one task as one group and record the rewards on them.

    Args:
        traces: of one task; each is one rollout (its last path).
        reward, name, reference, weight, reads, reduce, on_missing: as for `task_reward`.

    Raises:
        RecipeError: an unknown reward, or settings that are none.
        DataError: a value that is missing, where `on_missing` is "raise".
    """
    made, given = _made(reward, reads, on_missing), list(traces)
    if not given:
        return
    key = name or str(made.name)
    rollouts = _rollouts(given, None, reference, reads)
    total = per_rollout(rollouts, made(rollouts, None), reduce)
    values = [_settled(total, row, key, on_missing) for row in range(len(given))]
    for trace, value in zip(given, values, strict=True):
        if value is not None:
            trace.record_reward(key, value, weight)


def _made(reward: Any, reads: str, on_missing: str | float) -> Any:
    if reads not in READS:
        raise RecipeError(f"task_reward.reads: expected one of {', '.join(READS)}, got {reads!r}")
    check_worth(on_missing, ("missing", "raise"), "task_reward.on_missing")
    return built("reward", reward, "task_reward")


def _rollouts(traces: list[Any], task: Any, reference: str | None, reads: str) -> Rollouts:
    """The last path of every trace, all of one group."""
    fields = [_fields(trace.task.data if task is None else task) for trace in traces]
    for known in fields:
        if reference is not None and reference not in known:
            raise DataError(f"the task's data has no field {reference!r}; it has {', '.join(sorted(known))}")
    about: dict[str, Any] = {
        "group": [0] * len(traces),
        "reference": [None if reference is None else known[reference] for known in fields],
        "meta": [{name: value for name, value in known.items() if name != reference} for known in fields],
    }
    if reads == "reply":
        prompts = [known.get("prompt") for known in fields]
        return Rollouts(prompt=prompts, completion=[trace.last_reply for trace in traces], **about)
    every = from_traces(traces, keep=False)
    numbers = [meta["verifiers"]["number"] for meta in every.meta or []]
    last = [max((i for i, n in enumerate(numbers) if n == k), default=-1) for k in range(len(traces))]
    if -1 in last:
        raise DataError(f"trace {last.index(-1)} has no sampled message to be scored")
    chosen = every.select(last).replace(**about)
    if reads == "tokens" and chosen.tokens is None:
        raise DataError("these traces have no token ids; read 'messages', or use a client that returns them")
    return chosen


def _fields(task: Any) -> dict[str, Any]:
    """A task's data by field, from the task itself or from its data."""
    data = task.data if hasattr(task, "plugged_judges") else task
    return data.model_dump() if hasattr(data, "model_dump") else dict(data)


def _settled(signal: Signal, row: int, name: str, on_missing: str | float) -> float | None:
    value = float(signal.values[row])
    if not math.isnan(value):
        return value
    if on_missing == "raise":
        cause = signal.causes.get(row, "no cause was given")
        raise DataError(f"reward {name!r} has no verdict: {cause}")
    return None if on_missing == "missing" else float(on_missing)
