"""Learning-rate schedules: functions of the step."""

from __future__ import annotations

import math
from typing import Any


def learning_rate(optim: Any, step: int, steps: int) -> float:
    """Rate of update `step` (from 0) out of `steps`.

    Linear warm-up over `optim.warmup_steps`, then "constant", "linear" to 0, or "cosine" to 0.

    Args:
        optim: a recipe's `optim` section (lr, warmup_steps, schedule).
    """
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    left = 1.0 - (step - optim.warmup_steps) / max(steps - optim.warmup_steps, 1)
    if optim.schedule == "linear":
        return optim.lr * left
    if optim.schedule == "cosine":
        return optim.lr * 0.5 * (1.0 - math.cos(math.pi * left))
    return optim.lr
