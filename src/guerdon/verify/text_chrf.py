"""chrF: character n-gram F-score, as sacrebleu computes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def chrf(answer: str, references: Sequence[str], order: int = 6, beta: float = 2.0) -> float:
    """Character n-gram F_beta in [0, 1], the best over the references.

    White space is removed. Precision and recall are averaged over the orders n = 1..order that both sides
    are long enough for, then combined: (1 + beta^2) P R / (beta^2 P + R). An empty side scores 0.

    Reference: Popović, chrF, 2015; Post, sacreBLEU, arXiv 1804.08771 (`sacrebleu.sentence_chrf` / 100).
    """
    text = "".join(answer.split())
    counts = [_counts(text, n) for n in range(1, order + 1)]
    return max((_fscore(counts, "".join(gold.split()), beta) for gold in references), default=0.0)


def _counts(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))


def _fscore(counts: list[Counter[str]], gold: str, beta: float) -> float:
    precision = recall = 0.0
    orders = 0
    for n, count in enumerate(counts, 1):
        wanted = _counts(gold, n)
        if not count or not wanted:
            continue
        matched = sum((count & wanted).values())
        precision += matched / count.total()
        recall += matched / wanted.total()
        orders += 1
    if precision + recall == 0.0:
        return 0.0
    precision, recall = precision / orders, recall / orders
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
