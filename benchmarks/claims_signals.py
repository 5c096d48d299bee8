"""How well advantages point: correlation with exact Q - V, and cosine with the gradient they make up.

    python benchmarks/claims_signals.py [seeds]

The worlds are those of the claims. A policy learns with the baseline's advantages, so that all methods see
the same policies; every fifth update each method credits a batch as large as in its claim. Exact advantages
have a discount of 0.95, the exact gradient comes from them on 200 episodes per problem.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np

from guerdon import credit
from guerdon.claims import kit
from guerdon.claims.credit import oprl_istar as istar_claim
from guerdon.claims.credit import prime as prime_claim
from guerdon.claims.kit_trees import rewarded_tree
from guerdon.claims.kit_worlds import chain, key_rooms, tool_questions, with_history
from guerdon.credit import Credit, LeaveOneOut, Level, Whiten
from guerdon.data.rollouts import Rollouts
from guerdon.learn.tabular import TabularPolicy
from guerdon.learn.tabular_values import true_advantage
from guerdon.tasks.mdp import MDP

Arm = tuple[str, Callable[..., object], Callable[[TabularPolicy, int], Rollouts] | None]
RLOO = Credit([Level("outcome", span="rollout", baseline=LeaveOneOut())], whiten=Whiten(), name="rloo")
MODEL_ALONE = Credit([Level("implicit", span="token")], name="model alone")


def pointing(policy: TabularPolicy, rollouts: Rollouts, advantage: np.ndarray, exact: np.ndarray) -> tuple:
    """Correlation of advantages with the exact ones, and cosine of their gradient with `exact`."""
    true = true_advantage(policy, rollouts).values
    made = np.nan_to_num(policy.gradient(rollouts, advantage)).ravel()
    length = np.linalg.norm(made) * np.linalg.norm(exact)
    flat = advantage.std() == 0 or true.std() == 0
    return (
        np.nan if flat else float(np.corrcoef(advantage, true)[0, 1]),
        float(made @ exact / length) if length else np.nan,
    )


def follow(
    mdps: Sequence[MDP], arms: Sequence[Arm], steps: int, group: int, rate: float, seed: int,
    prepare: kit.Prepare | None = None, start: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Mean (correlation, cosine) of every arm along the first arm's learning, float64 (arms, 2)."""
    policy, found = TabularPolicy(mdps, start), []
    for step in range(steps):
        flat = policy.sample(group, seed * 100_003 + step)
        if prepare is not None:
            flat = prepare(flat, policy, step)
        if step % 5 == 0 and len(flat):
            many = policy.sample(200, seed * 7 + step)
            exact = np.nan_to_num(policy.gradient(many, true_advantage(policy, many))).ravel()
            batches = [flat if draw is None else draw(policy, seed * 11 + step) for _, _, draw in arms]
            found.append(
                [
                    pointing(policy, batch, method(batch).values, exact)
                    for (_, method, _), batch in zip(arms, batches, strict=True)
                ]
            )
        if len(flat):
            policy.theta += rate * policy.gradient(flat, arms[0][1](flat))
    return _mean(np.array(found, np.float64))


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the first axis, without NaN; NaN where there is nothing else."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0))


def rooms(seed: int) -> tuple[list[str], np.ndarray]:
    arms: list[Arm] = [("grpo, rooms", credit.grpo(), None), ("gigpo", credit.gigpo(scale="std"), None)]
    mdps = key_rooms(seed, count=5, size=6, moves=(10, 18), turns=40)
    return [a[0] for a in arms], follow(mdps, arms, 50, 8, 320.0, seed)


def edges(seed: int) -> tuple[list[str], np.ndarray]:
    arms: list[Arm] = [("grpo, with history", credit.grpo(), None), ("salt", credit.salt(), None)]
    return [a[0] for a in arms], follow(
        [with_history(room) for room in key_rooms(seed)], arms, 50, 8, 640.0, seed
    )


def preferences(seed: int) -> tuple[list[str], np.ndarray]:
    mdps = key_rooms(seed)
    arms: list[Arm] = [
        ("rloo, rooms", credit.rloo(), None),
        ("istar", credit.oprl_istar(beta=istar_claim.BETA), None),
        ("istar's model alone", MODEL_ALONE, None),
    ]
    model = istar_claim.PreferenceModel(TabularPolicy(mdps), 0.4)
    return [a[0] for a in arms], follow(mdps, arms, 50, 8, 640.0, seed, model)


def outcomes(seed: int) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    mdps = [chain(rng, 6, 3, 18) for _ in range(6)]
    start = np.concatenate([0.5 * mdp.useful for mdp in mdps])
    model = prime_claim.ImplicitModel(TabularPolicy(mdps, start), 0.4)
    arms: list[Arm] = [
        ("rloo, chain", RLOO, None),
        ("prime", credit.prime(beta=prime_claim.BETA), None),
        ("prime's model alone", MODEL_ALONE, None),
    ]
    return [a[0] for a in arms], follow(mdps, arms, 25, 8, 160.0, seed, model, start)


def trees(seed: int) -> tuple[list[str], np.ndarray]:
    def tree(policy: TabularPolicy, seed: int) -> Rollouts:
        return rewarded_tree(policy, 8, np.random.default_rng([seed, 11]))

    arms: list[Arm] = [
        ("grpo, tools", credit.grpo(), None),
        ("grpo on the tree", credit.grpo(), tree),
        ("portool on the tree", credit.portool(), tree),
    ]
    return [a[0] for a in arms], follow(tool_questions(seed), arms, 40, 8, 320.0, seed)


def main(seeds: int) -> None:
    print(
        f"{'method':24s} correlation with Q - V    cosine with the gradient    ({seeds} seeds, mean +- s.e.)"
    )
    for world in (rooms, edges, preferences, outcomes, trees):
        runs = [world(seed) for seed in range(1, seeds + 1)]
        values = np.array([found for _, found in runs])
        mean = _mean(values)
        error = (_mean((values - mean) ** 2) / (seeds - 1)) ** 0.5
        for at, name in enumerate(runs[0][0]):
            (c, k), (dc, dk) = mean[at], error[at]
            print(f"{name:24s} {c:+.3f} +- {dc:.3f}           {k:+.3f} +- {dk:.3f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
