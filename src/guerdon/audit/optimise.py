"""The optimiser attack: push on a reward and watch the true checker, against the distance travelled.

Two optimisers: best-of-N over saved samples, where distance and expectation are exact, and a small policy
trained with the reward. The curve of gold (truth) against proxy (the reward) shows over-optimisation: proxy
rises while gold falls.

Reference: Gao et al., Scaling Laws for Reward Model Overoptimization, arXiv 2210.10760.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError


def best_of_n_distance(n: int | np.ndarray) -> Any:
    """KL of best-of-n against one draw, in nats: log n - (n - 1) / n (exact without ties)."""
    return np.log(n) - (np.asarray(n) - 1) / np.asarray(n)


def best_of_n_curve(
    proxy: np.ndarray, gold: np.ndarray, group: np.ndarray, sizes: Sequence[int] | None = None
) -> dict[str, list[float]]:
    """Expected proxy and gold of the proxy's best of n, averaged over groups.

    With a group's N samples sorted by proxy, the sample of rank r (from 1) is the best of a random n-subset
    with probability C(r - 1, n - 1) / C(N, n); equal proxies share their ranks' probability.

    Args:
        proxy, gold: float64 (samples,); rows where either is missing are left out.
        group: int64 (samples,), samples of one prompt.
        sizes: n; default powers of two up to the smallest group.

    Returns:
        columns n, kl (nats), proxy, gold.

    Raises:
        DataError: no group, or a group smaller than the largest n.
    """
    keep = ~(np.isnan(proxy) | np.isnan(gold))
    proxy, gold, group = proxy[keep], gold[keep], group[keep]
    members = [np.flatnonzero(group == g) for g in np.unique(group)]
    smallest = min(map(len, members), default=0)
    if smallest == 0:
        raise DataError("best-of-N needs samples with both a reward and a true outcome")
    used = list(sizes) if sizes else [1 << k for k in range(int(math.log2(smallest)) + 1)]
    if max(used) > smallest:
        raise DataError(f"best-of-{max(used)} needs {max(used)} samples of every prompt; one has {smallest}")
    means = np.array([[_expected(proxy[m], gold[m], n) for n in used] for m in members]).mean(0)
    return {
        "n": [float(n) for n in used],
        "kl": [float(best_of_n_distance(n)) for n in used],
        "proxy": means[:, 0].tolist(),
        "gold": means[:, 1].tolist(),
    }


def _expected(proxy: np.ndarray, gold: np.ndarray, n: int) -> tuple[float, float]:
    order = np.argsort(proxy, kind="stable")
    count = len(proxy)
    weight = np.array([math.comb(r, n - 1) / math.comb(count, n) for r in range(count)])
    ranked, truth = proxy[order], gold[order]
    _, ties = np.unique(ranked, return_inverse=True)
    shared = (np.bincount(ties, weight) / np.bincount(ties))[ties]  # a random one of equal ones is taken
    return float(shared @ ranked), float(shared @ truth)


def policy_curve(
    reward: Any,
    steps: int = 60,
    seed: int = 0,
    every: int = 5,
    watch: Callable[[int], None] | None = None,
) -> dict[str, list[float]]:
    """Train a small policy on chain arithmetic with nothing but the reward; the task's checker watches.

    Returns:
        columns step, kl (nats per completion, from the start), proxy, gold (means of the sampled batch).

    Raises:
        DataError: the reward scores nothing of what the policy writes.
    """
    from guerdon.learn.loop import Training
    from guerdon.learn.recipe import Recipe
    from guerdon.learn.warm import warm_start

    recipe = Recipe.from_dict(
        {
            "engine": {"use": "lab", "dim": 64, "layers": 2, "heads": 4, "context": 64},
            "task": {"use": "chain", "terms": 3, "modulus": 10},
            "sampler": {"prompts": 16, "group": 8, "max_new_tokens": 24},
            "rewards": {"outcome": "task.outcome"},
            "credit": {"use": "grpo"},
            "optim": {"lr": 1e-3},
            "steps": steps,
            "seed": seed,
            "device": "cpu",
        }
    )
    training = Training.build(recipe)
    warm_start(training.engine, training.task, 150, seed=seed)
    training.reference = training.engine.clone()
    gold: list[float] = []
    truth = training.task.outcome

    def proxy(rollouts: Rollouts, ctx: Any = None) -> Signal:
        gold.append(float(np.nanmean(truth(rollouts).values)))
        return reward(rollouts, ctx)

    training.rewards = {"outcome": proxy}
    columns: dict[str, list[float]] = {"step": [], "kl": [], "proxy": [], "gold": []}
    for step in range(steps):
        training.step(step)
        if step % every == 0 or step + 1 == steps:
            _record(columns, training.batch, step, gold[-1])
        if watch is not None:
            watch(1)
    return columns


def _record(columns: dict[str, list[float]], batch: Rollouts, step: int, gold: float) -> None:
    values = batch.signals["outcome"].values
    if np.isnan(values).all():
        causes = ", ".join(set(batch.signals["outcome"].causes.values())) or "no cause given"
        raise DataError(f"the reward scores nothing of what the policy writes ({causes})")
    distance = float("nan")
    if batch.logprobs is not None and batch.ref_logprobs is not None:
        gaps = (batch.logprobs.values - batch.ref_logprobs.values).astype(np.float64)
        distance = float(gaps.sum() / len(batch))
    for name, value in (("step", step), ("kl", distance), ("proxy", np.nanmean(values)), ("gold", gold)):
        columns[name].append(float(value))


def overoptimised(curve: dict[str, list[float]], tolerance: float = 0.02) -> bool:
    """Whether the proxy ends at least as high as at its start while gold fell by more than the tolerance
    from its best point before the end."""
    gold, proxy = np.array(curve["gold"]), np.array(curve["proxy"])
    return bool(proxy[-1] >= proxy[0] and gold[-1] < gold.max() - tolerance)
