"""Predicted against wanted tool calls: how alike two are, and who is matched with whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from guerdon.errors import RecipeError
from guerdon.verify.assignment import best_pairs

MATCHES = ("hungarian", "greedy", "ot")


def call_similarity(wanted: Mapping[str, Any], called: Mapping[str, Any]) -> float:
    """S = (1 + J + V) / (2 + |wanted arguments|), 0 for calls of another name.

    J is the multiset overlap of argument names |both| / |either|, V the number of wanted arguments whose
    value is exactly the called one. Names compare without case. Each call has a `name` and its arguments
    under `parameters` or `arguments`.

    Reference: arXiv 2601.10712.
    """
    if str(wanted.get("name", "")).lower() != str(called.get("name", "")).lower():
        return 0.0
    gold, said = call_arguments(wanted), call_arguments(called)
    values = sum(key in said and same(said[key], value) for key, value in gold.items())
    return (1.0 + key_overlap(list(gold), list(said)) + values) / (2.0 + len(gold))


def call_arguments(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments of a call, {} where it has none or they are no object."""
    found = call.get("parameters", call.get("arguments"))
    return found if isinstance(found, Mapping) else {}


def same(a: Any, b: Any) -> bool:
    """Equality of two argument values as Python sees it, without truth of arrays."""
    return bool(a == b)


def key_overlap(a: list[str], b: list[str]) -> float:
    """|a and b| / |a or b| as multisets; 1 for equal lists, 0 where one is empty."""
    if sorted(a) == sorted(b):
        return 1.0
    shared = sum((Counter(a) & Counter(b)).values())
    return shared / (len(a) + len(b) - shared)


def matched_scores(scores: np.ndarray, match: str = "hungarian", reg: float = 0.1) -> np.ndarray:
    """Score of every row through the columns it is matched with.

    Args:
        scores: (rows, columns), 0 or more.
        match: "hungarian" (largest total one-to-one), "greedy" (largest pairs first, as released) or "ot"
            (entropic optimal transport with uniform marginals, cost -scores).
        reg: entropy weight of "ot".

    Returns:
        float64 (rows,): the matched score, 0 without a match; for "ot" sum_j T_ij S_ij, about S / rows.
    """
    scores = np.asarray(scores, dtype=np.float64)
    out = np.zeros(scores.shape[0])
    if scores.size == 0:
        return out
    if match == "ot":
        return (sinkhorn(-scores, reg) * scores).sum(axis=1)
    for row, column in _pairs(scores, match):
        out[row] = scores[row, column]
    return out


def _pairs(scores: np.ndarray, match: str) -> list[tuple[int, int]]:
    if match == "hungarian":
        return best_pairs(scores.tolist())
    if match != "greedy":
        raise RecipeError(f"match must be one of {', '.join(MATCHES)}; got {match!r}")
    rows: set[int] = set()
    columns: set[int] = set()
    pairs = []
    ranked = sorted(
        ((scores[i, j], i, j) for i in range(scores.shape[0]) for j in range(scores.shape[1])), reverse=True
    )
    for score, i, j in ranked:
        if score > 0 and i not in rows and j not in columns:
            rows.add(i)
            columns.add(j)
            pairs.append((i, j))
    return pairs


def sinkhorn(
    cost: np.ndarray, reg: float = 0.1, tolerance: float = 1e-10, iterations: int = 10_000
) -> np.ndarray:
    """Transport plan of least cost - reg * entropy between uniform marginals 1/rows and 1/columns.

    Alternate scaling in logarithms, until the row marginals hold within `tolerance`.

    Args:
        cost: (rows, columns), at least one of each.
        reg: entropy weight, above 0.

    Raises:
        RecipeError: `reg` is not above 0.
    """
    if not reg > 0:
        raise RecipeError(f"reg must be above 0, got {reg!r}")
    kernel = -np.asarray(cost, dtype=np.float64) / reg
    rows, columns = -np.log(kernel.shape)
    g = np.zeros(kernel.shape[1])
    for _ in range(iterations):
        f = rows - np.logaddexp.reduce(kernel + g, axis=1)
        g = columns - np.logaddexp.reduce(kernel + f[:, None], axis=0)
        plan = np.exp(kernel + f[:, None] + g)
        if np.abs(plan.sum(axis=1) - np.exp(rows)).max() < tolerance:
            break
    return plan
