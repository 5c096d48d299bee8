"""slime: rewards as `--custom-rm-path`, token-level credit from whole groups, carried to the trainer.

    # my_hooks.py
    from guerdon.adapters.slime import make_credit, make_rm

    rm = make_rm("verify.math")
    credit = make_credit("rloo")

    --custom-rm-path my_hooks.rm                                  # with or without --group-rm
    --custom-reward-post-process-path my_hooks.credit
    --custom-advantage-function-path guerdon.adapters.slime.use_credit

slime asks for post-processed rewards where it has all samples, and for advantages where a rank has its part
of them. So credit is assigned in the first place, one value per token of the response, and rides to the other
in the field `rewards`, which slime then logs as a mean per token; `raw_reward` stays what the reward said.
Leave `--normalize-advantages` off, or slime whitens them again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from guerdon.adapters.given import built, check_worth, per_rollout
from guerdon.adapters.turns import turn_ends
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError


def make_rm(reward: Any, reduce: str = "sum", on_missing: str | float = "raise") -> Callable[..., Any]:
    """A coroutine function as `--custom-rm-path` takes it: a sample or, with `--group-rm`, a list of them.

    Args:
        reward: a Reward, a registered name, or `{"use": name, parameter: value}`. The ground truth is
            `sample.label`, `sample.metadata` is `meta`; tokens are those of the response, steps its turns.
        reduce: how values of steps or tokens become the sample's reward.
        on_missing: what a sample without a verdict gets: "raise", a number, or "nan", which `make_credit`
            leaves out and slime's own normalisation does not.

    Raises:
        RecipeError: an unknown reward, or a policy that is none.
    """
    check_worth(on_missing, ("raise", "nan"), "make_rm.on_missing")
    reward = built("reward", reward, "make_rm")

    async def rm(args: Any, sample: Any, **_: Any) -> Any:
        import asyncio

        alone = not isinstance(sample, list)
        rollouts = rollouts_of([sample] if alone else sample)
        signal = await asyncio.to_thread(reward, rollouts, None)
        values = per_rollout(rollouts, signal, reduce).values.copy()
        for row in np.flatnonzero(np.isnan(values)).tolist():
            if on_missing == "raise":
                cause = signal.causes.get(row, "no cause was given")
                raise DataError(f"reward {reward.name!r} has no verdict on sample {row}: {cause}")
            values[row] = float(on_missing)
        return float(values[0]) if alone else values.tolist()

    return rm


def make_credit(method: Any) -> Callable[[Any, Sequence[Any]], tuple[list[float], list[Any]]]:
    """A function as `--custom-reward-post-process-path` takes it.

    It sees all samples of a batch: groups are those of equal `group_index`. A method finds `outcome`, the
    reward per sample; where a sample's reward is a mapping, `--reward-key` names the outcome, and its other
    entries are signals of their own name: a number per sample, or a list of one number per step. Steps end at
    `sample.metadata["steps"]` (in tokens of the response) where it is there, else they are the turns.

    Args:
        method: a credit method, its name, or `{"use": name, parameter: value}`.

    Returns:
        `(args, samples) -> (raw rewards, one float32 tensor of advantages per sample)`.

    Raises:
        RecipeError: an unknown method.
    """
    method = built("credit", method, "make_credit")

    def credit(args: Any, samples: Sequence[Any]) -> tuple[list[float], list[Any]]:
        import torch

        rollouts = with_rewards(rollouts_of(samples), samples, getattr(args, "reward_key", None))
        advantage = method(rollouts)
        if advantage.level != "token" or rollouts.tokens is None:
            raise RecipeError(f"credit gave values per {advantage.level}, expected one per token")
        rows = rollouts.tokens.with_values(advantage.values)
        raw = rollouts.signals["outcome"].values.tolist()
        return raw, [torch.tensor(rows[i], dtype=torch.float32) for i in range(len(rows))]

    return credit


def use_credit(args: Any, rollout_data: dict[str, Any]) -> None:
    """`--custom-advantage-function-path`: the advantages that `make_credit` put into `rewards`.

    Context parallelism cuts responses as slime cuts log-probabilities.

    Raises:
        RecipeError: `make_credit` did not run before.
    """
    import torch

    rewards, kl = rollout_data["rewards"], rollout_data["kl"]
    found = []
    for i, row in enumerate(rewards):
        length = rollout_data["response_lengths"][i]
        if not isinstance(row, torch.Tensor) or row.shape != (length,):
            raise RecipeError(
                f"sample {i}: its reward is not one value per token of the response; set "
                "--custom-reward-post-process-path to a function of guerdon.adapters.slime.make_credit"
            )
        if len(kl[i]) != length:
            from slime.backends.megatron_utils.cp_utils import slice_log_prob_with_cp

            row = slice_log_prob_with_cp(row, rollout_data["total_lengths"][i], length)
        found.append(row.to(device=kl[i].device, dtype=torch.float32))
    rollout_data["advantages"] = found
    rollout_data["returns"] = [row.clone() for row in found]


def rollouts_of(samples: Sequence[Any]) -> Rollouts:
    """slime's samples as Rollouts of their responses.

    Raises:
        DataError: a sample whose mask or log-probabilities do not fit its response (named).
    """
    tokens, acted, logprobs = [], [], []
    for i, sample in enumerate(samples):
        n = sample.response_length
        mask = [1] * n if sample.loss_mask is None else list(sample.loss_mask)
        own = sample.rollout_log_probs
        for name, column in (("loss_mask", mask), ("rollout_log_probs", own)):
            if column is not None and len(column) != n:
                raise DataError(f"sample {i}: {len(column)} entries of {name}, but a response of {n} tokens")
        tokens.append(np.asarray(list(sample.tokens)[len(sample.tokens) - n :], np.int32))
        acted.append(np.asarray(mask, bool))
        logprobs.append(None if own is None else np.asarray(own, np.float32))
    wrote = Ragged.from_lists(acted, bool)
    labels = [i if s.group_index is None else s.group_index for i, s in enumerate(samples)]
    return Rollouts(
        prompt=[sample.prompt for sample in samples],
        completion=[sample.response for sample in samples],
        reference=[sample.label for sample in samples],
        meta=[dict(sample.metadata or {}) for sample in samples],
        group=labels,  # type: ignore[arg-type]
        tokens=Ragged.from_lists(tokens, np.int32),
        acted=wrote,
        logprobs=None if any(row is None for row in logprobs) else Ragged.from_lists(logprobs, np.float32),  # type: ignore[arg-type]
        truncated=np.array([_status(sample) == "truncated" for sample in samples]),
        partitions={"step": _steps(samples, wrote)},
    )


def with_rewards(rollouts: Rollouts, samples: Sequence[Any], key: str | None) -> Rollouts:
    """The samples' rewards as signals, `outcome` among them.

    Raises:
        DataError: a list of another length than a sample's steps, or no entry `key` (sample named).
    """
    rewards = [sample.reward if isinstance(sample.reward, Mapping) else None for sample in samples]
    whole = []
    for i, (sample, parts) in enumerate(zip(samples, rewards, strict=True)):
        if parts is not None and (key is None or key not in parts):
            raise DataError(
                f"sample {i}: its reward has the entries {', '.join(parts)}; "
                "--reward-key must name one of them"
            )
        value = sample.reward if parts is None else parts[key]
        whole.append(math.nan if value is None else float(value))
    signals = {"outcome": Signal(np.array(whole), "rollout", "outcome")}
    counts = np.diff(rollouts.offsets("step")).tolist()
    for name in dict.fromkeys(name for parts in rewards for name in parts or ()):
        found = [(parts or {}).get(name) for parts in rewards]
        if any(isinstance(value, list) for value in found):
            steps = [[math.nan] * n if v is None else v for v, n in zip(found, counts, strict=True)]
            for i, (values, n) in enumerate(zip(steps, counts, strict=True)):
                if not isinstance(values, list) or len(values) != n:
                    raise DataError(f"sample {i}: reward {name!r}: expected a list of {n}, one per step")
            flat = np.array([math.nan if v is None else float(v) for row in steps for v in row])
            signals[name] = Signal(flat, "step", name)
        elif name != key:
            values = np.array([math.nan if v is None else float(v) for v in found])
            signals[name] = Signal(values, "rollout", name)
    return rollouts.replace(signals=signals)


def _steps(samples: Sequence[Any], wrote: Ragged) -> Ragged:
    """What a sample names as its steps, else its turns."""
    turns = turn_ends(wrote)
    named = [(sample.metadata or {}).get("steps") for sample in samples]
    rows = [turns[i] if ends is None else np.asarray(ends, np.int64) for i, ends in enumerate(named)]
    return Ragged.from_lists(rows, np.int64)


def _status(sample: Any) -> str:
    return str(getattr(sample.status, "value", sample.status))
