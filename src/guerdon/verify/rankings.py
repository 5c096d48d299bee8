"""Rankings against relevant items: rank decay, DCG and NDCG, reciprocal rank, recall, average precision.

A ranking is a sequence of ids, best first. An id that comes twice counts at its first place only, and
holds that place: repeats push the later ids down, as a reader would see them.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.composite import Composite, as_list, given
from guerdon.verify.markup import finder
from guerdon.verify.settled import settling

_LIST = re.compile(r"\[([^\[\]]*)\]")
_INTEGER = re.compile(r"\s*(-?[0-9]{1,18})\s*")


def ranks(order: Sequence[Hashable], wanted: Iterable[Hashable]) -> list[int]:
    """Rank from 1 of the first occurrence of every wanted id that is there."""
    place: dict[Hashable, int] = {}
    for i, item in enumerate(order, 1):
        place.setdefault(item, i)
    return [place[item] for item in dict.fromkeys(wanted) if item in place]


def rank_decay(order: Sequence[Hashable], positives: Iterable[Hashable], alpha: float = 3.0) -> float:
    """sum_{p in P} rank(p)^-alpha / sum_{i=1..|P|} i^-alpha, in [0, 1]; missing ids add 0, no P gives 0.

    Reference: Xu et al., MM-R5, arXiv 2506.12364 (alpha = 3).
    """
    wanted = list(dict.fromkeys(positives))
    ideal = math.fsum(i**-alpha for i in range(1, len(wanted) + 1))
    return math.fsum(r**-alpha for r in ranks(order, wanted)) / ideal if wanted else 0.0


def dcg(gains: Sequence[float]) -> float:
    """sum_i gain_i / log2(i + 1), i from 1."""
    return math.fsum(gain / math.log2(i + 1) for i, gain in enumerate(gains, 1))


def ndcg(
    order: Sequence[Hashable], relevance: Mapping[Hashable, float] | Iterable[Hashable], k: int | None = None
) -> float:
    """DCG@k of the order over the DCG@k of the ideal order; 0 where nothing is relevant.

    Args:
        order: ids, best first.
        relevance: gain of each id; or the relevant ids, with gain 1.
        k: how many places count; None: all.
    """
    gain = dict(relevance) if isinstance(relevance, Mapping) else dict.fromkeys(relevance, 1.0)
    ideal = dcg(sorted(gain.values(), reverse=True)[:k])
    seen: set[Hashable] = set()
    gains = []
    for item in order[:k]:
        gains.append(0.0 if item in seen else gain.get(item, 0.0))
        seen.add(item)
    return dcg(gains) / ideal if ideal > 0 else 0.0


def reciprocal_rank(order: Sequence[Hashable], positives: Iterable[Hashable], k: int | None = None) -> float:
    """1 / rank of the first relevant id among the first k; 0 where there is none."""
    found = ranks(order[:k], positives)
    return 1.0 / min(found) if found else 0.0


def recall_at(order: Sequence[Hashable], positives: Iterable[Hashable], k: int | None = None) -> float:
    """Share of the relevant ids among the first k; 0 where nothing is relevant."""
    wanted = set(positives)
    return len(wanted & set(order[:k])) / len(wanted) if wanted else 0.0


def average_precision(
    order: Sequence[Hashable], positives: Iterable[Hashable], k: int | None = None
) -> float:
    """Mean over the relevant ids of the precision at their place (0 for those not in the first k)."""
    wanted = set(positives)
    found = sorted(ranks(order[:k], wanted))
    return math.fsum(hits / place for hits, place in enumerate(found, 1)) / len(wanted) if wanted else 0.0


def macro_micro(values: Sequence[float], labels: Sequence[Hashable]) -> tuple[float, float]:
    """Mean over labels of their mean value, and mean over all values. NaN values are left out."""
    by_label: dict[Hashable, list[float]] = defaultdict(list)
    for value, label in zip(values, labels, strict=True):
        if not math.isnan(value):
            by_label[label].append(value)
    everything = [value for members in by_label.values() for value in members]
    if not everything:
        return math.nan, math.nan
    macro = math.fsum(math.fsum(members) / len(members) for members in by_label.values()) / len(by_label)
    return macro, math.fsum(everything) / len(everything)


def integer_list(text: str) -> list[int] | None:
    """The integers of the last `[...]` in a text; None where there is none or it holds anything else."""
    found = _LIST.findall(text)
    if not found:
        return None
    if not found[-1].strip():
        return []
    parsed = [_INTEGER.fullmatch(part) for part in found[-1].split(",")]
    return [int(match.group(1)) for match in parsed if match] if all(parsed) else None


METRICS = {
    "ndcg": ndcg,
    "mrr": reciprocal_rank,
    "recall": recall_at,
    "ap": average_precision,
    "rank_decay": rank_decay,
}


def ranking(
    metric: str = "ndcg",
    k: int | None = None,
    alpha: float = 3.0,
    where: str = "text",
    on_error: str | float = "nan",
) -> Composite:
    """Reward a ranking: the metric of the last list of integer ids in the answer, in [0, 1].

    Args:
        metric: "ndcg", "mrr", "recall", "ap" or "rank_decay"; all are reported as parts.
        k: places that count ("rank_decay" counts all).
        alpha: of "rank_decay".
        where: where the list stands, see `markup.finder`.
        on_error: what a row without reference is worth.

    Lists that are denied, taken back or offered side by side do not count (see `settled`). The reference is
    the list of relevant ids or a mapping id -> gain (keys may be text, as in JSON). An
    answer without a list scores 0.
    """
    if metric not in METRICS:
        raise RecipeError(f"verify.ranking.metric must be one of {', '.join(METRICS)}, got {metric!r}")
    score = partial(_score, k=k, alpha=alpha, find=settling(finder(where)))
    weights = {name: float(name == metric) for name in METRICS}
    return Composite("ranking", score, weights, version=f"2-{metric}-{k}-{alpha}-{where}", on_error=on_error)


def _score(row: Row, k: int | None, alpha: float, find: Any) -> dict[str, float] | Verdict:
    relevance = given(row, "relevance", row.reference)
    if relevance is None:
        return missing("no reference: expected relevant ids or id -> gain")
    try:
        gains = _gains(relevance)
    except (TypeError, ValueError):
        return missing(f"reference: expected integer ids or a mapping id -> gain, got {relevance!r}"[:200])
    positives = [key for key, gain in gains.items() if gain > 0]
    order = integer_list(find(row.completion) or "")
    if order is None:
        return dict.fromkeys(METRICS, 0.0)
    return {
        "ndcg": ndcg(order, gains, k),
        "mrr": reciprocal_rank(order, positives, k),
        "recall": recall_at(order, positives, k),
        "ap": average_precision(order, positives, k),
        "rank_decay": rank_decay(order, positives, alpha),
    }


def _gains(relevance: Any) -> dict[int, float]:
    if isinstance(relevance, Mapping):
        return {int(key): float(gain) for key, gain in relevance.items()}
    return dict.fromkeys((int(item) for item in as_list(relevance)), 1.0)
