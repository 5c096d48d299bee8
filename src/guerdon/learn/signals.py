"""From a recipe's `rewards` and `shape` sections to signals on rollouts."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.registry import build, lookup

Reward = Callable[..., Signal]


def build_rewards(
    section: Mapping[str, Mapping[str, Any]], task: Any, policy: Any = None
) -> dict[str, Reward]:
    """Reward objects by name; `task.outcome` and `task.steps` are the task's own checkers.

    Raises:
        RecipeError: an unknown reward, or `task.steps` of a task that has no steps.
    """
    rewards: dict[str, Reward] = {}
    for name, spec in section.items():
        use = spec.get("use") if isinstance(spec, Mapping) else None
        if use == "task.outcome":
            rewards[name] = task.outcome
        elif use == "task.steps":
            if not task.has_steps:
                raise RecipeError(f"rewards.{name}.use: the task {task.name!r} has no steps to check")
            rewards[name] = task.steps
        else:
            rewards[name] = build_with("reward", spec, f"rewards.{name}", task=task, policy=policy)
    return rewards


def build_with(kind: str, spec: Mapping[str, Any], where: str, **given: Any) -> Any:
    """Build what a section names; `given` goes to factories that ask for it by name."""
    wanted: Mapping[str, Any] = {}
    if isinstance(spec, Mapping) and "use" in spec:
        wanted = inspect.signature(lookup(kind, str(spec["use"]), f"{where}.use")).parameters
    return build(kind, spec, where, **{name: given[name] for name in given if name in wanted})


def build_shapes(
    section: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, list[Callable[..., Signal]]]:
    """Transforms to apply, in order, per signal name."""
    return {
        name: [build("shape", spec, f"shape.{name}.{i}") for i, spec in enumerate(chain)]
        for name, chain in section.items()
    }


def score(rollouts: Rollouts, rewards: Mapping[str, Reward], ctx: Context) -> Rollouts:
    """Rollouts carrying one signal per reward, under the recipe's names."""
    scored = {name: reward(rollouts, ctx).renamed(name) for name, reward in rewards.items()}
    return rollouts.replace(signals=scored)


def shape(rollouts: Rollouts, shapes: Mapping[str, list[Callable[..., Signal]]], ctx: Context) -> Rollouts:
    """Rollouts whose signals went through their transforms.

    The raw ones are kept as `<name>_raw`, and what a transform shows of its way as `<name>_<part>`.
    """
    for name, chain in shapes.items():
        if name not in rollouts.signals:
            raise RecipeError(
                f"shape.{name}: no reward has that name (rewards: {', '.join(rollouts.signals)})"
            )
        signal = rollouts.signals[name]
        shaped = signal
        seen: dict[str, Signal] = {}
        for transform in chain:
            if hasattr(transform, "explain"):
                parts = transform.explain(rollouts, shaped, ctx)
                shaped = parts.pop("reward")
                seen |= {f"{name}_{part}": found for part, found in parts.items()}
            else:
                shaped = transform(rollouts, shaped, ctx)
        seen = {part: found.renamed(part) for part, found in seen.items() if part not in rollouts.signals}
        kept = {f"{name}_raw": signal.renamed(f"{name}_raw"), name: shaped.renamed(name)}
        rollouts = rollouts.replace(signals=seen | kept)
    return rollouts


def pay_for_distance(rollouts: Rollouts, coef: float) -> Rollouts:
    """Take beta * (log pi - log ref) off the rewards: per token off `reward`, summed off `outcome`."""
    if not coef or rollouts.logprobs is None or rollouts.ref_logprobs is None:
        return rollouts
    distance = (rollouts.logprobs.values - rollouts.ref_logprobs.values).astype(np.float64)
    acted = rollouts.acted.values if rollouts.acted is not None else np.ones(len(distance), bool)
    cost = Signal(np.where(acted, coef * distance, 0.0), "token", "kl_cost")
    changed = {"kl_cost": cost}
    if "outcome" in rollouts.signals:
        outcome = rollouts.signals["outcome"]
        paid = outcome.values - rollouts.reduce(cost, outcome.level).values
        changed["outcome"] = Signal(paid, outcome.level, "outcome", outcome.causes)
    if "reward" in rollouts.signals:
        reward = rollouts.signals["reward"]
        changed["reward"] = reward.with_values(reward.values - cost.values)
    return rollouts.replace(signals=changed)


