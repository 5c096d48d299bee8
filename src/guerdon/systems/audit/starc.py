"""STARC: A General Framework for Quantifying Differences Between Reward Functions (arXiv 2309.15257)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from guerdon.audit.reward_distance import MDP, distance
from guerdon.systems.catalogue import system


@system(
    "starc",
    title="STARC: A General Framework for Quantifying Differences Between Reward Functions",
    arxiv="2309.15257",
    family="audit",
    kind="audit",
)
def starc(form: str = "value", norm: str = "l2") -> Callable[[MDP, np.ndarray, np.ndarray], float]:
    """A distance of two rewards (S, A, S') in an MDP: 0 where they order all policies alike, at most 2.

        d(R1, R2) = || c(R1) / n(c(R1)) - c(R2) / n(c(R2)) ||

    c removes potential shaping and redistribution over s': "value" takes the advantage of the uniform policy,
    "least" the equivalent reward of least L2 norm. "epic" and "none" are baselines without the guarantee. A
    reward that is 0 after c stays 0.

    Args:
        form: value, least, epic or none.
        norm: l1, l2 or linf.

    Reference: Skalse et al., arXiv 2309.15257.
    """
    return lambda mdp, first, second: distance(mdp, first, second, form, norm)
