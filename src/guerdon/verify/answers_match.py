"""Short answers against accepted ones: normalisation styles, exact match, contained match, token F1.

Published systems normalise differently, and verdicts depend on it: the style is a parameter.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.composite import Composite, absent, as_list, given
from guerdon.verify.markup import finder

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_QUOTES = "‘’´`"
_DROP = str.maketrans("", "", string.punctuation)
_SPACE = str.maketrans(dict.fromkeys(string.punctuation + _QUOTES, " "))


def squad(text: str) -> str:
    """Lower case, ASCII punctuation removed, articles dropped, white space squeezed (SQuAD's evaluation)."""
    return " ".join(_ARTICLES.sub(" ", _composed(text).lower().translate(_DROP)).split())


def spaced(text: str) -> str:
    """As `squad`, but punctuation (and ‘ ’ ´ `) becomes a space: "3.14" is "3 14", not "314"."""
    return " ".join(_ARTICLES.sub(" ", _composed(text).lower().translate(_SPACE)).split())


def squeezed(text: str) -> str:
    """Lower case, white space squeezed."""
    return " ".join(_composed(text).lower().split())


def _composed(text: str) -> str:
    """One spelling for letters that Unicode writes in two ways (e with an accent, in one code or two)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


STYLES: dict[str, Callable[[str], str]] = {
    "squad": squad,
    "spaced": spaced,
    "squeezed": squeezed,
    "exact": str.strip,
}


def exact_match(answer: str, golds: Sequence[str], style: str = "squad") -> float:
    """1 where the normalised answer equals any normalised gold answer, else 0."""
    normal = STYLES[style]
    return _exact(normal(answer), [normal(gold) for gold in golds])


def contained(answer: str, golds: Sequence[str], style: str = "squad") -> float:
    """1 where any normalised, non-empty gold answer is part of the normalised answer, on word borders."""
    normal = STYLES[style]
    return _contained(normal(answer), [normal(gold) for gold in golds])


def token_f1(answer: str, golds: Sequence[str], style: str = "squad") -> float:
    """Highest F1 of the words of the answer (as a multiset) against those of a gold answer."""
    normal = STYLES[style]
    return _best_f1(normal(answer), [normal(gold) for gold in golds])


def _exact(said: str, wanted: Sequence[str]) -> float:
    return float(said in wanted)


def _contained(said: str, wanted: Sequence[str]) -> float:
    text = f" {said} "
    return float(any(gold and f" {gold} " in text for gold in wanted))


def _best_f1(said: str, wanted: Sequence[str]) -> float:
    words = said.split()
    return max((_f1(words, gold.split()) for gold in wanted), default=0.0)


def _f1(answer: list[str], gold: list[str]) -> float:
    if answer == gold:
        return 1.0
    if not answer or not gold:
        return 0.0
    shared = sum((Counter(answer) & Counter(gold)).values())
    return 2.0 * shared / (len(answer) + len(gold))


def match(
    metric: str = "exact", style: str = "squad", where: str = "text", on_error: str | float = "nan"
) -> Composite:
    """Reward a short answer: exact match, contained match or token F1 with the accepted answers.

    Args:
        metric: "exact", "contained" or "f1"; all three are reported as parts.
        style: "squad", "spaced", "squeezed" or "exact", see the functions of this module.
        where: where the answer stands in the completion, see `markup.finder`.
        on_error: what a row without reference is worth.

    The reference is a text, a number, or a list of accepted ones. A completion without an answer scores 0.

    Reference: Rajpurkar et al., SQuAD, arXiv 1606.05250.
    """
    metrics = ("exact", "contained", "f1")
    if metric not in metrics:
        raise RecipeError(f"verify.match.metric must be one of {', '.join(metrics)}, got {metric!r}")
    if style not in STYLES:
        raise RecipeError(f"verify.match.style must be one of {', '.join(STYLES)}, got {style!r}")
    score = partial(_score, style=style, find=finder(where))
    weights = {name: float(name == metric) for name in metrics}
    version = f"2-{metric}-{style}-{where}"
    return Composite("match", score, weights, version=version, quick=True, on_error=on_error)


def golds_of(row: Row) -> list[str]:
    """The accepted answers of a row as texts: `answers` of meta or reference, else the reference itself.

    What is no text or number (a mapping, a list in the list, None) is no accepted answer.
    """
    golds = as_list(given(row, "answers", row.reference))
    return [str(gold) for gold in golds if not absent(gold) and not isinstance(gold, Mapping | list | tuple)]


def _score(row: Row, style: str, find: Any) -> dict[str, float] | Verdict:
    golds = golds_of(row)
    if not golds:
        return missing("no reference: expected an accepted answer (text or number) or a list of them")
    answer = find(row.completion)
    if answer is None:
        return {"exact": 0.0, "contained": 0.0, "f1": 0.0}
    normal = STYLES[style]
    said, wanted = normal(answer), [normal(gold) for gold in golds]
    return {
        "exact": _exact(said, wanted),
        "contained": _contained(said, wanted),
        "f1": _best_f1(said, wanted),
    }
