"""A head on a policy's hidden states: reading, training, saving. What every supervised piece shares.

Enters: an engine and rollouts with targets on spans. Leaves: one output per prefix, or updated weights. The
optimiser covers the engine and the head; a step may leave the engine alone (`trunk=False`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.weights import (
    OPTIMIZER_FILE,
    check_shapes,
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
    write_tensors,
)
from guerdon.errors import DataError, RecipeError
from guerdon.models import folders
from guerdon.models.heads import Head
from guerdon.models.points import Points, reading_points

HEAD_FILE = "head.safetensors"

SpanLoss = Callable[[torch.Tensor, np.ndarray, np.ndarray], torch.Tensor]
"""(states (m, D), their prefixes int64 (m,), their rollouts int64 (m,)) -> sum of losses."""


class HeadModel:
    """An engine with a head.

    Args:
        engine: any trainable engine; it is trained in place (give a `clone(frozen=False)` to keep yours).
        outputs: numbers the head gives per prefix.
        hidden: widths of the head's inner layers.
        lr: of the engine's weights. head_lr: of the head's; default 10 lr.
        weight_decay, max_grad_norm: of AdamW, and the bound on the gradient.
        seed: of the head's weights and of the order of the data.
        trunk: whether training changes the engine; a frozen engine trains its head only.
        zero: start the head's last layer at 0. head: a module of the subclass's own instead.
        online: whether a training loop goes on training this model (see `observe`).
        update: "after" scores a batch before learning from it, "before" the other way round.
    """

    kind = ""
    name = "score"
    level = "step"
    version = "unsaved"

    def __init__(
        self,
        engine: Any,
        outputs: int,
        *,
        hidden: Sequence[int] = (),
        activation: str = "silu",
        lr: float = 1e-4,
        head_lr: float | None = None,
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
        seed: int = 0,
        trunk: bool = True,
        zero: bool = False,
        head: torch.nn.Module | None = None,
        online: bool = False,
        update: str = "after",
    ) -> None:
        if update not in ("after", "before"):
            raise RecipeError(f"update: got {update!r}, expected 'after' or 'before'")
        self.engine, self.online, self.update = engine, online, update
        own = Head(engine.width, outputs, hidden, activation, seed, zero) if head is None else head
        self.head: torch.nn.Module = own.to(engine.device)
        self.lr, self.head_lr = float(lr), float(10 * lr if head_lr is None else head_lr)
        self.max_grad_norm, self.weight_decay = max_grad_norm, weight_decay
        self.seed, self.trunk = seed, trunk and not engine.frozen
        self._optimizer: torch.optim.AdamW | None = None
        self.settings: dict[str, Any] = {
            "hidden": list(hidden),
            "activation": activation,
            "lr": self.lr,
            "head_lr": self.head_lr,
            "weight_decay": weight_decay,
            "max_grad_norm": max_grad_norm,
            "seed": seed,
            "trunk": trunk,
            "update": update,
        }

    # -- reading -----------------------------------------------------------------------------------

    def outputs(self, rollouts: Rollouts) -> np.ndarray:
        """What the head gives at every prefix, float32 (prefixes, K)."""
        return self.engine.prefix_states(rollouts, self.head)

    def points(self, rollouts: Rollouts, level: str | None = None) -> Points:
        """Where the spans of a level (default: the model's) are read."""
        return reading_points(self.engine, rollouts, level or self.level)

    # -- training ----------------------------------------------------------------------------------

    def learn(
        self, points: Points, marked: np.ndarray, loss: SpanLoss, count: float, trunk: bool | None = None
    ) -> dict[str, float]:
        """One optimiser step on `loss / count` over the marked prefixes.

        Args:
            points: of the rollouts to learn from.
            marked: bool (prefixes,), where the head is read.
            loss: sum over some of them; called per micro-batch.
            count: number of observations of the whole step.
            trunk: overrides the model's own setting for this step.

        Returns:
            "loss" and "grad_norm".

        Raises:
            TrainingError: a loss or gradient that is not finite; nothing has changed.
        """
        rollouts = points.rollouts
        assert rollouts.tokens is not None
        lengths = rollouts.lengths + 1
        starts = np.cumsum(lengths) - lengths

        def micro(stats: Any, rows: np.ndarray) -> tuple[torch.Tensor, Mapping[str, float]]:
            row = np.repeat(rows, lengths[rows])
            inside = np.arange(len(row)) - np.repeat(np.cumsum(lengths[rows]) - lengths[rows], lengths[rows])
            at = starts[row] + inside
            kept = np.flatnonzero(marked[at])
            read = stats.states[torch.from_numpy(kept).to(stats.states.device)]
            return loss(read, at[kept], row[kept]) / max(count, 1e-12), {}

        return self.engine.train_on_states(
            rollouts,
            micro,
            self._ready_optimizer(),
            trunk=self.trunk if trunk is None else trunk,
            max_grad_norm=self.max_grad_norm,
        )

    def fit(
        self,
        rollouts: Rollouts,
        targets: Signal,
        epochs: int = 1,
        batch: int = 64,
        trunk: bool | None = None,
        progress: Callable[[int, dict[str, float]], None] | None = None,
    ) -> list[float]:
        """Supervised training on spans with targets; NaN targets are left out.

        Args:
            rollouts: with a prompt, tokens or text, and the model's spans.
            targets: one per span of its level.
            epochs, batch: passes over the rollouts, and rollouts per optimiser step.
            trunk: False trains the head only (a first stage).
            progress: called after every step with its number (from 1) and its metrics.

        Returns:
            The loss of every step.

        Raises:
            DataError: targets at a level the model is not trained on, or none at all.
        """
        rollouts.check_signal(targets)
        known = ~np.isnan(self._rollout_targets(rollouts, targets))
        rows = np.flatnonzero(known)
        if len(rows) == 0:
            raise DataError(f"the targets {targets.name!r} are all missing: there is nothing to learn from")
        carried = rollouts.replace(signals={"_targets": targets})
        losses: list[float] = []
        rng = np.random.default_rng(self.seed)
        for _ in range(epochs):
            order = rng.permutation(rows)
            for start in range(0, len(order), batch):
                part = carried.select(order[start : start + batch])
                metrics = self.train_batch(part, part.signals["_targets"], trunk)
                losses.append(metrics["loss"])
                if progress is not None:
                    progress(len(losses), metrics)
        return losses

    def _rollout_targets(self, rollouts: Rollouts, targets: Signal) -> np.ndarray:
        """NaN where a rollout has no target at all, float64 (N,)."""
        return rollouts.reduce(targets, "rollout", "mean", skip_missing=True).values

    def train_batch(self, rollouts: Rollouts, targets: Signal, trunk: bool | None = None) -> dict[str, float]:
        """One optimiser step; what a target means is the subclass's."""
        raise TypeError(f"{type(self).__name__} must implement train_batch")

    def observe(self, rollouts: Rollouts, ctx: Context | None = None) -> dict[str, float]:
        """Learn from a batch of a training run; returns what is logged."""
        raise TypeError(f"{type(self).__name__} does not learn inside a run")

    def _ready_optimizer(self) -> torch.optim.AdamW:
        if self._optimizer is None:
            groups = [{"params": list(self.head.parameters()), "lr": self.head_lr}]
            if not self.engine.frozen:
                groups.append({"params": list(self.engine.parameters().values()), "lr": self.lr})
            self._optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=self.weight_decay)
        return self._optimizer

    # -- disk --------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write a folder that `guerdon.models.load` restores."""
        return folders.save(self, path)

    def write(self, folder: Path, optimizer: bool = False) -> None:
        """Fill an existing folder; with `optimizer`, so that training goes on bit for bit."""
        folders.write_config(self, folder)
        write_tensors(self.head.state_dict(), folder / HEAD_FILE)
        self.engine.save(folder / "trunk")
        if optimizer:
            state = {} if self._optimizer is None else optimizer_tensors(self._optimizer, self._names())
            write_tensors(state, folder / OPTIMIZER_FILE)

    def read(self, folder: Path) -> None:
        """Take over what `write` wrote.

        Raises:
            EngineError: missing, damaged or other weights.
        """
        state = read_tensors(folder / HEAD_FILE)
        check_shapes(state, self.head.state_dict(), str(folder / HEAD_FILE))
        self.head.load_state_dict(state)
        self.engine.load(folder / "trunk")
        self._optimizer = None
        if (folder / OPTIMIZER_FILE).is_file():
            restore_optimizer(self._ready_optimizer(), read_tensors(folder / OPTIMIZER_FILE), self._names())

    def _names(self) -> dict[torch.Tensor, str]:
        own: dict[torch.Tensor, str] = {p: f"head.{name}" for name, p in self.head.named_parameters()}
        return own | {p: f"trunk.{name}" for name, p in self.engine.parameters().items()}


def as_tensor(values: np.ndarray, device: Any) -> torch.Tensor:
    """float32 on a device."""
    return torch.as_tensor(values, dtype=torch.float32, device=device)
