"""Rewards from the policy itself: its probabilities, votes, entropies, memories and latents.

Enters: rollouts and, where probabilities are asked for, an engine. Leaves: Signals. Pure functions of arrays
(`likelihoods`, `votes`, `running`, `memory`, `beliefs`, `flow`) lie under the compositions of
`guerdon.systems.intrinsic`. `flow` needs torch and is imported where it is used.
"""

from __future__ import annotations

from guerdon.intrinsic.beliefs import Belief, information_gains
from guerdon.intrinsic.collapse import CollapseWatch, collapse_metrics
from guerdon.intrinsic.likelihoods import REDUCERS, log_mean_exp, reduce_logprobs, relative_perplexity_drop
from guerdon.intrinsic.memory import EpisodicMemory
from guerdon.intrinsic.running import Average, Window
from guerdon.intrinsic.votes import cluster, cluster_probability, semantic_entropy, winner

__all__ = [
    "REDUCERS",
    "Average",
    "Belief",
    "CollapseWatch",
    "EpisodicMemory",
    "Window",
    "cluster",
    "cluster_probability",
    "collapse_metrics",
    "information_gains",
    "log_mean_exp",
    "reduce_logprobs",
    "relative_perplexity_drop",
    "semantic_entropy",
    "winner",
]