def apply_truncation(rollouts: Rollouts, policy: str) -> Rollouts:
    """What a completion cut by the token limit is worth: "keep" its reward, or "zero" its outcome.

    ("mask" keeps it in the baseline and drops its tokens from the loss; see `update`.)
    """
    if policy != "zero" or "outcome" not in rollouts.signals or not rollouts.truncated.any():
        return rollouts
    outcome = rollouts.signals["outcome"]
    return rollouts.with_signal(
        Signal(np.where(rollouts.truncated, 0.0, outcome.values), outcome.level, "outcome")
    )


def report(rollouts: Rollouts) -> dict[str, float]:
    """Means of what was sampled and scored, for a run's log."""
    from guerdon.learn.branching import sampled_tokens
    from guerdon.learn.sampling import behaviour_entropy

    out = {
        "rollout/tokens": float(rollouts.lengths.sum()),
        "rollout/length": float(rollouts.lengths.mean()),
        "rollout/truncated": float(rollouts.truncated.mean()),
        "rollout/entropy": behaviour_entropy(rollouts),
    }
    if not rollouts.all_acted:
        out["rollout/acted"] = float(rollouts.acted.values.sum())  # type: ignore[union-attr]
        out["rollout/turns"] = float(np.diff(rollouts.offsets("turn")).mean())
    if rollouts.node is not None:
        out["rollout/sampled"] = float(sampled_tokens(rollouts))
    for name, signal in rollouts.signals.items():
        present = signal.values[~np.isnan(signal.values)]
        out[f"reward/{name}"] = float(present.mean()) if len(present) else float("nan")
        if signal.missing:
            out[f"reward/{name}_missing"] = float(signal.missing)
    outcome = rollouts.signals.get("outcome_raw", rollouts.signals.get("outcome"))
    if outcome is not None and outcome.level == "rollout":
        scored = outcome.values[~np.isnan(outcome.values)]
        out["accuracy/train"] = float((scored >= 1.0).mean()) if len(scored) else float("nan")
    return out


def keep_advantage(rollouts: Rollouts, advantage: Signal) -> Rollouts:
    """Rollouts that carry their advantages."""
    assert rollouts.tokens is not None
    return rollouts.replace(advantages=Ragged(advantage.values, rollouts.tokens.offsets))


def stateful(
    rewards: Mapping[str, Reward], shapes: Mapping[str, Sequence[Callable[..., Signal]]], credit: Any
) -> dict[str, Any]:
    """Everything between sampling and the update that may carry a state, by its place in the recipe."""
    transforms = {f"shape.{name}.{i}": t for name, chain in shapes.items() for i, t in enumerate(chain)}
    return {**rewards, **transforms, "credit.": credit}


def save_states(rewards: Mapping[str, Any], folder: Path) -> None:
    """Write the state of every reward that keeps any, as JSON."""
    states = {name: reward.state_dict() for name, reward in rewards.items() if hasattr(reward, "state_dict")}
    kept = {name: state for name, state in states.items() if state}
    (folder / "rewards.json").write_text(json.dumps(kept, default=_plain))


def load_states(rewards: Mapping[str, Any], folder: Path) -> None:
    """Inverse of `save_states`."""
    for name, state in json.loads((folder / "rewards.json").read_text()).items():
        if name in rewards:
            rewards[name].load_state_dict(state)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise RecipeError(f"a reward's state must be plain numbers, lists and dicts; got {type(value).__name__}")
