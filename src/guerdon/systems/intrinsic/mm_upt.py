"""MM-UPT: agreement with the majority answer of the group, without labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guerdon.errors import RecipeError
from guerdon.intrinsic.reward import Extractor, Intrinsic
from guerdon.intrinsic.votes import Equal, agreement, cluster, is_blank, winner
from guerdon.intrinsic.voting import by_group
from guerdon.systems.catalogue import system


@system(
    "mm-upt",
    title="Unsupervised Post-Training for Multi-Modal LLM Reasoning via GRPO",
    arxiv="2505.22453",
    family="intrinsic",
    kind="reward",
)
def mm_upt(
    extract: str | Extractor = "boxed",
    equal: str | Equal = "maths",
    tie: str = "first",
    min_votes: int = 1,
    variant: str = "paper",
) -> Intrinsic:
    """r_i = 1[a_i equals the majority answer of its group], per rollout, in {0, 1}.

    Args:
        extract: "boxed", "text", a tag, or a function that finds the answer.
        equal: "maths", "text", or a predicate of two answers.
        tie: "first" seen (as released) or "none".
        min_votes: least votes of a majority; with fewer every reward is 0.
        variant: "release" counts raw strings, and a missing answer votes as the text "None".

    A group of one is missing. Blank answers neither vote nor agree (except in the release).

    Reference: Wei et al., arXiv 2505.22453; verl/workers/reward/function.py of waltonfuture/MM-UPT.
    """
    if variant not in ("paper", "release"):
        raise RecipeError(f"mm-upt: variant is paper or release, got {variant!r}")

    def of_group(answers: Sequence[str | None], rows: np.ndarray) -> np.ndarray:
        if variant == "release":
            answers = ["None" if answer is None or is_blank(answer) else answer for answer in answers]
        found = cluster(answers, "text" if variant == "release" else equal)
        best = winner(found, min_votes, tie)
        return agreement(answers, found.representatives[best] if best >= 0 else None, equal)

    return Intrinsic("mm-upt", lambda rollouts, ctx: by_group(rollouts, extract, of_group))
