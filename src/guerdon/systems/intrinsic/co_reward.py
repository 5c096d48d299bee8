"""Co-Reward: the majority of a question's paraphrase is the label of its own rollouts, and the other way."""

from __future__ import annotations

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.intrinsic.reward import Extractor, Intrinsic, Values, answers_of, groups_of, meta_of
from guerdon.intrinsic.votes import ALONE, Equal, agreement, cluster, members, partners, winner
from guerdon.systems.catalogue import system


@system(
    "co-reward",
    title="Co-Reward: Self-supervised Reinforcement Learning for Large Language Model Reasoning via "
    "Contrastive Agreement",
    arxiv="2508.00410",
    family="intrinsic",
    kind="reward",
)
def co_reward(
    pair: str = "pair", extract: str | Extractor = "boxed", equal: str | Equal = "text", tie: str = "first"
) -> Intrinsic:
    """r_i = 1[a_i equals the majority answer of the twin question], per rollout; 0 where that is blank.

    Args:
        pair: entry of `meta` that a question and its rephrased twin share; each has a group of its own.
        extract: "boxed", "text", a tag, or a function that finds the answer.
        equal: "text" (as released), "maths", or a predicate; answers are clustered by it before counting.
        tie: "first" (as released) or "none".

    A group of one is missing, and so are the rollouts of its twin. Advantages are taken per group, never
    over both views.

    Raises:
        DataError: a question without exactly one twin.

    Reference: Zhang et al., arXiv 2508.00410; tmlr-group/Co-Reward, co_reward.py and ray_trainer.py.
    """

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        groups, answers = groups_of(rollouts), answers_of(rollouts, extract)
        other = partners(groups, meta_of(rollouts, pair))
        rows = {int(groups[r[0]]): r for r in members(groups)}
        label: dict[int, str | None] = {}
        for group, of_group in rows.items():
            found = cluster([answers[i] for i in of_group.tolist()], equal)
            best = winner(found, tie=tie)
            label[group] = found.representatives[best] if best >= 0 else None
        out = np.full(len(rollouts), np.nan)
        causes: dict[int, str] = {}
        for group, of_group in rows.items():
            if min(len(of_group), len(rows[other[group]])) < 2:
                causes |= dict.fromkeys(of_group.tolist(), ALONE)
                continue
            out[of_group] = agreement([answers[i] for i in of_group.tolist()], label[other[group]], equal)
        return out, causes

    return Intrinsic("co-reward", score, shape="all")
