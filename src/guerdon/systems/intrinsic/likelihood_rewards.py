"""Likelihood rewards: the policy's own probability of a reference answer behind a sampled thought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.engines.protocol import TokenStats
from guerdon.errors import RecipeError
from guerdon.intrinsic.direct import reduced
from guerdon.intrinsic.likelihoods import REDUCERS, reduce_logprobs
from guerdon.intrinsic.references import reference_scores, thought_of
from guerdon.intrinsic.reward import Intrinsic, Values, asked_of
from guerdon.intrinsic.scoring import encoded, engine_of, own_ids, prompt_ids, reference_texts
from guerdon.intrinsic.tails import Extended, with_rows
from guerdon.systems.catalogue import system

if TYPE_CHECKING:
    import torch


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

    R depends on the weights: the loss `{use: likelihood}` of recipes is the gradient's second term, which
    `guerdon.intrinsic.direct.direct_loss` has with the first. Use a leave-one-out baseline (`credit: {use:
    rloo}`).

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


class Likelihood:
    """The loss `likelihood` of recipes: -coef / N sum_i R_i over the references behind the run's thoughts.

    The thoughts are read with gradients into the reference alone; what they are worth is the reward's matter.

    Args:
        reduce: R, as for the reward; without "perplexity". opening: as for the reward. coef: weight.

    Rows without a reference, an opened answer or room in the context add nothing and are not counted.
    """

    def __init__(self, reduce: str = "sum", opening: str = "<answer>", coef: float = 1.0) -> None:
        if reduce not in REDUCERS or reduce == "perplexity":
            raise RecipeError(f"likelihood: unknown reducer {reduce!r}")
        self.reduce, self.opening, self.coef = reduce, opening, coef

    def __call__(self, rollouts: Rollouts, engine: Any) -> Extended:
        like, ids, starts = [], [], []
        own = own_ids(engine, rollouts)
        references = reference_texts(rollouts)
        for i, (prompt, text) in enumerate(zip(prompt_ids(engine, rollouts), references, strict=True)):
            thought = thought_of(rollouts.text(i), self.opening) if self.opening else ""
            if text is None or thought is None:
                continue
            before = encoded(engine, thought) if self.opening else own[i]
            row = (*before, *encoded(engine, text))
            if len(prompt) + len(row) <= engine.context:
                like.append(i)
                ids.append(row)
                starts.append(len(before))
        first, count = len(rollouts), max(len(like), 1)
        longer = with_rows(rollouts, like, ids)
        assert longer.tokens is not None
        lengths = longer.tokens.lengths

        def loss(stats: TokenStats, rows: np.ndarray) -> tuple[torch.Tensor, Mapping[str, float]]:
            import torch

            total = stats.logprobs.sum() * 0.0
            parts = torch.split(stats.logprobs, lengths[rows].tolist())
            for row, part in zip(rows.tolist(), parts, strict=True):
                if row >= first:
                    total = total - reduced(part[starts[row - first] :], self.reduce)
            return self.coef * total / count, {"loss/likelihood": float(self.coef * total.detach() / count)}

        return Extended(longer, loss)
