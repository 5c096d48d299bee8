"""EMPO: the probability of a rollout's answer cluster inside its group, with guards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.errors import RecipeError
from guerdon.intrinsic.reward import Extractor, Intrinsic, Values
from guerdon.intrinsic.votes import Clusters, Equal, cluster, cluster_probability, is_blank, semantic_entropy
from guerdon.intrinsic.voting import by_group
from guerdon.systems.catalogue import system
from guerdon.verify.text_rouge import words


@system(
    "empo",
    title="Right Question is Already Half the Answer: Fully Unsupervised LLM Reasoning Incentivization",
    arxiv="2504.05812",
    family="intrinsic",
    kind="reward",
)
def empo(
    extract: str | Extractor = "boxed",
    equal: str | Equal = "maths",
    form: str = "maths",
    low: float | None = None,
    high: float | None = None,
) -> Intrinsic:
    """r_i = p of the cluster of a_i = |cluster| / n, per rollout; 0 for all where no two answers agree.

    form "text" adds: a blank answer is worth -.5; 0 for an answer that parrots the question (a part of it,
    or more than .8 of its words in order), and for all where the largest cluster is below .2.

    Args:
        extract: "boxed", "text", a tag, or a function that finds the answer.
        equal: "maths" (parsed answers), "text" (as released for maths), or a predicate.
        form: "maths" or "text".
        low, high: band of the semantic entropy H = -sum p ln p outside which all rewards are 0.

    Blank answers are in no cluster but stay in n. A group of one is missing.

    Reference: Zhang et al., arXiv 2504.05812; trl/src/open_r1/rewards.py of QingyangZhang/EMPO.
    """
    if form not in ("maths", "text"):
        raise RecipeError(f"empo: form is maths or text, got {form!r}")

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        def of_group(answers: Sequence[str | None], rows: np.ndarray) -> np.ndarray:
            found = cluster(answers, equal)
            p = cluster_probability(found) * _open(found, form, low, high)
            if form == "text":
                prompts = [str(rollouts.prompt[i]) if rollouts.prompt else "" for i in rows.tolist()]
                parrots = [parroted(a or "", q) for a, q in zip(answers, prompts, strict=True)]
                p = np.where(parrots, 0.0, p)
                p = np.where([a is None or is_blank(a) for a in answers], -0.5, p)
            return p

        return by_group(rollouts, extract, of_group)

    return Intrinsic("empo", score)


def _open(found: Clusters, form: str, low: float | None, high: float | None) -> bool:
    """Whether the guards let a group through."""
    n, blanks = len(found.label), int((found.label < 0).sum())
    if form == "maths" and len(found.counts) + blanks == n:
        return False
    if form == "text" and len(found.counts) > 1 and found.counts.max() / n < 0.2:
        return False
    h = semantic_entropy(found)
    return (low is None or h > low) and (high is None or h < high)


def parroted(answer: str, question: str, limit: float = 0.8) -> bool:
    """Whether an answer is part of the question, or over `limit` of its words are, in order."""
    if not answer.strip():
        return False
    if answer.strip().lower() in question.lower():
        return True
    said, asked = words(answer), words(question)
    row = [0] * (len(asked) + 1)
    for word in said:
        before = 0
        for j, other in enumerate(asked, 1):
            before, row[j] = row[j], before + 1 if word == other else max(row[j], row[j - 1])
    return bool(said) and row[-1] / len(said) > limit
