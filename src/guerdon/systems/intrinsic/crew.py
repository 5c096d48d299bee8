"""CRew: mean probability of the tokens of one's final answer; and preference pairs from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.kernels import segment_reduce
from guerdon.data.rollouts import Rollouts
from guerdon.intrinsic.reward import Intrinsic, Values, asked_of, signal_of
from guerdon.intrinsic.scoring import (
    NO_ROOM,
    Place,
    engine_of,
    inside_characters,
    own_ids,
    prompt_ids,
    score_places,
    with_ids,
)
from guerdon.intrinsic.votes import members
from guerdon.systems.catalogue import system
from guerdon.verify.extract import boxes


@system(
    "crew",
    title="Confidence as a Reward: Transforming LLMs into Reward Models",
    arxiv="2510.13501",
    family="intrinsic",
    kind="reward",
)
def crew(engine: Any = None) -> Intrinsic:
    """r_i = 1/|a| sum_{j in a} p(a_j | q, s_<j) over the tokens wholly inside the last box, per rollout.

    0 where there is no box, or no token lies wholly inside it.

    Args:
        engine: who is asked, also about other models' solutions; default: the policy of the run.

    For selection and preference pairs (`pairs_by_confidence`); as an online reward it drives confidence up.

    Reference: Du et al., arXiv 2510.13501.
    """

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        asked = engine_of(engine, ctx, "crew")
        rollouts = with_ids(asked, rollouts)
        contexts, own = prompt_ids(asked, rollouts), own_ids(asked, rollouts)
        scored = score_places(asked, [Place(c, (), ids) for c, ids in zip(contexts, own, strict=True)])
        rows = scored.logprobs
        inside = np.zeros(rows.total, bool)
        for i, ids in enumerate(own):
            span = answer_characters(rollouts.text(i))
            if span and i not in scored.causes:
                inside[rows.offsets[i] : rows.offsets[i + 1]] = inside_characters(asked, ids, *span)
        mean = segment_reduce(np.exp(rows.values), rows.offsets, "mean", mask=inside)
        causes = {i: cause for i, cause in scored.causes.items() if cause == NO_ROOM}
        values = np.nan_to_num(mean, nan=0.0)
        values[list(causes)] = np.nan
        return values, causes

    return Intrinsic("crew", score, asks=asked_of(engine))


def answer_characters(text: str) -> tuple[int, int] | None:
    """Characters of what the last closed box holds."""
    found = boxes(text)
    if not found:
        return None
    start, end, content = found[-1]
    at = text.rindex(content, start, end)
    return (at, at + len(content)) if content else None


def pairs_by_confidence(
    source: str = "confidence",
    correct: str = "outcome",
    success: float = 0.5,
    top_k: int | None = None,
    positive_only: bool = False,
) -> Any:
    """`confidence_pairs` of a scored batch, for `objective: {use: dpo, pairs: {use: confidence, ...}}`.

    Args:
        source: the signal with this reward. correct: the signal of a verifier, correct above `success`.
    """

    def choose(rollouts: Rollouts) -> np.ndarray:
        right = signal_of(rollouts, correct) > success
        confidence = np.where(np.isnan(signal_of(rollouts, correct)), np.nan, signal_of(rollouts, source))
        return confidence_pairs(confidence, right, rollouts.groups()[0], top_k, positive_only)

    return choose


def confidence_pairs(
    confidence: np.ndarray,
    correct: np.ndarray,
    groups: np.ndarray,
    top_k: int | None = None,
    positive_only: bool = False,
) -> np.ndarray:
    """Pairs (chosen, rejected) of correct and incorrect solutions of a question, largest c_+ - c_- first.

    Args:
        confidence: (N,); NaN is left out. correct: bool (N,). groups: int64 (N,).
        top_k: most pairs per question. positive_only: leave out pairs whose difference is not above 0.

    Returns:
        int64 (pairs, 2), question by question.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    out = [np.empty((0, 2), np.int64)]
    for rows in members(groups):
        rows = rows[~np.isnan(confidence[rows])]
        good, bad = rows[right[rows]], rows[~right[rows]]
        pairs = np.stack(np.meshgrid(good, bad, indexing="ij"), axis=-1).reshape(-1, 2)
        gap = confidence[pairs[:, 0]] - confidence[pairs[:, 1]]
        order = np.argsort(-gap, kind="stable")
        order = order[gap[order] > 0] if positive_only else order
        out.append(pairs[order[:top_k]])
    return np.concatenate(out)
