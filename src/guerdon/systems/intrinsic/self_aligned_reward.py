"""SAR: how much easier a completion becomes to predict once the question is read."""

from __future__ import annotations

from typing import Any

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.intrinsic.likelihoods import reduce_logprobs, relative_perplexity_drop
from guerdon.intrinsic.reward import Intrinsic, Values, asked_of
from guerdon.intrinsic.scoring import Place, engine_of, own_ids, prompt_ids, score_places, with_ids
from guerdon.systems.catalogue import system


@system(
    "self-aligned-reward",
    title="Self-Aligned Reward: Towards Effective and Efficient Reasoners",
    arxiv="2509.05489",
    family="intrinsic",
    kind="reward",
)
def self_aligned_reward(
    weight: float = 1.0, floor: float = -1.0, empty_prompt: Any = "", engine: Any = None
) -> Intrinsic:
    """r_i = w max((ppl(a) - ppl(a|q)) / (ppl(a) + 1e-9), floor), per rollout, below w.

    ppl(a|q) is that of the completion behind its prompt, ppl(a) behind an empty one.

    Args:
        weight: w; .2 beside a correctness reward in the released scripts, where it is one of two rewards.
        floor: lower bound before w.
        empty_prompt: what stands in place of the question: text or messages; the chat wrapper stays.
        engine: who is asked; default: the policy of the run.

    Reference: Han et al., arXiv 2509.05489; efficiency_reward.py of the released code.
    """

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        asked = engine_of(engine, ctx, "self-aligned-reward")
        rollouts = with_ids(asked, rollouts)
        own, bare = own_ids(asked, rollouts), tuple(asked.prompt_ids(empty_prompt))
        asked_of = [Place(c, (), ids) for c, ids in zip(prompt_ids(asked, rollouts), own, strict=True)]
        within = score_places(asked, asked_of)
        alone = score_places(asked, [Place(bare, (), ids) for ids in own])
        with_question, without = (
            reduce_logprobs(s.logprobs.values, s.logprobs.offsets, "perplexity") for s in (within, alone)
        )
        drop = relative_perplexity_drop(with_question, without, floor)
        return weight * drop, {**alone.causes, **within.causes}

    return Intrinsic("self-aligned-reward", score, asks=asked_of(engine))
