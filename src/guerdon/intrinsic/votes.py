"""Answers that vote: clusters of equal answers, majorities, cluster probabilities, semantic entropy.

Enters: answers and groups. Leaves: labels and shares. A blank answer is in no cluster, never votes and never
agrees with anything, but it stays in the count of its group.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from guerdon.errors import DataError, RecipeError

Equal = Callable[[str, str], bool]
TIES = ("first", "random", "none")
ALONE = "a group of one cannot vote"


@dataclass(frozen=True)
class Clusters:
    """Answers of one group, sorted into clusters.

    Attributes:
        label: int64 (n,), cluster of each answer in order of appearance, -1 for a blank one.
        counts: int64 (clusters,).
        representatives: the first answer of each cluster.
    """

    label: np.ndarray
    counts: np.ndarray
    representatives: tuple[str, ...]


def is_blank(answer: str | None) -> bool:
    """None, and text without anything but white space."""
    return answer is None or not answer.strip()


def same_maths(a: str, b: str) -> bool:
    """Equality of two bare mathematical answers."""
    from guerdon.verify.maths.decide import decide

    return decide(a, b).equal is True


def equality(equal: str | Equal | None) -> Equal | None:
    """None for equal strings ("text"), `same_maths` for "maths", or a predicate of one's own.

    Raises:
        RecipeError: anything else.
    """
    if equal in (None, "text"):
        return None
    if equal == "maths":
        return same_maths
    if callable(equal):
        return equal
    raise RecipeError(f"equal: got {equal!r}, expected 'text', 'maths' or a function of two answers")


def cluster(answers: Sequence[str | None], equal: str | Equal | None = None) -> Clusters:
    """Greedy clusters: an answer joins the first cluster whose representative it equals, else opens one.

    Equality need not be transitive; an answer once assigned stays. Equal strings are compared once.
    """
    same = equality(equal)
    label = np.full(len(answers), -1, np.int64)
    first: list[str] = []
    known: dict[Hashable, int] = {}
    for i, answer in enumerate(answers):
        if answer is None or is_blank(answer):
            continue
        text = answer.strip()
        if text not in known:
            found = next((c for c, r in enumerate(first) if same(r, text)), -1) if same else -1
            if found < 0:
                found = len(first)
                first.append(text)
            known[text] = found
        label[i] = known[text]
    counts = np.bincount(label[label >= 0], minlength=len(first)).astype(np.int64)
    return Clusters(label, counts, tuple(first))


def winner(
    clusters: Clusters,
    min_votes: int = 1,
    tie: str = "first",
    rng: np.random.Generator | None = None,
    weights: np.ndarray | None = None,
) -> int:
    """The cluster with most votes, or -1 where there is none.

    Args:
        min_votes: least number of votes a majority needs.
        tie: "first" seen, "random" (needs `rng`), or "none": a tie has no winner.
        weights: (n,) weight of each vote; default 1.

    Raises:
        RecipeError: an unknown tie rule, or "random" without a generator.
    """
    if tie not in TIES or (tie == "random" and rng is None):
        raise RecipeError(f"tie: got {tie!r}, expected one of {', '.join(TIES)} ('random' needs rng)")
    inside = clusters.label >= 0
    if not inside.any():
        return -1
    given = None if weights is None else np.asarray(weights, np.float64)[inside]
    score = np.bincount(clusters.label[inside], given, minlength=len(clusters.counts))
    score = np.where(clusters.counts >= min_votes, score, -np.inf)
    best = np.flatnonzero(score == score.max())
    if not np.isfinite(score.max()) or (len(best) > 1 and tie == "none"):
        return -1
    if len(best) > 1 and tie == "random" and rng is not None:
        return int(rng.choice(best))
    return int(best[0])


def cluster_probability(clusters: Clusters) -> np.ndarray:
    """p_i = |cluster of i| / n, blanks counted in n; 0 for a blank answer; float64 (n,)."""
    n = len(clusters.label)
    if not n or not len(clusters.counts):
        return np.zeros(n)
    return np.where(clusters.label >= 0, clusters.counts[clusters.label] / n, 0.0)


def semantic_entropy(clusters: Clusters) -> float:
    """H = -sum_c p_c ln p_c with p_c = |c| / n, in nats; every blank counts as a kind of its own."""
    n = len(clusters.label)
    blanks = int((clusters.label < 0).sum())
    p = np.concatenate([clusters.counts, np.ones(blanks, np.int64)]) / max(n, 1)
    return float(-(p * np.log(p)).sum()) if n else 0.0


def agreement(
    answers: Sequence[str | None], pseudo_label: str | None, equal: str | Equal | None = None
) -> np.ndarray:
    """1[a_i equals the pseudo-label], float64 (n,): 0 for blanks, and for all where there is no label."""
    same = equality(equal) or (lambda a, b: a == b)
    if pseudo_label is None or is_blank(pseudo_label):
        return np.zeros(len(answers))
    wanted = pseudo_label.strip()
    cells = {a: float(same(wanted, a.strip())) for a in set(answers) if a is not None and not is_blank(a)}
    return np.array([0.0 if a is None else cells.get(a, 0.0) for a in answers])


def members(groups: np.ndarray) -> list[np.ndarray]:
    """Rows of every group, in order of the labels; int64 arrays."""
    groups = np.asarray(groups)
    order = np.argsort(groups, kind="stable")
    cuts = np.flatnonzero(np.diff(groups[order])) + 1
    return np.split(order, cuts) if len(order) else []


def partners(groups: np.ndarray, views: Sequence[Hashable | None]) -> dict[int, int]:
    """The other group of every group: the one with the same `view` name.

    Args:
        groups: int64 (rows,). views: what each row's question is a view of (its pair's name).

    Raises:
        DataError: a view that does not have exactly two groups; it is named.
    """
    of_view: dict[Hashable, list[int]] = {}
    for group, view in zip(np.asarray(groups).tolist(), views, strict=True):
        known = of_view.setdefault(view, [])
        if group not in known:
            known.append(group)
    for view, found in of_view.items():
        if view is None or len(found) != 2:
            raise DataError(
                f"pair {view!r} has {len(found)} groups, expected a question and its twin: give both rows "
                f"the same meta entry and groups of their own"
            )
    return {a: b for one, other in of_view.values() for a, b in ((one, other), (other, one))}
