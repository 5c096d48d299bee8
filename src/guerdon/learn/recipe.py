"""Recipe: how to learn from signals, as a frozen value that YAML, commands and code share.

Enters: YAML or plain data. Leaves: a Recipe whose every field has its type and range; `validate` checks the
registered names and their parameters too. Sections that name something registered ({use: grpo, ...}) stay
plain mappings, built by `guerdon.registry.build` when training begins; a bare name (`credit: grpo`) is
short for {use: grpo}.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from guerdon import registry
from guerdon.errors import RecipeError
from guerdon.learn.branching import Branch
from guerdon.learn.recipe_fields import Section, replace_at, setting
from guerdon.learn.recipe_names import Spec, check_name, check_parameters, read_named, read_spec, read_specs
from guerdon.store import yaml_text

_DEVICE = re.compile(r"(auto|cpu|mps|cuda(:\d+)?)\Z")


@dataclass(frozen=True, kw_only=True)
class Sampler(Section):
    """How rollouts are drawn in every step.

    Attributes:
        group: rollouts per prompt.
        prompts: prompts per step.
        max_new_tokens: longest completion in tokens.
        temperature: of the sampling distribution; 0 is greedy.
        top_p, top_k: nucleus and top-k cuts; 1 and 0 are off.
        stop: texts that end a completion.
        turns: most turns of an episode, where the task is a world; None takes the world's own limit.
        branch: grow trees with `group` leaves per prompt; None samples every rollout from its start.
    """

    where: ClassVar[str] = "sampler"
    group: int = setting(8, low=1)
    prompts: int = setting(16, low=1)
    max_new_tokens: int = setting(64, low=1)
    temperature: float = setting(1.0, low=0)
    top_p: float = setting(1.0, above=0, high=1)
    top_k: int = setting(0, low=0)
    stop: tuple[str, ...] = ()
    turns: int | None = setting(None, low=1)
    branch: Branch | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.branch is not None:
            self.branch.trunks(self.group)


@dataclass(frozen=True, kw_only=True)
class Optim(Section):
    """AdamW and its schedule.

    Attributes:
        lr: peak learning rate.
        warmup_steps: updates of linear warm-up.
        betas, weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to this norm.
        schedule: after the warm-up: constant, or down to 0 at the last step.
    """

    where: ClassVar[str] = "optim"
    lr: float = setting(3e-4, above=0)
    warmup_steps: int = setting(0, low=0)
    betas: tuple[float, float] = setting((0.9, 0.95), low=0, high=1)
    weight_decay: float = setting(0.0, low=0)
    max_grad_norm: float = setting(1.0, above=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"


@dataclass(frozen=True, kw_only=True)
class Eval(Section):
    """When and on what the policy is evaluated.

    Attributes:
        every: steps between evaluations, besides the first and the last step; 0 never evaluates.
        problems: how many problems of the split.
        k: completions per problem, for avg@k and pass@k.
        temperature: of the sampling; None is greedy for k = 1, else 1.
        split: which problems.
        vote: a reward whose scores weigh the votes of the k completions of a problem, beside the plain
            majority.
    """

    where: ClassVar[str] = "eval"
    every: int = setting(20, low=0)
    problems: int = setting(200, low=1)
    k: int = setting(1, low=1)
    temperature: float | None = setting(None, low=0)
    split: Literal["train", "valid", "test"] = "valid"
    vote: str | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Section):
    """When the state is saved: every so many steps and at the end, keeping the newest few."""

    where: ClassVar[str] = "checkpoint"
    every: int = setting(10, low=1)
    keep: int = setting(2, low=1)


@dataclass(frozen=True, kw_only=True)
class Recipe(Section):
    """How to learn from signals.

    Attributes:
        engine, task, credit, objective: {use: name, ...parameters}.
        sampler, optim, eval, checkpoint: see there.
        rewards: signal name -> {use: ...}; "task.outcome" and "task.steps" ask the task itself.
        shape: signal name -> transforms applied in order.
        models: name -> {use: critic, ...}: models that attach columns and signals before credit and learn
            along; a reward such as {use: models.implicit} learns along where it stands.
        epochs, minibatches: passes over the rollouts of a step, and optimizer updates per pass.
        micro_rollouts: rollouts per forward pass; None lets the engine choose.
        truncated: a rollout cut by a limit keeps its advantage, is masked out of the loss, or is scored 0.
        filters: what drops rollouts before the update, applied in order.
        losses: further losses in the optimiser steps of the objective.
        steps: length of the run. seed: of everything random.
        save_rollouts_every: steps between saved rollouts; 0 saves none.
        device: auto, cpu, mps, cuda or cuda:N. out: the run's folder.

    Raises:
        RecipeError: a field with a wrong type or out of range; its full path is named.
    """

    engine: Spec
    task: Spec
    sampler: Sampler = field(default_factory=Sampler)
    rewards: dict[str, Spec] = field(default_factory=lambda: {"outcome": {"use": "task.outcome"}})
    shape: dict[str, list[Spec]] = field(default_factory=dict)
    models: dict[str, Spec] = field(default_factory=dict)
    credit: Spec = field(default_factory=lambda: {"use": "grpo"})
    objective: Spec = field(default_factory=lambda: {"use": "ppo"})
    optim: Optim = field(default_factory=Optim)
    epochs: int = setting(1, low=1)
    minibatches: int = setting(1, low=1)
    micro_rollouts: int | None = setting(None, low=1)
    truncated: Literal["keep", "mask", "zero"] = "keep"
    filters: list[Spec] = field(default_factory=list)
    losses: list[Spec] = field(default_factory=list)
    steps: int = setting(100, low=1)
    seed: int = setting(0, low=0)
    eval: Eval = field(default_factory=Eval)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    save_rollouts_every: int = setting(10, low=0)
    device: str = "auto"
    out: str | None = None

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        for name in ("engine", "task", "credit", "objective"):
            put(name, read_spec(getattr(self, name), name))
        put("rewards", {n: read_spec(s, f"rewards.{n}") for n, s in read_named(self.rewards, "rewards")})
        put("shape", {n: read_specs(s, f"shape.{n}") for n, s in read_named(self.shape, "shape")})
        put("models", {n: read_spec(s, f"models.{n}") for n, s in read_named(self.models, "models")})
        for name in ("filters", "losses"):
            put(name, read_specs(getattr(self, name), name))
        super().__post_init__()
        if not self.rewards:
            raise RecipeError("rewards: at least one reward is needed, e.g. rewards: {outcome: task.outcome}")
        for name in self.shape:
            if name not in self.rewards:
                raise RecipeError(
                    f"shape.{name}: no reward of that name{registry.nearest(name, self.rewards)}"
                )
        if self.eval.vote is not None and self.eval.vote not in self.rewards:
            raise RecipeError(
                f"eval.vote: no reward of that name{registry.nearest(self.eval.vote, self.rewards)}"
            )
        rollouts = self.sampler.prompts * self.sampler.group
        if self.minibatches > rollouts:
            raise RecipeError(
                f"minibatches: {self.minibatches} cannot be cut from {rollouts} rollouts per step"
            )
        if not _DEVICE.match(self.device):
            raise RecipeError(f"device: expected auto, cpu, mps, cuda or cuda:N, got {self.device!r}")

    # -- plain data and YAML -----------------------------------------------------------------------

    @classmethod
    def from_dict(cls, data: Any) -> Recipe:
        """A recipe from plain data (what `to_dict` gives).

        Raises:
            RecipeError: an unknown or missing field, a wrong type, a value out of range.
        """
        return cls.from_mapping(data)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Recipe:
        """Read a recipe file.

        Raises:
            RecipeError: no such file, broken YAML (with line and column), or as `from_dict`.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            beside = {p.name for p in path.parent.glob("*.y*ml")} if path.parent.is_dir() else set()
            raise RecipeError(f"{path}: no such recipe file{registry.nearest(path.name, beside)}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path}: cannot be read as a recipe: {error}") from error
        data = yaml_text.load(text, str(path))
        try:
            return cls.from_mapping({} if data is None else data)
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from error

    def to_yaml(self, path: str | Path | None = None) -> str:
        """The recipe as YAML, written to `path` as well if given. Reading it gives back an equal recipe."""
        text = yaml_text.dump(self.to_dict())
        if path is not None:
            from guerdon.store.atomic import write_bytes

            write_bytes(Path(path), text.encode(), "the recipe")
        return text

    def override(self, assignments: Sequence[str]) -> Recipe:
        """The recipe with fields replaced.

        Args:
            assignments: "dotted.path=value" with values typed as in YAML, e.g. "optim.lr=1e-4",
                "objective.clip=[0.2, 0.28]", "shape.process.0.eta=0.5", "credit=rloo".

        Raises:
            RecipeError: a path or value that does not fit; nothing is changed then.
        """
        data: Any = self.to_dict()
        for text in assignments:
            key, value = yaml_text.parse_assignment(text)
            data = replace_at(data, key.split("."), value, key)
        return Recipe.from_mapping(data)

    def fingerprint(self) -> str:
        """16 hexadecimal digits that stay the same as long as the recipe does; `out` does not count."""
        data = {name: value for name, value in self.to_dict().items() if name != "out"}
        canonical = json.dumps(_canonical(data), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()

    # -- names and parameters ----------------------------------------------------------------------

    def validate(self) -> Recipe:
        """Check every registered name and its parameters without building a model; returns the recipe.

        All names are checked before the first factory is imported, so that a misspelt one shows at once.

        Raises:
            RecipeError: an unknown name or parameter (the nearest valid one is offered), a parameter of
                the wrong type, or a factory whose packages are not installed.
        """
        specs = list(self._named_sections())
        for kind, where, spec in specs:
            check_name(kind, where, spec)
        for kind, where, spec in specs:
            check_parameters(kind, where, spec)
        return self

    def _named_sections(self) -> Iterator[tuple[str, str, Spec]]:
        """Kind, path and content of every section that names something registered."""
        yield "task", "task", self.task
        for name, spec in self.rewards.items():
            yield "reward", f"rewards.{name}", spec
        for name, chain in self.shape.items():
            for i, spec in enumerate(chain):
                yield "shape", f"shape.{name}.{i}", spec
        for name, spec in self.models.items():
            yield "model", f"models.{name}", spec
        yield "credit", "credit", self.credit
        for i, spec in enumerate(self.filters):
            yield "filter", f"filters.{i}", spec
        for i, spec in enumerate(self.losses):
            yield "loss", f"losses.{i}", spec
        yield "objective", "objective", self.objective
        yield "engine", "engine", self.engine


def _canonical(value: Any) -> Any:
    """1.0 and 1 are the same number in a recipe."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
