"""Answers as arms: a softmax policy over kinds of answers, trained with a credit method.

    pi(a | prompt) = softmax(phi(prompt) theta)_a

An answer is one token, the number of its kind; what it is worth, how long it is and what a judge says of it
are signals that the experiment draws. Exact expectations under the policy are what is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from guerdon.claims.kit import TUNING_SEEDS
from guerdon.context import Context
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal

Respond = Callable[[np.ndarray, np.ndarray, np.random.Generator], dict[str, Any]]
Measure = Callable[[np.ndarray], Any]


def chances(theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """pi, float64 (prompts, arms)."""
    logits = phi @ theta
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def answers(group: np.ndarray, arm: np.ndarray, **columns: Any) -> Rollouts:
    """One rollout per answer; arrays become rollout signals, lists are columns as they are."""
    signals = {
        name: Signal(np.asarray(values, np.float64), "rollout", name)
        for name, values in columns.items()
        if isinstance(values, np.ndarray)
    }
    rest: dict[str, Any] = {k: v for k, v in columns.items() if isinstance(v, list)}
    tokens = Ragged.from_lengths(arm.astype(np.int32), np.ones(len(arm), np.int64))
    return Rollouts(group=group, tokens=tokens, signals=signals, **rest)


def train(
    start: np.ndarray,
    phi: np.ndarray,
    respond: Respond,
    credit: Callable[..., Signal],
    steps: int,
    group: int,
    lr: float,
    seed: int,
    measure: Measure,
    kl: float = 0.0,
) -> np.ndarray:
    """Policy gradient: theta += lr mean_i A_i d log pi(a_i | prompt_i).

    Args:
        start: theta at first, (features, arms). phi: (prompts, features).
        respond: (prompt, arm, rng) -> columns of `answers`, arrays of one entry per answer.
        credit: (rollouts, signals, context) -> advantages, one per answer.
        steps, group, lr: updates, answers per prompt, step size.
        measure: pi (prompts, arms) -> number or numbers of the curve.
        kl: price of KL(pi || first pi), whose exact gradient is added.

    Returns:
        the measure before every update and after the last.
    """
    theta, rng = start.copy(), np.random.default_rng([seed, 77])
    first = chances(start, phi)
    prompt = np.repeat(np.arange(len(phi)), group)
    curve = []
    for step in range(steps):
        pi = chances(theta, phi)
        curve.append(measure(pi))
        drawn = rng.random(len(prompt))[:, None]
        arm = np.minimum((pi.cumsum(axis=1)[prompt] < drawn).sum(axis=1), pi.shape[1] - 1)
        batch = answers(prompt, arm, **respond(prompt, arm, rng))
        advantage = credit(batch, None, Context(progress=step / steps, step=step)).values
        push = -advantage[:, None] * pi[prompt]
        push[np.arange(len(arm)), arm] += advantage
        gap = np.log(np.maximum(pi, 1e-300)) - np.log(first)
        pull = pi * (gap - (pi * gap).sum(axis=1, keepdims=True))
        theta += lr * (phi[prompt].T @ push / len(arm) - kl * phi.T @ pull / len(phi))
    return np.array([*curve, measure(chances(theta, phi))])


def tuned(
    run: Callable[[str, Any, int], np.ndarray],
    options: Sequence[Hashable],
    score: Callable[[np.ndarray], float],
) -> Callable[[str, int], np.ndarray]:
    """(arm, seed) -> run(arm, that arm's best option, seed); options are judged on seeds of their own.

    Args:
        score: curve -> number, higher is better: the claim's own metric.
    """

    @lru_cache
    def best(arm: str) -> Any:
        return max(options, key=lambda o: float(np.mean([score(run(arm, o, s)) for s in TUNING_SEEDS])))

    return lambda arm, seed: run(arm, best(arm), seed)


def last(curve: np.ndarray, count: int = 20) -> float:
    """Mean of the last entries of a curve."""
    return float(np.mean(curve[-count:]))


def shown(value: float, curve: np.ndarray, points: int = 60) -> dict[str, Any]:
    """The entry of a run, its curve thinned for the plot."""
    at = np.unique(np.linspace(0, len(curve) - 1, points).astype(int))
    return {"value": value, "curve": [round(float(v), 5) for v in np.asarray(curve)[at]]}
