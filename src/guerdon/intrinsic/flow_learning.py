"""A flow field that learns along with a policy: made when first asked, refreshed on correct rollouts, saved.

Enters: an engine and rollouts. Leaves: deviations per token, and a folder with weights and Adam's state.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guerdon.data.rollouts import Rollouts
from guerdon.engines.weights import (
    MODEL_FILE,
    OPTIMIZER_FILE,
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
    write_tensors,
)
from guerdon.errors import StoreError
from guerdon.intrinsic.flow import FlowField, deviation, flow_loss

SHAPE_FILE = "field.json"


def pairs(engine: Any, rollouts: Rollouts, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States h_t, the states h_{t-1} before them, and the flat index of each token t >= 1."""
    states, offsets = engine.hidden(rollouts, layer), rollouts.offsets("token")
    later = np.ones(len(states), bool)
    later[offsets[:-1][np.diff(offsets) > 0]] = False
    at = np.flatnonzero(later)
    return states[at], states[at - 1], at


def deviations(
    field: FlowField,
    engine: Any,
    rollouts: Rollouts,
    layers: Sequence[int],
    times: Sequence[float],
    seed: int,
) -> np.ndarray:
    """Deviation of every token, averaged over layers, float64 (tokens,); NaN for the first of a rollout."""
    total = np.full(rollouts.count("token"), np.nan)
    for i, layer in enumerate(layers):
        h, condition, at = pairs(engine, rollouts, layer)
        found = deviation(field, torch.from_numpy(h), torch.from_numpy(condition), times, seed, layer=i)
        total[at] = np.nan_to_num(total[at]) + found.numpy() / len(layers)
    return total


def train_on_correct(
    field: FlowField,
    engine: Any,
    rollouts: Rollouts,
    correct: np.ndarray,
    layers: Sequence[int] = (-1,),
    steps: int = 1,
    lr: float = 1e-4,
    seed: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
) -> float:
    """Steps of flow matching on the states of correct rollouts only; returns the last loss, NaN for none.

    Args:
        correct: bool (rollouts,). seed: of times and noise.
        optimizer: over the field's weights; default: a fresh Adam.
    """
    kept = rollouts.select(np.asarray(correct, bool))
    if not len(kept) or not kept.lengths.max(initial=0) > 1:
        return float("nan")
    optimizer = optimizer or torch.optim.Adam(field.parameters(), lr)
    generator = torch.Generator().manual_seed(seed)
    data = [tuple(map(torch.from_numpy, pairs(engine, kept, layer)[:2])) for layer in layers]
    last = float("nan")
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.stack([flow_loss(field, h, c, generator, i) for i, (h, c) in enumerate(data)]).mean()
        loss.backward()
        optimizer.step()
        last = float(loss.detach())
    return last


class LearntField:
    """A `FlowField` with its optimiser.

    Args:
        hidden, blocks, layers: of the field. lr: of Adam. seed: of its first weights.
    """

    def __init__(self, hidden: int = 128, blocks: int = 6, layers: int = 1, lr: float = 1e-4, seed: int = 0):
        self.shape = {"hidden": hidden, "blocks": blocks, "layers": layers}
        self.lr, self.seed, self.batches = lr, seed, 0
        self.field: FlowField | None = None
        self._optimizer: torch.optim.Adam | None = None

    def of(self, width: int) -> FlowField:
        """The field, made for states of this width where there is none yet."""
        if self.field is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                self.field = FlowField(width, **self.shape)
            self._optimizer = torch.optim.Adam(self.field.parameters(), self.lr)
        return self.field

    def learn(
        self,
        engine: Any,
        rollouts: Rollouts,
        correct: np.ndarray,
        layers: Sequence[int],
        steps: int,
        seed: int,
    ) -> dict[str, float]:
        """Refresh it on a batch's correct rollouts; nothing is reported where there is none."""
        field = self.of(engine.width)
        loss = train_on_correct(
            field, engine, rollouts, correct, layers, steps, self.lr, seed, self._optimizer
        )
        self.batches += 1
        return {} if np.isnan(loss) else {"loss": loss}

    def write(self, folder: Path) -> None:
        """Weights, Adam's state, shape and number of batches; the shape alone before the first call."""
        width = None if self.field is None else self.field.inside.in_features
        about = {"width": width, "batches": self.batches, **self.shape}
        (folder / SHAPE_FILE).write_text(json.dumps(about), encoding="utf-8")
        if self.field is not None and self._optimizer is not None:
            names: dict[torch.Tensor, str] = {p: name for name, p in self.field.named_parameters()}
            write_tensors(self.field.state_dict(), folder / MODEL_FILE)
            write_tensors(optimizer_tensors(self._optimizer, names), folder / OPTIMIZER_FILE)

    def read(self, folder: Path) -> None:
        """Inverse of `write`.

        Raises:
            StoreError: no field there.
        """
        try:
            about = json.loads((folder / SHAPE_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{folder} holds no flow field ({SHAPE_FILE}): {error}") from error
        self.batches = int(about.pop("batches"))
        width, self.field = about.pop("width"), None
        self.shape = {name: int(value) for name, value in about.items()}
        if width is not None:
            field = self.of(int(width))
            field.load_state_dict(read_tensors(folder / MODEL_FILE))
            names: dict[torch.Tensor, str] = {p: name for name, p in field.named_parameters()}
            assert self._optimizer is not None
            restore_optimizer(self._optimizer, read_tensors(folder / OPTIMIZER_FILE), names)
