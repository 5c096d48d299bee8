"""VeRPO: dense rewards from partially passed unit tests, and the two-level advantage built on them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data import kernels
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.scoring import SampleReward
from guerdon.systems.catalogue import system
from guerdon.verify.composite import Explained
from guerdon.verify.unit_test_weights import density_weights, pass_rates, with_test_results


@system(
    "verpo",
    title="VeRPO: Verifiable Dense Reward Policy Optimization for Code Generation",
    arxiv="2601.03525",
    family="verify",
    kind="reward",
)
def verpo(
    alpha: float = 2.0,
    sigma: float = 0.1,
    delta: float = 1e-6,
    beta: float = 1.0,
    gamma: float = 0.95,
    tests: SampleReward | None = None,
) -> Explained:
    """A(i,t) = A_traj(i) + beta A_turn(i,t), one value per turn (per rollout without turns). A group reward.

    With p[i,t,j] = 1 where test j passes after turn t of attempt i of a prompt's group:

        rho_j      = mean over all turns of the group of p[i,t,j]
        w_j        = exp(-alpha rho_j) / (N_j + delta),  N_j = sum_k exp(-(rho_j - rho_k)^2 / (2 sigma^2))
        turn       = R_turn(i,t) = sum_j w_j p[i,t,j],   A_turn = R_turn - mean over the group's turns
        trajectory = [all tests pass at the last turn] gamma^(number of turns),  A_traj = trajectory - mean_i

    Nothing is divided by a standard deviation. The sum is centred already: give it to a credit method without
    a baseline (`levels` with baseline "none"), or the parts `turn` and `trajectory` to one with means.

    `meta["passed"]` holds 0/1 per test; with several turns one such list per turn. The tests of a group must
    be the same. Rollouts without it, where `tests` cannot tell either, are missing and take no part in their
    group's statistics.

    Args:
        alpha, sigma, delta, beta, gamma: as above; the paper's values are not known to us, these are ours.
        tests: a reward that runs the tests of single-turn rollouts and lists them in its verdicts' detail,
            `verify.code(stop=False)`. A completion without code passes none.

    Parts: turn, turn_advantage (per turn), trajectory, trajectory_advantage (per rollout).

    Reference: Wang et al., VeRPO, arXiv 2601.03525. The exponent of gamma is inferred: the number of turns.
    """
    weigh = partial(density_weights, alpha=alpha, sigma=sigma, delta=delta)
    version = f"1-{alpha}-{sigma}-{delta}-{beta}-{gamma}"
    return Explained("verpo", partial(_explain, weigh=weigh, beta=beta, gamma=gamma, tests=tests), version)


def _explain(
    rollouts: Rollouts, ctx: Context | None, weigh: Any, beta: float, gamma: float, tests: SampleReward | None
) -> tuple[Signal, dict[str, Signal]]:
    level = "turn" if "turn" in rollouts.levels else "rollout"
    offsets = rollouts.offsets(level)
    tables, causes = _passed(rollouts if tests is None else with_test_results(rollouts, tests), offsets)
    labels, n_groups = rollouts.groups()
    turn, trajectory = np.full(int(offsets[-1]), np.nan), np.full(len(rollouts), np.nan)
    for group in range(n_groups):
        rows = [
            int(i) for i in np.flatnonzero(labels == group) if int(i) not in causes and len(tables[int(i)])
        ]
        if not rows:
            continue
        if len({tables[i].shape[1] for i in rows}) > 1:
            causes.update(dict.fromkeys(rows, "rollouts of this prompt have different numbers of tests"))
            continue
        weights = weigh(pass_rates(np.concatenate([tables[i] for i in rows])))
        for i in rows:
            turn[offsets[i] : offsets[i + 1]] = tables[i] @ weights
            trajectory[i] = float(tables[i][-1].all()) * gamma ** len(tables[i])
    turn_labels = np.repeat(labels, np.diff(offsets))
    turn_advantage = turn - kernels.label_mean(turn, turn_labels, n_groups)[turn_labels]
    trajectory_advantage = trajectory - kernels.label_mean(trajectory, labels, n_groups)[labels]
    total = np.repeat(trajectory_advantage, np.diff(offsets)) + beta * turn_advantage
    on_turns = {int(t): cause for i, cause in causes.items() for t in range(offsets[i], offsets[i + 1])}
    return Signal(total, level, "verpo", on_turns), {
        "turn": Signal(turn, level, "turn", on_turns),
        "trajectory": Signal(trajectory, "rollout", "trajectory", causes),
        "turn_advantage": Signal(turn_advantage, level, "turn_advantage", on_turns),
        "trajectory_advantage": Signal(trajectory_advantage, "rollout", "trajectory_advantage", causes),
    }


def _passed(rollouts: Rollouts, offsets: np.ndarray) -> tuple[dict[int, np.ndarray], dict[int, str]]:
    """Pass matrices (turns, tests) by rollout, and why a rollout has none."""
    tables: dict[int, np.ndarray] = {}
    causes: dict[int, str] = {}
    metas = rollouts.meta or [{}] * len(rollouts)
    for i, meta in enumerate(metas):
        passed = (meta or {}).get("passed")
        try:
            table = np.atleast_2d(np.asarray(passed, np.float64))
        except (TypeError, ValueError):
            table = np.full((1, 1), np.nan)
        if passed is None or isinstance(passed, str):
            causes[i] = (
                f"no pass matrix: {passed}"
                if passed
                else "no pass matrix: expected meta['passed'], 0/1 per test (per turn)"
            )
            continue
        turns = int(offsets[i + 1] - offsets[i])
        if table.ndim != 2 or not table.size or len(table) != turns or not np.isin(table, (0.0, 1.0)).all():
            causes[i] = f"meta['passed'] is no 0/1 table of {turns} turns: shape {table.shape}"
            continue
        tables[i] = table
    return tables, causes
