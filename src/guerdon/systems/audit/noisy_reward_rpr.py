"""The Climb Carves Wisdom Deeper Than the Summit: noisy rewards in learning to reason (arXiv 2505.22653)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from guerdon.audit.behaviours import calibrated, pattern_score
from guerdon.audit.noise import Flipped
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.registry import build
from guerdon.systems.catalogue import system

MODES = ("flip", "pattern", "warmup", "wrong", "calibrate")


class NoisyReward:
    """See `noisy_reward_rpr`."""

    name, version = "noisy-reward-rpr", "1"

    def __init__(
        self,
        reward: Any,
        p: float,
        mode: str,
        warmup: int,
        threshold: float,
        alpha: float,
        each: str,
        seed: int,
    ) -> None:
        self.mode, self.warmup, self.threshold, self.alpha = mode, warmup, threshold, alpha
        self.reward = Flipped(reward, p, each, seed=seed) if p else reward
        self.version = (
            f"1-{p}-{mode}-{warmup}-{threshold}-{alpha}-{each}-{seed}-{getattr(reward, 'version', '')}"
        )

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        patterns = np.array([pattern_score(rollouts.text(i)) for i in range(len(rollouts))])
        if self.mode == "pattern" or (self.mode == "warmup" and (ctx.step if ctx else 0) < self.warmup):
            return Signal(patterns, "rollout", self.name)
        signal = self.reward(rollouts, ctx)
        values = signal.values
        if self.mode == "wrong":
            values = np.where(values == 0.0, patterns, values)
        elif self.mode == "calibrate":
            lifted = [
                calibrated(v, p, self.threshold, self.alpha) for v, p in zip(values, patterns, strict=True)
            ]
            values = np.where(np.isnan(values), np.nan, lifted)
        return signal.with_values(values)


@system(
    "noisy-reward-rpr",
    title="The Climb Carves Wisdom Deeper Than the Summit: On the Noisy Rewards in Learning to Reason",
    arxiv="2505.22653",
    family="audit",
    kind="reward",
)
def noisy_reward_rpr(
    reward: Mapping[str, Any] | Any = None,
    p: float = 0.0,
    mode: str = "flip",
    warmup: int = 20,
    threshold: float = 0.5,
    alpha: float = 0.1,
    each: str = "group",
    seed: int = 0,
) -> NoisyReward:
    """A reward told wrongly with probability p, or replaced or mended by counting reasoning phrases.

        r' = 1 - r for all samples of a group with probability p (E[r'|right] - E[r'|wrong] = 1 - 2p)
        RPR = max(0, min(1, distinct phrases / 20) - share of repeated 20-grams)

    Modes: "flip" the flipped reward; "pattern" RPR alone; "warmup" RPR for the first `warmup` steps; "wrong"
    RPR where the reward is 0; "calibrate" for scores in [0, 1]: min(1, s + alpha RPR) where s < threshold.

    Args:
        reward: a Reward, or `{use: name, ...}`; not needed with mode "pattern".
        p, each, seed: see `audit.noise.Flipped`. each="sample" flips single samples, for comparison.

    Raises:
        RecipeError: an unknown mode, or no reward where one is needed.

    Reference: Lv et al., arXiv 2505.22653. Its released phrase list is replaced by ours of equal size.
    """
    if mode not in MODES:
        raise RecipeError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if reward is None and mode != "pattern":
        raise RecipeError(f"mode {mode!r} needs a reward: reward={{use: NAME}}")
    made = build("reward", reward, "reward") if isinstance(reward, Mapping) else reward
    return NoisyReward(made, p, mode, warmup, threshold, alpha, each, seed)
