"""Steering: a vector added to the hidden states of a policy while it reads and writes.

Enters: an engine and a direction. Leaves: the same engine, whose samples, log-probs and hidden states are
those of the steered policy until the block ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from guerdon.errors import EngineError


@contextmanager
def steer(engine: Any, vector: np.ndarray, coef: float = 1.0, layer: int = 1) -> Iterator[None]:
    """h_l <- h_l + coef v after the whole of block l, at every position, in cached decoding too.

    Args:
        engine: `LabEngine` or `HFEngine`.
        vector: v, (width,), of the space that `engine.hidden(rollouts, layer)` shows.
        coef: how far; 0 changes nothing.
        layer: 1 to depth - 1, counted as `hidden` counts (the last one is shown normalised there, so a
            direction found in it is not one of the stream); negative from the end.

    Raises:
        EngineError: no such layer, another width, a number that is not finite, an engine without hidden
            states.
    """
    blocks = getattr(engine, "blocks", None)
    if blocks is None:
        raise EngineError(f"{type(engine).__name__} cannot be steered: it shows no blocks (lab and hf do)")
    depth = len(blocks)
    at = layer + depth + 1 if layer < 0 else layer
    if not 1 <= at < depth:
        raise EngineError(f"steering of layer {layer}: this model can be steered in 1 to {depth - 1}")
    move = coef * np.asarray(vector, np.float64)
    if move.shape != (engine.width,) or not np.isfinite(move).all():
        raise EngineError(
            f"steering takes {engine.width} finite numbers, got shape {move.shape}"
            + ("" if np.isfinite(move).all() else " with numbers that are not finite")
        )
    shift = torch.from_numpy(move).to(engine.device, torch.float32)
    with engine.shifted(at, shift):
        yield
