"""Rewards by overlap with a reference text: BLEU, chrF, ROUGE, edit similarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.answers_match import golds_of
from guerdon.verify.composite import Composite
from guerdon.verify.markup import finder
from guerdon.verify.sequences import edit_similarity
from guerdon.verify.text_bleu import sentence_bleu
from guerdon.verify.text_chrf import chrf as chrf_score
from guerdon.verify.text_rouge import rouge_l, rouge_n, words

Metric = Callable[[str, Sequence[str]], float]


def bleu(order: int = 4, where: str = "text", on_error: str | float = "nan") -> Composite:
    """Sentence BLEU in [0, 1] against the reference text (or the best of several), see `text_bleu`.

    Args:
        order: longest n-gram.
        where: where the text stands in the completion, see `markup.finder`.
        on_error: what a row without reference is worth.
    """
    return _overlap("bleu", partial(sentence_bleu, order=order), f"13a-exp-{order}", where, on_error)


def chrf(order: int = 6, beta: float = 2.0, where: str = "text", on_error: str | float = "nan") -> Composite:
    """Character n-gram F_beta in [0, 1] against the reference text (the best of several), see `text_chrf`."""
    return _overlap("chrf", partial(chrf_score, order=order, beta=beta), f"{order}-{beta}", where, on_error)


def rouge(
    kind: str = "L", unicode: bool = False, where: str = "text", on_error: str | float = "nan"
) -> Composite:
    """ROUGE F1 in [0, 1] against the reference text (or the best of several), see `text_rouge`.

    Args:
        kind: "L", or "1", "2", ... for n-grams.
        unicode: words of any script instead of a-z and 0-9 only.
        where: where the text stands in the completion, see `markup.finder`.
        on_error: what a row without reference, or whose reference has letters but no word (any other script,
            where `unicode` is off), is worth.
    """
    if kind != "L" and not (str(kind).isdigit() and int(kind) > 0):
        raise RecipeError(f"verify.rouge.kind must be 'L' or an n-gram length, got {kind!r}")
    metric = partial(_rouge, metric=rouge_l if kind == "L" else partial(rouge_n, n=int(kind)))
    return _overlap("rouge", partial(metric, unicode=unicode), f"{kind}-{unicode}", where, on_error)


def edit(
    unit: str = "character", indel: bool = False, where: str = "text", on_error: str | float = "nan"
) -> Composite:
    """Edit similarity in [0, 1] to the reference text (the best of several), see `sequences`.

    Args:
        unit: "character" or "word".
        indel: count insertions and deletions only (rapidfuzz's `ratio`).
        where: where the text stands in the completion, see `markup.finder`.
        on_error: what a row without reference is worth.
    """
    if unit not in ("character", "word"):
        raise RecipeError(f"verify.edit.unit must be character or word, got {unit!r}")
    metric = partial(_edit, split=unit == "word", indel=indel)
    return _overlap("edit", metric, f"{unit}-{indel}", where, on_error)


def _rouge(answer: str, references: Sequence[str], metric: Metric, unicode: bool) -> float:
    if not any(words(gold, unicode) for gold in references) and any(words(g, True) for g in references):
        raise ValueError("the reference has no word of a-z and 0-9; unicode=true counts words of any script")
    return metric(answer, references, unicode=unicode)  # type: ignore[call-arg]


def _edit(answer: str, references: Sequence[str], split: bool, indel: bool) -> float:
    sides = [text.split() if split else text for text in (answer, *references)]
    return max((edit_similarity(sides[0], gold, indel) for gold in sides[1:]), default=0.0)


def _overlap(name: str, metric: Metric, version: str, where: str, on_error: str | float) -> Composite:
    score = partial(_score, name=name, metric=metric, find=finder(where))
    return Composite(name, score, {name: 1.0}, version=f"2-{version}-{where}", on_error=on_error)


def _score(row: Row, name: str, metric: Metric, find: Any) -> dict[str, float] | Verdict:
    golds = golds_of(row)
    if not golds:
        return missing("no reference: expected a text or a list of texts")
    answer = find(row.completion)
    return {name: 0.0 if answer is None else metric(answer, golds)}
