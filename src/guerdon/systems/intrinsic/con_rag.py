"""Con-RAG: mean similarity of a rollout to those of the other paraphrases of its question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.errors import RecipeError
from guerdon.intrinsic.reward import Extractor, Intrinsic, Values, answers_of, groups_of, meta_of
from guerdon.systems.catalogue import system
from guerdon.verify.answers_match import token_f1
from guerdon.verify.text_bleu import sentence_bleu

Similarity = Callable[[str, str], float]
NO_TWIN = "a question without another paraphrase has nothing to agree with"
NO_LABEL = "no reference: alpha and gamma ask for one; set gamma=0 for consistency alone"


def word_jaccard(a: str, b: str) -> float:
    """|A and B| / |A or B| of word sets; 1 for two empty texts."""
    return jaccard(set(a.split()), set(b.split()))


def jaccard(a: set[str], b: set[str]) -> float:
    """Share of the union that both have; 1 where both are empty."""
    return len(a & b) / len(a | b) if a | b else 1.0


def _bleu(a: str, b: str, order: int) -> float:
    return sentence_bleu(a, [b], order)


SIMILARITIES: dict[str, Similarity] = {
    "bleu1": partial(_bleu, order=1),
    "bleu2": partial(_bleu, order=2),
    "jaccard": word_jaccard,
}


@system(
    "con-rag",
    title="Improving Consistency in Retrieval-Augmented Systems with Group Similarity Rewards",
    arxiv="2510.04392",
    family="intrinsic",
    kind="reward",
)
def con_rag(
    question: str = "question",
    similarity: str | Similarity = "bleu2",
    alpha: float = 1.0,
    gamma: float = 0.0,
    kappa: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    extract: str | Extractor = "text",
) -> Intrinsic:
    """r_ij = alpha / ((n-1) g) sum over the rollouts m of the other n - 1 paraphrases of sim(o_ij, o_um)
    + gamma F1(o_ij, y*), per rollout.

    Args:
        question: entry of `meta` that the paraphrases of a question share; each is a group.
        similarity: "bleu1", "bleu2", "jaccard", or a function (text, text) -> [0, 1].
        alpha, gamma: weights of consistency and of token F1 against the reference.
        kappa, samples: other paraphrases drawn per rollout, and rollouts of each, without putting back; None
            takes all. The estimate is unbiased for equal group sizes.
        seed: of these draws, together with the step.

    Reference: arXiv 2510.04392; details from secondary sources.
    """
    compare = similarity if callable(similarity) else SIMILARITIES.get(similarity)
    if compare is None or (kappa is not None and kappa < 1) or (samples is not None and samples < 1):
        raise RecipeError(
            f"con-rag: similarity is one of {', '.join(SIMILARITIES)} or a function, kappa and samples >= 1; "
            f"got {similarity!r}, {kappa!r}, {samples!r}"
        )

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        texts = [text or "" for text in answers_of(rollouts, extract)]
        rng = np.random.default_rng([seed, ctx.step if ctx else 0])
        values, causes = consistency(
            texts, groups_of(rollouts), meta_of(rollouts, question), compare, kappa, samples, rng
        )
        values = alpha * values
        if gamma:
            for i, gold in enumerate(rollouts.reference or [None] * len(rollouts)):
                if gold is None:
                    values[i], causes[i] = np.nan, NO_LABEL
                else:
                    golds = [gold] if isinstance(gold, str) else [str(g) for g in gold]
                    values[i] += gamma * token_f1(texts[i], golds)
        return values, causes

    return Intrinsic("con-rag", score, shape="all")


def consistency(
    texts: Sequence[str],
    groups: np.ndarray,
    questions: Sequence[object],
    compare: Similarity,
    kappa: int | None = None,
    samples: int | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, dict[int, str]]:
    """Mean similarity to the other paraphrases' texts, float64 (rows,), and causes."""
    rng = rng or np.random.default_rng(0)
    of_question: dict[object, dict[int, list[int]]] = {}
    for i, (group, name) in enumerate(zip(groups.tolist(), questions, strict=True)):
        of_question.setdefault(group if name is None else name, {}).setdefault(group, []).append(i)
    out, causes = np.full(len(texts), np.nan), {}
    known: dict[tuple[str, str], float] = {}
    for views in of_question.values():
        for group, rows in views.items():
            others = [other for other in views if other != group]
            for i in rows:
                if not others:
                    causes[i] = NO_TWIN
                    continue
                drawn = [m for u in _some(others, kappa, rng) for m in _some(views[u], samples, rng)]
                for m in drawn:
                    if (texts[i], texts[m]) not in known:
                        known[texts[i], texts[m]] = compare(texts[i], texts[m])
                out[i] = np.mean([known[texts[i], texts[m]] for m in drawn])
    return out, causes


def _some(items: list[int], count: int | None, rng: np.random.Generator) -> list[int]:
    if count is None or count >= len(items):
        return items
    return [items[k] for k in rng.choice(len(items), count, replace=False)]


def pairwise_consistency(texts: Sequence[str], compare: Similarity = word_jaccard) -> float:
    """C = 1/(n(n-1)) sum_{i != j} sim(y_i, y_j): end to end, or with the documents held fixed."""
    pairs = [compare(a, b) for i, a in enumerate(texts) for j, b in enumerate(texts) if i != j]
    return float(np.mean(pairs)) if pairs else float("nan")


def retriever_consistency(retrieved: Sequence[set[str]]) -> float:
    """C_ret = 2/(n(n-1)) sum_{i<j} Jaccard of what was retrieved."""
    pairs = [jaccard(a, b) for i, a in enumerate(retrieved) for b in retrieved[:i]]
    return float(np.mean(pairs)) if pairs else float("nan")
