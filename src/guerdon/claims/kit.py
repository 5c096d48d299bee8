"""What several experiments share: tabular policies trained with a credit method, tuned alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.learn.tabular import TabularPolicy
from guerdon.tasks.mdp import MDP

Credit = Callable[..., Signal]
Prepare = Callable[[Rollouts, TabularPolicy, int], Rollouts]
TUNING_SEEDS = (1001, 1002, 1003)
"""Seeds for choosing a step size; no claim is measured on them."""
RATES = (80.0, 160.0, 320.0, 640.0, 1280.0)
"""Step sizes of updates that are means over tokens of small batches; every arm chooses from them."""

CAP, CAPPED_RATES = 0.5, (80.0, 320.0, 1280.0, 5120.0)
"""Where hasty steps lose whole problems: most that a logit moves per update, and step sizes with it."""


def learn(
    mdps: Sequence[MDP],
    credit: Credit,
    steps: int,
    group: int,
    lr: float,
    seed: int,
    prepare: Prepare | None = None,
    sample: Callable[[TabularPolicy, int, int], Rollouts] | None = None,
    policy: TabularPolicy | None = None,
    measure: Callable[[TabularPolicy], float] | None = None,
    tied: bool = False,
    adam: bool = False,
    cap: float | None = None,
) -> tuple[np.ndarray, TabularPolicy]:
    """Policy gradient with a credit method on some worlds.

    Args:
        credit: rollouts -> one advantage per token.
        steps, group, lr: updates, episodes per world and update, step size.
        prepare: adds signals to the sampled rollouts, or drops some: (rollouts, policy, step) -> rollouts.
            Where none is left, nothing is learned.
        sample: in place of `policy.sample(group, seed)`: (policy, group, seed) -> rollouts.
        policy: where to start; default uniform.
        measure: what the curve shows; default the exact success rate, averaged over worlds.
        tied: worlds number states alike and share one policy; their gradients are added.
        adam: whether steps are Adam's, of the size `lr`, instead of `lr` times the gradient.
        cap: most that a logit moves per update. What ratio clipping does for a model: without it the step
            sizes that learn fastest make a table deterministic within a few updates, right or wrong.

    Returns:
        the measure before every update and after the last, float64 (steps + 1,), and the policy.
    """
    policy = TabularPolicy(mdps) if policy is None else policy
    measure = measure or _success
    curve, optimiser = [measure(policy)], Adam()
    for step in range(steps):
        rollouts = (sample or _sample)(policy, group, seed * 100_003 + step)
        if prepare is not None:
            rollouts = prepare(rollouts, policy, step)
        if len(rollouts):
            gradient = policy.gradient(rollouts, credit(rollouts))
            gradient = _added(gradient, len(policy.mdps)) if tied else gradient
            move = lr * (optimiser(gradient) if adam else gradient)
            policy.theta += move if cap is None else move.clip(-cap, cap)
        curve.append(measure(policy))
    return np.array(curve), policy


class Adam:
    """Steps m / (sqrt(v) + 1e-12), both running means (0.9, 0.999) without their bias (arXiv 1412.6980)."""

    def __init__(self) -> None:
        self.first = self.second = np.zeros(())
        self.steps = 0

    def __call__(self, gradient: np.ndarray) -> np.ndarray:
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        scale = np.sqrt(self.second / (1 - 0.999**self.steps)) + 1e-12
        return self.first / (1 - 0.9**self.steps) / scale


def _success(policy: TabularPolicy) -> float:
    return float(policy.success_rate().mean())


def _added(gradient: np.ndarray, worlds: int) -> np.ndarray:
    """The sum over worlds, for each of them."""
    return np.tile(gradient.reshape(worlds, -1, gradient.shape[1]).sum(axis=0), (worlds, 1))


def _sample(policy: TabularPolicy, group: int, seed: int) -> Rollouts:
    return policy.sample(group, seed)


def best_rate(
    score: Callable[[float, int], float], rates: Sequence[float], seeds: Sequence[int] = TUNING_SEEDS
) -> float:
    """The step size with the best mean score over tuning seeds; every arm chooses from the same list."""
    return max(rates, key=lambda rate: float(np.mean([score(rate, seed) for seed in seeds])))


def tuned(run: Callable[[str, float, int], Any], rates: Sequence[float]) -> Callable[[str, int], Any]:
    """(arm, seed) -> run(arm, best rate of that arm, seed); each arm is tuned once per process.

    Args:
        run: (arm, rate, seed) -> curve whose mean is what counts.
        rates: step sizes to choose from.
    """

    @lru_cache
    def rate(arm: str) -> float:
        return best_rate(lambda value, seed: float(np.mean(run(arm, value, seed))), rates)

    return lambda arm, seed: run(arm, rate(arm), seed)


def measured(curve: np.ndarray, **more: Any) -> dict[str, Any]:
    """Mean of a success curve in per cent (its normalised area), with the curve for the plot."""
    return {"value": 100 * float(np.mean(curve)), "curve": [round(float(v), 5) for v in curve], **more}


def with_signals(rollouts: Rollouts, **signals: tuple[str, np.ndarray]) -> Rollouts:
    """Rollouts carrying more signals, each given as (level, values)."""
    made: Mapping[str, Signal] = {
        k: Signal(np.asarray(v, np.float64), level, k) for k, (level, v) in signals.items()
    }
    return rollouts.replace(signals=made)


def at_steps(policy: TabularPolicy, rollouts: Rollouts, table: Callable[[MDP], np.ndarray]) -> np.ndarray:
    """An (S, A) table of each world, read at every sampled step, float64 (steps,)."""
    every = np.full(policy.theta.shape, np.nan)
    for at, mdp in enumerate(policy.mdps):
        every[policy.first[at] : policy.first[at + 1], : mdp.n_actions] = table(mdp)
    return every[policy.visited(rollouts)]
