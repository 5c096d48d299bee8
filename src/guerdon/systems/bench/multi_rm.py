"""Rethinking Reward Models for Multi-Domain Test-Time Scaling (arXiv 2510.00492)."""

from __future__ import annotations

from guerdon.bench.multi_rm import evaluate_rewards
from guerdon.bench.report import Report
from guerdon.systems.catalogue import system


@system(
    "multi-rm",
    title="Rethinking Reward Models for Multi-Domain Test-Time Scaling",
    arxiv="2510.00492",
    family="bench",
    kind="bench",
)
def multi_rm(
    data: str, rewards: str, verifier: str = "gorm", aggregation: str | None = None, runs: int = 100
) -> Report:
    """Multi-domain best-of-N with four kinds of verifier.

    Rewards of a solution are aggregated by the kind (dorm last, dprm min, gorm and gprm mean; nothing usable
    0.5); best-of-N takes the answer of the best solution, the weighted vote sums rewards per answer, both on
    100 subsamples without replacement for every N, beside majority vote and pass@N.

    Args:
        data: solutions; rewards: their rewards.
        verifier, aggregation, runs: see `evaluate_rewards`.

    Reference: Lee et al., arXiv 2510.00492.
    """
    return evaluate_rewards(data, rewards, verifier, aggregation, runs=runs)
