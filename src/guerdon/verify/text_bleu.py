"""Sentence BLEU, as sacrebleu computes it (13a tokens, exponential smoothing, effective order)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from guerdon.verify.sequences import ngrams

_ESCAPES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}
_RULES = [
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
]


def tokens_13a(text: str) -> list[str]:
    """Tokens of mteval-v13a: punctuation apart, but not inside numbers; case kept."""
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for escape, character in _ESCAPES.items():
        text = text.replace(escape, character)
    text = f" {text} "
    for pattern, spaced in _RULES:
        text = pattern.sub(spaced, text)
    return text.split()


def sentence_bleu(answer: str, references: Sequence[str], order: int = 4) -> float:
    """BLEU of one sentence in [0, 1].

    BP * exp(mean_n log p_n) over the orders n = 1..order that the answer is long enough for; an order
    without a match has p_n = 1 / (2^k * count_n) for the k-th such order; BP = min(1, exp(1 - r/c)) with
    the reference length r closest to the answer's length c (the shorter of two equally close).

    Reference: Papineni et al., 2002; Post, sacreBLEU, arXiv 1804.08771 (`sacrebleu.sentence_bleu` / 100).
    """
    words = tokens_13a(answer)
    golds = [tokens_13a(reference) for reference in references]
    if not words or not golds:
        return 0.0
    logs = []
    halvings = 0
    for n in range(1, min(order, len(words)) + 1):
        count = Counter(ngrams(words, n))
        most: Counter[tuple[object, ...]] = Counter()
        for gold in golds:
            most |= Counter(ngrams(gold, n))
        matched = sum((count & most).values())
        if n == 1 and not matched:
            return 0.0
        if not matched:
            halvings += 1
        total = len(words) - n + 1
        logs.append(math.log(matched / total if matched else 0.5**halvings / total))
    closest = min((abs(len(gold) - len(words)), len(gold)) for gold in golds)[1]
    penalty = min(0.0, 1.0 - closest / len(words))
    return math.exp(penalty + math.fsum(logs) / len(logs))
