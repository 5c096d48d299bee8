"""Exploration v.s. Exploitation: clipping, entropy and spurious reward (arXiv 2512.16912)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from guerdon.audit.noise import MajorityReward, RandomReward
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.systems.catalogue import system
from guerdon.verify.extract import last_boxed

KINDS = ("random", "constant", "format", "majority", "majority_wrong", "length")


def _boxed(text: str) -> str | None:
    found = last_boxed(text)
    return None if found is None else found.strip() or None


def _of_text(value: Callable[[str], float], name: str) -> Callable[..., Signal]:
    def reward(rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        values = np.array([value(rollouts.text(i)) for i in range(len(rollouts))], np.float64)
        return Signal(values, "rollout", name)

    return reward


@system(
    "spurious-reward-entropy",
    title="Exploration v.s. Exploitation: Rethinking RLVR through Clipping, Entropy, and Spurious Reward",
    arxiv="2512.16912",
    family="audit",
    kind="reward",
)
def spurious_reward_entropy(
    kind: str = "random", p: float = 0.5, seed: int = 0, answer: Callable[[str], Any] = _boxed
) -> Callable[..., Signal]:
    """A reward that knows nothing of the truth, to see what training does with it.

    random: r ~ Bernoulli(p); constant: 1; format: an answer can be found; majority: the answer is the group's
    most frequent one; majority_wrong: likewise, and wrong; length: min(1, characters / 1000).

    What random rewards do to a group (`audit.noise`): damage = (g n_i + f n_c) / G with mean n_c n_i / G and
    variance n_c n_i / (4 G) at p = 1/2; entropy moves by -eta Cov(log pi, A) to first order; `clip_report`
    says what clipping took away. Clipping acts only with several epochs or minibatches per batch.

    Args:
        answer: completion -> answer or None; default the last boxed one.

    Raises:
        RecipeError: an unknown kind.

    Reference: arXiv 2512.16912.
    """
    if kind not in KINDS:
        raise RecipeError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "random":
        return RandomReward(p, seed)
    if kind in ("majority", "majority_wrong"):
        return MajorityReward(answer, wrong_only=kind == "majority_wrong")
    values: dict[str, Callable[[str], float]] = {
        "constant": lambda text: 1.0,
        "format": lambda text: float(answer(text) is not None),
        "length": lambda text: min(1.0, len(text) / 1000),
    }
    return _of_text(values[kind], kind)
