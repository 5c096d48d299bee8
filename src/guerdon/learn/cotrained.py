"""Models that learn along with the policy: when they score, when they learn, and how they are saved.

A task that changes along with the policy prepares a step (`begin_step`) and learns from it (`end_step`).
A reward that is `online` scores after the plain ones, whose signals it learns from (`observe`), before or
after it has scored. A member of the recipe's `models` section attaches columns and signals before credit
(`attach`) and learns after it. Either writes itself into the checkpoint, so that a resumed run repeats.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.learn import signals

FOLDER = "models"


def build_models(section: Mapping[str, Mapping[str, Any]], task: Any, policy: Any) -> dict[str, Any]:
    """Members of the `models` section by name."""
    return {
        name: signals.build_with("model", spec, f"models.{name}", task=task, policy=policy)
        for name, spec in section.items()
    }


def score(rollouts: Rollouts, rewards: Mapping[str, Any], ctx: Context) -> tuple[Rollouts, dict[str, float]]:
    """Rollouts with one signal per reward, and what the rewards that learn report."""
    online = {name: reward for name, reward in rewards.items() if getattr(reward, "online", False)}
    plain = {name: reward for name, reward in rewards.items() if name not in online}
    rollouts = signals.score(rollouts, plain, ctx)
    metrics = _costs(plain)
    for name, model in online.items():
        if model.update == "before":
            metrics |= _named(name, model.observe(rollouts, ctx))
        scored = signals.score(rollouts, {name: model}, ctx)
        if model.update != "before":
            metrics |= _named(name, model.observe(rollouts, ctx))
        rollouts = scored
    return rollouts, metrics


def begin_step(task: Any, ctx: Context, count: int) -> None:
    """Let a task that changes along prepare the step's problems."""
    if hasattr(task, "begin_step"):
        task.begin_step(ctx, count)


def end_step(task: Any, rollouts: Rollouts, ctx: Context) -> dict[str, float]:
    """Let such a task learn from the scored rollouts; what it reports."""
    return task.end_step(rollouts, ctx) if hasattr(task, "end_step") else {}


def attach(rollouts: Rollouts, models: Mapping[str, Any], ctx: Context) -> Rollouts:
    """Rollouts with what the models fill in."""
    for model in models.values():
        rollouts = model.attach(rollouts, ctx)
    return rollouts


def observe(rollouts: Rollouts, models: Mapping[str, Any], ctx: Context) -> dict[str, float]:
    """Let the models learn from a credited batch; what they report."""
    metrics = _costs(models)
    for name, model in models.items():
        if getattr(model, "online", False):
            metrics |= _named(name, model.observe(rollouts, ctx))
    return metrics


def save(rewards: Mapping[str, Any], models: Mapping[str, Any], folder: Path) -> None:
    """Write every model that learns into a checkpoint."""
    for place, model in _learners(rewards, models, folder):
        place.mkdir(parents=True)
        model.write(place, optimizer=True)


def load(rewards: Mapping[str, Any], models: Mapping[str, Any], folder: Path) -> None:
    """Inverse of `save`."""
    for place, model in _learners(rewards, models, folder):
        model.read(place)


def _learners(rewards: Mapping[str, Any], models: Mapping[str, Any], folder: Path) -> list[tuple[Path, Any]]:
    found = [
        (folder / FOLDER / kind / name, model)
        for kind, section in (("rewards", rewards), ("models", models))
        for name, model in section.items()
    ]
    return [
        (place, model) for place, model in found if getattr(model, "saved", getattr(model, "online", False))
    ]


def _costs(members: Mapping[str, Any]) -> dict[str, float]:
    """What sampling members drew in their last call (`cost`)."""
    metrics: dict[str, float] = {}
    for name, member in members.items():
        metrics |= _named(name, getattr(member, "cost", {}))
    return metrics


def _named(name: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"models/{name}/{key}": value for key, value in metrics.items()}
