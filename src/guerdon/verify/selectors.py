"""Addressing a place in code: how well candidates fit a selector, which one wins, content fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

WEIGHTS = {"ast_kind": 0.5, "module": 0.2, "tokens": 0.2, "proximity": 0.1}
"""Parts of a candidate's score, each in [0, 1]."""


class Resolution(NamedTuple):
    """The winning candidate, its score (the confidence alpha), and whether that is too low to be sure."""

    candidate: Mapping[str, Any] | None
    confidence: float
    ambiguous: bool


def candidate_score(parts: Mapping[str, float]) -> float:
    """.5 ast_kind + .2 module + .2 tokens (Jaccard index) + .1 proximity; parts not given are 0.

    Reference: Lanser-CLI, arXiv 2510.22907.
    """
    return sum(weight * parts.get(name, 0.0) for name, weight in WEIGHTS.items())


def resolve(candidates: Sequence[Mapping[str, Any]], tau: float) -> Resolution:
    """The candidate with the highest `score`, the first by (uri, range) of equals; ambiguous below `tau`.

    Args:
        candidates: {uri, range: [line, column, line, column], score}.
    """
    if not candidates:
        return Resolution(None, 0.0, True)
    best = min(candidates, key=lambda c: (-float(c["score"]), str(c["uri"]), list(c["range"])))
    return Resolution(best, float(best["score"]), float(best["score"]) < tau)


def fingerprints(text: str, k: int = 7, window: int = 4) -> set[tuple[int, int]]:
    """Winnowed k-grams as (hash, position): the least hash of every window, the last of equal ones.

    Any match of at least window + k - 1 characters is found. White space is not looked at.

    Reference: Schleimer et al., Winnowing, 2003.
    """
    dense = "".join(text.split())
    grams = (dense[i : i + k] for i in range(len(dense) - k + 1))
    hashes = [int.from_bytes(blake2b(gram.encode(), digest_size=8).digest(), "big") for gram in grams]
    chosen = set()
    for start in range(max(1, len(hashes) - window + 1) if hashes else 0):
        part = hashes[start : start + window]
        least = min(part)
        chosen.add((least, start + len(part) - 1 - part[::-1].index(least)))
    return chosen
