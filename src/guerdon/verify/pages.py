"""Ranked result pages: worse pages made from good ones, and losses of models that must tell them apart.

A page is a sequence of distinct item ids, best place first; engaged items are those a user acted on.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from guerdon.verify.json_text import NotJSON, find_json
from guerdon.verify.rankings import ndcg

Page = tuple[Hashable, ...]


class Pair(NamedTuple):
    """A page and a worse one; `family` says how it was made, `margin` how much worse it is."""

    good: Page
    bad: Page
    family: str
    margin: float = 0.0


def swapped(page: Sequence[Hashable], i: int, j: int) -> Page:
    """The page with the items at places i and j (from 0) exchanged."""
    items = list(page)
    items[i], items[j] = items[j], items[i]
    return tuple(items)


def ranking_negatives(page: Sequence[Hashable], engaged: Collection[Hashable]) -> Iterator[Page]:
    """Every page with an engaged item exchanged for a later one that is not."""
    for i, item in enumerate(page):
        if item in engaged:
            for j in range(i + 1, len(page)):
                if page[j] not in engaged:
                    yield swapped(page, i, j)


def redundancy_negatives(page: Sequence[Hashable], engaged: Collection[Hashable]) -> Iterator[Page]:
    """Every page with a place that is not engaged overwritten by the engaged item before it."""
    for i in range(1, len(page)):
        if page[i] not in engaged and page[i - 1] in engaged:
            yield (*page[:i], page[i - 1], *page[i + 1 :])


def relevance_negative(
    page: Sequence[Hashable], engaged: Collection[Hashable], catalogue: Sequence[Hashable], rng: Random
) -> Page | None:
    """The page with every engaged item replaced by a random other of the catalogue; None without enough."""
    free = [item for item in catalogue if item not in page and item not in engaged]
    places = [i for i, item in enumerate(page) if item in engaged]
    if not places or len(free) < len(places):
        return None
    items = list(page)
    for place, item in zip(places, rng.sample(free, len(places)), strict=True):
        items[place] = item
    return tuple(items)


def diversity_negative(
    page: Sequence[Hashable],
    category: Mapping[Hashable, Hashable],
    catalogue: Sequence[Hashable],
    rng: Random,
    share: float = 0.8,
) -> Page | None:
    """The page with items replaced until its first item's category holds `share` of it; None if it cannot."""
    if not page:
        return None
    wanted = category.get(page[0])
    need = math.ceil(share * len(page)) - sum(category.get(item) == wanted for item in page)
    places = [i for i, item in enumerate(page) if category.get(item) != wanted]
    free = [item for item in catalogue if category.get(item) == wanted and item not in page]
    if need <= 0 or len(free) < need or len(places) < need:
        return None
    items = list(page)
    for place, item in zip(rng.sample(places, need), rng.sample(free, need), strict=True):
        items[place] = item
    return tuple(items)


def page_pairs(
    page: Sequence[Hashable],
    engaged: Collection[Hashable],
    catalogue: Sequence[Hashable] = (),
    category: Mapping[Hashable, Hashable] | None = None,
    seed: int = 0,
) -> list[Pair]:
    """Preference pairs of all four families from one logged page with its engaged items.

    The margin of a ranking pair is the loss of NDCG its swap causes.
    """
    good, rng = tuple(page), Random(seed)
    best = ndcg(good, engaged)
    pairs = [
        Pair(good, bad, "ranking", best - ndcg(bad, engaged)) for bad in ranking_negatives(good, engaged)
    ]
    pairs += [Pair(good, bad, "redundancy") for bad in redundancy_negatives(good, engaged)]
    for family, negative in (
        ("relevance", relevance_negative(good, engaged, catalogue, rng)),
        ("diversity", diversity_negative(good, category or {}, catalogue, rng) if category else None),
    ):
        if negative is not None:
            pairs.append(Pair(good, negative, family))
    return pairs


def bradley_terry(good: float, bad: float, margin: float = 0.0) -> float:
    """-log sigma(good - bad - margin), the loss of one preference pair."""
    gap = margin - (good - bad)
    return max(0.0, gap) + math.log1p(math.exp(-abs(gap)))


def page_of(text: str) -> list[str]:
    """Items of a page: a JSON list of names or of objects with id, item or title; else one item per line."""
    try:
        listed = find_json(text, (list,))
    except NotJSON:
        return [line.strip() for line in text.splitlines() if line.strip()]
    names = [
        item.get("id", item.get("item", item.get("title"))) if isinstance(item, dict) else item
        for item in listed
    ]
    return [str(name) for name in names if name is not None]
