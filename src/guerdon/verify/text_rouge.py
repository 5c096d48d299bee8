"""ROUGE-N and ROUGE-L, as rouge-score computes them without its stemmer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from guerdon.verify.sequences import lcs_f1, ngrams

_ASCII = re.compile(r"[a-z0-9]+")
_WORD = re.compile(r"\w+")


def words(text: str, unicode: bool = False) -> list[str]:
    """Lower-case words: runs of a-z and 0-9, or with `unicode` of letters and digits of any script."""
    return (_WORD if unicode else _ASCII).findall(text.lower())


def rouge_l(answer: str, references: Sequence[str], unicode: bool = False) -> float:
    """F1 of the longest common subsequence of words, best over the references; an empty side scores 0.

    Reference: Lin, ROUGE, 2004; `rouge_score.rouge_scorer` (rougeL, use_stemmer=False).
    """
    said = words(answer, unicode)
    return max((_either(said, words(gold, unicode)) for gold in references), default=0.0)


def rouge_n(answer: str, references: Sequence[str], n: int = 2, unicode: bool = False) -> float:
    """F1 of the word n-grams (as multisets), best over the references; an empty side scores 0."""
    said = Counter(ngrams(words(answer, unicode), n))
    best = 0.0
    for gold in references:
        wanted = Counter(ngrams(words(gold, unicode), n))
        if said and wanted:
            best = max(best, 2.0 * (said & wanted).total() / (said.total() + wanted.total()))
    return best


def _either(said: list[str], wanted: list[str]) -> float:
    return lcs_f1(said, wanted) if said and wanted else 0.0
