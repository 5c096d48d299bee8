"""Nous: a clarifying question is worth the entropy its answer takes off the belief about the task."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError
from guerdon.intrinsic.beliefs import Belief, information_gains
from guerdon.intrinsic.reward import Intrinsic, Values, meta_of
from guerdon.systems.catalogue import system

NO_EVIDENCE = "no evidence: meta needs one entry per turn of what the user's answer fixed or ruled out"


@system(
    "nous",
    title="Dialogue as Discovery: Navigating Human Intent Through Principled Inquiry",
    arxiv="2510.27410",
    family="intrinsic",
    kind="reward",
)
def nous(
    prior: Mapping[str, Mapping[str, float]] | None = None,
    level: str = "turn",
    turn_cost: float = 0.0,
    weights: Mapping[str, float] | None = None,
    bits: bool = True,
) -> Intrinsic:
    """r_t = H(B_{t-1}) - H(B_t) - c per turn (or their sum per rollout), B a product of categorical beliefs.

    `meta["evidence"]` holds one mapping per turn: attribute -> its value (a text), or the values ruled out
    (a list); {} where a turn brought nothing. `meta["prior"]` overrides `prior`. Gains may be negative.

    Args:
        prior: attribute -> value -> probability. level: "turn" or "rollout".
        turn_cost: c. weights: of attributes in H, default 1. bits: else nats.

    Reference: arXiv 2510.27410; closed form from secondary sources, cost and weights are ours.
    """
    base = 2.0 if bits else float(np.e)
    if prior is not None:
        Belief(prior)
    if level not in ("turn", "rollout"):
        raise DataError(f"nous: level is turn or rollout, got {level!r}")

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        offsets = rollouts.offsets(level) if level == "turn" else np.arange(len(rollouts) + 1)
        out = np.full(int(offsets[-1]), np.nan)
        causes: dict[int, str] = {}
        rows = zip(meta_of(rollouts, "prior"), meta_of(rollouts, "evidence"), strict=True)
        for i, (own, evidence) in enumerate(rows):
            start, end = int(offsets[i]), int(offsets[i + 1])
            known = own or prior
            fits = evidence is not None and (level == "rollout" or len(evidence) == end - start)
            if known is None or not fits:
                causes |= dict.fromkeys(range(start, end), NO_EVIDENCE)
                continue
            gains = information_gains(Belief(known), evidence, base, weights, turn_cost)
            out[start:end] = gains if level == "turn" else gains.sum()
        return out, causes

    return Intrinsic("nous", score, level)
