"""FLR: are positive user follow-ups likelier than negative ones behind a response?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.errors import RecipeError
from guerdon.intrinsic.likelihoods import reduce_logprobs
from guerdon.intrinsic.reward import Intrinsic, Values, asked_of, signal_of
from guerdon.intrinsic.scoring import Place, encoded, engine_of, own_ids, prompt_ids, score_places, with_ids
from guerdon.intrinsic.votes import members
from guerdon.systems.catalogue import system

Phrases = Mapping[str, tuple[Sequence[str], Sequence[str]]]

FOLLOW_UPS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "understanding": (["Yes, that is what I meant."], ["No, you misunderstood what I asked."]),
    "relevance": (["That is exactly on topic."], ["That has nothing to do with my question."]),
    "correctness": (["Great, that is right."], ["That is not correct."]),
    "engagingness": (["How interesting, tell me more!"], ["This is boring."]),
    "informativeness": (["Thanks, I learned a lot."], ["That does not tell me anything."]),
    "following": (["Perfect, you did what I asked for."], ["You did not do what I asked for."]),
}
"""Dimension -> (positive, negative) follow-ups; ours, in place of the released lists."""


@system(
    "flr",
    title="Aligning Language Models Using Follow-up Likelihood as Reward Signal",
    arxiv="2409.13948",
    family="intrinsic",
    kind="reward",
)
def flr(
    phrases: Phrases | None = None,
    opening: str = "\n\nUser: ",
    dimensions: str = "mean",
    engine: Any = None,
) -> Intrinsic:
    """r_i = mean over dimensions d of [mean_{f in P_d} s_i(f) - mean_{f in N_d} s_i(f)], per rollout, with
    s_i(f) = 1/|f| sum_j log p(f_j | prompt, completion, opening, f_<j).

    Args:
        phrases: dimension -> (positive, negative) follow-ups.
        opening: text that starts the user's turn in the model's template; not scored.
        dimensions: "mean", "max", or the name of one dimension.
        engine: who is asked; default: the policy of the run.

    Means are nested: tokens, follow-ups, dimensions. The released scorer averages raw logits one position
    off; log-probs at their own position are what is computed here.

    Reference: Zhang et al., arXiv 2409.13948; e0397123/FLR; the aggregation is from its abstract.
    """
    bank = dict(FOLLOW_UPS if phrases is None else phrases)
    if not bank or any(not positive or not negative for positive, negative in bank.values()):
        raise RecipeError("flr: every dimension needs a positive and a negative follow-up")
    if dimensions not in ("mean", "max", *bank):
        raise RecipeError(f"flr: dimensions is mean, max or one of {', '.join(bank)}, got {dimensions!r}")
    texts = [f for sides in bank.values() for side in sides for f in side]

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        asked = engine_of(engine, ctx, "flr")
        rollouts = with_ids(asked, rollouts)
        start = encoded(asked, opening)
        contexts = [
            (*context, *own, *start[:-1])
            for context, own in zip(prompt_ids(asked, rollouts), own_ids(asked, rollouts), strict=True)
        ]
        places = [Place(context, start[-1:], encoded(asked, f)) for context in contexts for f in texts]
        scored = score_places(asked, places)
        s = reduce_logprobs(scored.logprobs.values, scored.logprobs.offsets, "mean")
        table = by_dimension(s.reshape(len(rollouts), len(texts)), bank)
        causes = {place // len(texts): cause for place, cause in scored.causes.items()}
        return aggregate(table, list(bank), dimensions), causes

    return Intrinsic("flr", score, asks=asked_of(engine))


def by_dimension(scores: np.ndarray, bank: Phrases) -> np.ndarray:
    """mean of positives - mean of negatives, (rollouts, dimensions), from (rollouts, all follow-ups)."""
    out, at = [], 0
    for positive, negative in bank.values():
        middle, end = at + len(positive), at + len(positive) + len(negative)
        out.append(scores[:, at:middle].mean(axis=1) - scores[:, middle:end].mean(axis=1))
        at = end
    return np.stack(out, axis=1)


def aggregate(table: np.ndarray, names: Sequence[str], how: str) -> np.ndarray:
    """One value per row: the mean or maximum over dimensions, or one of them."""
    if how in names:
        return table[:, list(names).index(how)]
    return table.mean(axis=1) if how == "mean" else table.max(axis=1)


def pairs_of_extremes(source: str = "outcome") -> Any:
    """`best_and_worst` of a scored batch, for `objective: {use: dpo, pairs: best_and_worst}`."""
    return lambda rollouts: best_and_worst(signal_of(rollouts, source), rollouts.groups()[0])


def best_and_worst(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Preference pairs (argmax, argmin) of every group, int64 (pairs, 2); none where all are equal."""
    pairs = []
    for rows in members(groups):
        rows = rows[~np.isnan(values[rows])]
        if len(rows) and values[rows].max() > values[rows].min():
            pairs.append((rows[values[rows].argmax()], rows[values[rows].argmin()]))
    return np.array(pairs, np.int64).reshape(-1, 2)
