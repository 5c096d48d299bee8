"""Likelihood rewards: the policy's own probability of a reference answer behind a sampled thought."""

from __future__ import annotations

from typing import Any

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.errors import RecipeError
from guerdon.intrinsic.likelihoods import REDUCERS, reduce_logprobs
from guerdon.intrinsic.references import reference_scores
from guerdon.intrinsic.reward import Intrinsic, Values, asked_of
from guerdon.intrinsic.scoring import engine_of
from guerdon.systems.catalogue import system


@system(
    "likelihood-rewards",
    title="Likelihood-Based Reward Designs for General LLM Reasoning",
    arxiv="2602.03979",
    family="intrinsic",
    kind="reward",
)
def likelihood_rewards(
    reduce: str = "sum",
    opening: str = "<answer>",
    floor: float | None = -100.0,
    engine: Any = None,
) -> Intrinsic:
    """R_i = reduce_j log pi(a*_j | p, z_i, a*_<j) of the reference a*, per rollout.

    Args:
        reduce: "sum" (log-prob), "mean", "prob" (VeriFree), "mean_prob" (RLPR), "geometric" (NOVER), or
            "perplexity", of which less is better.
        opening: the mark behind which the reference is put; "" for the end of the completion.
        floor: least log-prob of a token, nats.
        engine: who is asked; default: the policy of the run.

    R depends on the weights: `guerdon.intrinsic.direct.direct_loss` has the gradient's second term. Use a
    leave-one-out baseline (`credit: {use: rloo}`).

    Reference: arXiv 2602.03979; settings from secondary sources.
    """
    if reduce not in REDUCERS:
        raise RecipeError(f"likelihood-rewards: reduce is one of {', '.join(REDUCERS)}, got {reduce!r}")

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        asked = engine_of(engine, ctx, "likelihood-rewards")
        scored = reference_scores(asked, rollouts, opening)
        rows = scored.logprobs
        return reduce_logprobs(rows.values, rows.offsets, reduce, floor), scored.causes

    return Intrinsic("likelihood-rewards", score, asks=asked_of(engine))
