"""`bench.step_classifier`: a small step classifier trained from scratch on planted errors, as a baseline.

    p(step is right) = s(w2 . relu(b1 + sum_f E[f] / sqrt(n)) + b2),   n features f of the step, hashed

Enters: solutions with the index of their first wrong step. Leaves: one probability per step. See
`guerdon.bench.step_features` for what it sees, `guerdon.tasks.planted_errors` for what it learns from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guerdon.bench.baselines import steps_of
from guerdon.bench.step_features import features
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, StoreError

if TYPE_CHECKING:
    from guerdon.tasks.planted_errors import Labelled

CONFIG_FILE, WEIGHTS_FILE = "step_classifier.json", "weights.safetensors"
_FORMAT = 1


class StepBag:
    """The classifier.

    Args:
        buckets: rows of the table of features; names are hashed into them.
        width: of a row, and of the hidden layer.
        seed: of the weights and of the order of training.
    """

    name = "bench.step_classifier"
    version = "untrained"

    def __init__(self, buckets: int = 1 << 15, width: int = 16, seed: int = 0) -> None:
        import torch

        if buckets < 1 or width < 1:
            raise ValueError(f"buckets and width must be at least 1, got {buckets}, {width}")
        self.settings = {"buckets": buckets, "width": width, "seed": seed}
        generator = torch.Generator().manual_seed(seed)
        self.weights: dict[str, torch.Tensor] = {
            "table": 0.1 * torch.randn(buckets, width, generator=generator),
            "hidden_bias": torch.zeros(width),
            "out": 0.3 * torch.randn(width, generator=generator),
            "out_bias": torch.zeros(1),
        }

    # -- scoring -----------------------------------------------------------------------------------

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        """P(right) of every step of text rollouts.

        Raises:
            DataError: no partition "step" over text.
        """
        import torch

        bags = [
            self._hashed(names) for problem, steps in _texts(rollouts) for names in features(problem, steps)
        ]
        with torch.no_grad():
            values = torch.sigmoid(self._logits(bags)) if bags else torch.zeros(0)
        return Signal(values.double().numpy(), "step", "step_classifier")

    def _hashed(self, names: Sequence[str]) -> np.ndarray:
        buckets = self.settings["buckets"]
        return np.array([int.from_bytes(_digest(name)) % buckets for name in names], np.int64)

    def _logits(self, bags: Sequence[np.ndarray]) -> Any:
        import torch
        import torch.nn.functional as F

        offsets = np.cumsum([0, *(len(bag) for bag in bags[:-1])])
        flat = torch.from_numpy(np.concatenate(bags))
        share = torch.tensor([1.0 / max(len(bag), 1) ** 0.5 for bag in bags])
        summed = F.embedding_bag(flat, self.weights["table"], torch.from_numpy(offsets), mode="sum")
        hidden = torch.relu(summed * share[:, None] + self.weights["hidden_bias"])
        return hidden @ self.weights["out"] + self.weights["out_bias"]

    # -- training ----------------------------------------------------------------------------------

    def fit(
        self,
        solutions: Sequence[Labelled],
        epochs: int = 4,
        batch: int = 256,
        lr: float = 3e-3,
        weight_decay: float = 1e-4,
        progress: Callable[[int], None] | None = None,
    ) -> list[float]:
        """Learn from labelled solutions: steps before the first wrong one are right, later ones unknown.

        Args:
            epochs, batch: passes over the steps, steps per update.
            progress: told of every epoch.

        Returns:
            Mean loss per epoch (binary cross-entropy, nats).

        Raises:
            DataError: nothing to learn from.
        """
        import torch
        import torch.nn.functional as F

        bags: list[np.ndarray] = []
        targets: list[float] = []
        for solution in solutions:
            known = len(solution.steps) if solution.label < 0 else solution.label + 1
            bags += map(self._hashed, features(solution.problem, solution.steps[:known]))
            targets += [float(k != solution.label) for k in range(known)]
        if not bags:
            raise DataError("no solutions to learn from")
        wanted = torch.tensor(targets)
        parameters = [tensor.requires_grad_() for tensor in self.weights.values()]
        optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
        rng = np.random.default_rng(self.settings["seed"])
        losses = []
        for epoch in range(epochs):
            order, total = rng.permutation(len(bags)), 0.0
            for start in range(0, len(order), batch):
                rows = order[start : start + batch]
                logits = self._logits([bags[i] for i in rows])
                loss = F.binary_cross_entropy_with_logits(logits, wanted[torch.from_numpy(rows)])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            losses.append(total / len(order))
            if progress is not None:
                progress(epoch + 1)
        self.weights = {name: tensor.detach() for name, tensor in self.weights.items()}
        self.version = self._fingerprint()
        return losses

    # -- disk --------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write a folder that `load` restores."""
        from guerdon.engines.weights import write_tensors
        from guerdon.store.atomic import atomic_folder

        with atomic_folder(Path(path), "the step classifier") as folder:
            config = {"format": _FORMAT, "settings": self.settings}
            (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
            write_tensors(self.weights, folder / WEIGHTS_FILE)
        return Path(path)

    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        for name in sorted(self.weights):
            digest.update(self.weights[name].numpy().tobytes())
        return f"{_FORMAT}-{digest.hexdigest()}"


def load(path: str) -> StepBag:
    """Reward `bench.step_classifier`: a classifier that `StepBag.save` wrote.

    Args:
        path: the folder.

    Raises:
        StoreError: no classifier there, or one of another format.
    """
    from guerdon.engines.weights import check_shapes, read_tensors

    folder = Path(path)
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if config["format"] != _FORMAT:
            raise StoreError(f"{folder} has format {config['format']}, this guerdon reads {_FORMAT}")
        model = StepBag(**config["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{folder} holds no step classifier ({error}); train one: python examples/step_classifier.py OUT"
        ) from error
    weights = read_tensors(folder / WEIGHTS_FILE)
    check_shapes(weights, model.weights, str(folder / WEIGHTS_FILE))
    model.weights = weights
    model.version = model._fingerprint()
    return model


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _texts(rollouts: Rollouts) -> list[tuple[str, list[str]]]:
    """(problem, steps) of every rollout."""
    prompts = rollouts.prompt or [""] * len(rollouts)
    asked = [p if isinstance(p, str) else " ".join(str(m.get("content")) for m in p or ()) for p in prompts]
    return list(zip(asked, steps_of(rollouts, "bench.step_classifier"), strict=True))
