"""Rewards that are wrong on purpose, and what they do to a group: flips, random and constant rewards.

References: Lv et al., The Climb Carves Wisdom Deeper Than the Summit, arXiv 2505.22653 (flips); Exploration
v.s. Exploitation: clipping, entropy and spurious reward, arXiv 2512.16912 (random rewards).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError

GRANULARITIES = ("group", "sample")


def _share(value: float, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise RecipeError(f"{name} must be a share in [0, 1], got {value!r}")
    return float(value)


def _uniforms(rollouts: Rollouts, labels: np.ndarray, seed: int, step: int) -> np.ndarray:
    """One number in [0, 1) per row: equal within a label, decided by the prompt and the place alone."""
    prompts = rollouts.prompt or [""] * len(rollouts)
    seen: dict[int, float] = {}
    out = np.empty(len(rollouts))
    for row, label in enumerate(labels.tolist()):
        if label not in seen:
            text = f"{seed}\x1f{step}\x1f{label}\x1f{prompts[row]}"
            digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            seen[label] = int.from_bytes(digest, "big") / 2**64
        out[row] = seen[label]
    return out


class Flipped:
    """A 0/1 reward told wrongly with probability p: r' = 1 - r where u < p, u drawn per group or per sample.

    A whole group flipped inverts the sign of its normalised advantages; a sample flipped alone gives an
    all-wrong group a spurious winner. E[r'|right] - E[r'|wrong] = 1 - 2p either way.

    Args:
        reward: the true one, values 0 and 1; missing values stay missing, values strictly between are left.
        p: probability in [0, 1].
        each: "group" (all samples of a prompt together) or "sample".
        answered: `answered(completion)`; where it says False the reward is 0 and never flipped.
        seed: with the step and the prompt decides the draws.

    Raises:
        RecipeError: p outside [0, 1] or an unknown granularity.
    """

    def __init__(
        self,
        reward: Callable[..., Signal],
        p: float,
        each: str = "group",
        answered: Callable[[str], bool] | None = None,
        seed: int = 0,
    ) -> None:
        if each not in GRANULARITIES:
            raise RecipeError(f"each must be one of {', '.join(GRANULARITIES)}, got {each!r}")
        self.reward, self.p, self.each, self.answered, self.seed = (
            reward,
            _share(p, "p"),
            each,
            answered,
            seed,
        )
        self.name, self.version = "flipped", f"1-{p}-{each}-{seed}"

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        signal = self.reward(rollouts, ctx)
        if signal.level != "rollout":
            raise DataError(f"flips need one reward per rollout, got one per {signal.level}")
        labels = rollouts.groups()[0] if self.each == "group" else np.arange(len(rollouts))
        flip = _uniforms(rollouts, labels, self.seed, ctx.step if ctx else 0) < self.p
        values = np.where(flip & np.isin(signal.values, (0.0, 1.0)), 1.0 - signal.values, signal.values)
        if self.answered is not None:
            given = np.array([self.answered(rollouts.text(i)) for i in range(len(rollouts))], bool)
            values = np.where(given, values, 0.0)
        return signal.with_values(values)


class RandomReward:
    """r ~ Bernoulli(p), independent of what was written, decided by (seed, step, prompt, place)."""

    def __init__(self, p: float = 0.5, seed: int = 0) -> None:
        self.p, self.seed = _share(p, "p"), seed
        self.name, self.version = "random", f"1-{p}-{seed}"

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        draws = _uniforms(rollouts, np.arange(len(rollouts)), self.seed, ctx.step if ctx else 0)
        return Signal((draws < self.p).astype(np.float64), "rollout", "random")


class MajorityReward:
    """1 where the answer is the group's most frequent one, else 0; the first met wins ties.

    A completion without an answer never wins.

    Args:
        answer: completion -> answer, or None.
        wrong_only: pay a majority answer only where it differs from the reference (a misleading crowd).
    """

    def __init__(self, answer: Callable[[str], Any], wrong_only: bool = False) -> None:
        self.answer, self.wrong_only = answer, wrong_only
        self.name, self.version = "majority", f"1-{wrong_only}"

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        labels, n_groups = rollouts.groups()
        answers = [self.answer(rollouts.text(i)) for i in range(len(rollouts))]
        references = rollouts.reference or [None] * len(rollouts)
        counts: list[dict[Any, int]] = [{} for _ in range(n_groups)]
        for label, answer in zip(labels.tolist(), answers, strict=True):
            if answer is not None:
                counts[label][answer] = counts[label].get(answer, 0) + 1
        best = [max(c, key=c.__getitem__) if c else None for c in counts]
        values = np.array(
            [
                float(a is not None and a == best[g] and not (self.wrong_only and str(a) == str(r)))
                for g, a, r in zip(labels.tolist(), answers, references, strict=True)
            ]
        )
        return Signal(values, "rollout", "majority")


def advantage_mass(correct: np.ndarray, rewards: np.ndarray) -> float:
    """Centred, unscaled advantage on the right answers of a group: sum_{i right} (r_i - mean r)."""
    correct, rewards = np.asarray(correct, bool), np.asarray(rewards, np.float64)
    return float((rewards - rewards.mean())[correct].sum())


def damage(correct: np.ndarray, rewards: np.ndarray) -> float:
    """What noise takes from the right answers: n_c n_i / G - mass = (g n_i + f n_c) / G.

    Args:
        correct: truth per sample, (G,); rewards: 0/1 paid, (G,). g right ones unpaid, f wrong ones paid.
    """
    correct = np.asarray(correct, bool)
    return advantage_mass(correct, correct.astype(np.float64)) - advantage_mass(correct, rewards)


def random_damage(n_correct: int, group: int) -> tuple[float, float]:
    """Mean and variance of `damage` under Bernoulli(1/2) rewards: n_c n_i / G and n_c n_i / (4 G)."""
    wrong = group - n_correct
    return n_correct * wrong / group, n_correct * wrong / (4 * group)


def entropy(policy: np.ndarray) -> float:
    """-sum pi log pi, in nats."""
    p = np.asarray(policy, np.float64)
    return float(-np.sum(p[p > 0] * np.log(p[p > 0])))


def entropy_step(policy: np.ndarray, advantage: np.ndarray, rate: float) -> tuple[float, float]:
    """Change of entropy of pi' ~ pi e^{eta A}: first order -eta Cov_pi(log pi, A), and exact; in nats."""
    p, a = np.asarray(policy, np.float64), np.asarray(advantage, np.float64)
    log = np.log(p)
    first = -rate * float(np.sum(p * log * a) - np.sum(p * log) * np.sum(p * a))
    moved = p * np.exp(rate * a)
    moved /= moved.sum()
    return first, entropy(moved) - entropy(p)


def clip_report(
    ratio: np.ndarray, advantage: np.ndarray, low: float = 0.2, high: float = 0.2
) -> dict[str, float]:
    """What clipping removed from an update.

    Args:
        ratio: pi_new / pi_old per token, (tokens,); advantage: (tokens,).
        low, high: the clip range [1 - low, 1 + high].

    Returns:
        upper (share of tokens with ratio > 1 + high and A > 0), lower (ratio < 1 - low and A < 0), and
        removed, the sum of ratio * A - min(ratio * A, clip(ratio) * A).
    """
    rho, a = np.asarray(ratio, np.float64), np.asarray(advantage, np.float64)
    kept = np.minimum(rho * a, np.clip(rho, 1 - low, 1 + high) * a)
    return {
        "upper": float(np.mean((rho > 1 + high) & (a > 0))),
        "lower": float(np.mean((rho < 1 - low) & (a < 0))),
        "removed": float(np.sum(rho * a - kept)),
    }
