"""Hidden states of prefixes: what a value, a classifier or any other head reads from a policy.

Enters: an engine, contexts and completions, a head. Leaves: one row per *prefix* of every completion (0, 1,
..., L tokens read), without gradients for scoring and with them for training. A value before a token and a
score after a step are both prefixes, and an empty completion has one: its prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from guerdon.data.ragged import Ragged
from guerdon.engines.optimize import optimizer_step
from guerdon.engines.policy import Contexts
from guerdon.engines.protocol import PrefixStates, StatesLossFn

if TYPE_CHECKING:
    from guerdon.engines.torch_engine import TorchEngine

Head = Callable[[torch.Tensor], torch.Tensor]


def project(engine: TorchEngine, contexts: Contexts, tokens: Ragged, head: Head | None = None) -> np.ndarray:
    """head(state) of every prefix, float32 (sum of L + 1, K), without gradients.

    Args:
        head: states (M, D) to (M, K); default: the states themselves.
    """
    prefixes = with_place_behind(tokens)
    out: np.ndarray | None = None
    with torch.no_grad():
        for rows in engine._batches(contexts, prefixes):
            states = _states(engine, contexts, prefixes, rows)
            part = states if head is None else head(states)
            if out is None:
                out = np.empty((prefixes.total, part.shape[1]), np.float32)
            out[prefixes.positions(rows)] = part.float().cpu().numpy()
    return np.empty((0, engine.width), np.float32) if out is None else out


def states_step(
    engine: TorchEngine,
    contexts: Contexts,
    tokens: Ragged,
    loss_fn: StatesLossFn,
    optimizer: torch.optim.Optimizer,
    trunk: bool,
    micro_rollouts: int | None,
    max_grad_norm: float | None,
) -> dict[str, float]:
    """See `TorchEngine.train_on_states`."""
    prefixes = with_place_behind(tokens)

    def forward(rows: np.ndarray) -> PrefixStates:
        with torch.set_grad_enabled(trunk):
            return PrefixStates(_states(engine, contexts, prefixes, rows))

    batches = engine._batches(contexts, prefixes, micro_rollouts)
    return optimizer_step(optimizer, batches, forward, loss_fn, prefixes, max_grad_norm)


def with_place_behind(tokens: Ragged) -> Ragged:
    """Rows with one more (never read) place at their end: each place is predicted by one prefix."""
    longer = Ragged.from_lengths(
        np.zeros(tokens.total + len(tokens), tokens.values.dtype), tokens.lengths + 1
    )
    inside = np.ones(longer.total, bool)
    inside[longer.offsets[1:] - 1] = False
    longer.values[inside] = tokens.values
    return longer


def _states(engine: TorchEngine, contexts: Contexts, prefixes: Ragged, rows: np.ndarray) -> torch.Tensor:
    with engine.precision():
        return engine.states([contexts[i] for i in rows], prefixes.select(rows)).float()
