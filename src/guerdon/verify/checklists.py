"""Rows against their checklists: items judged one by one, given or asked for, and the mean as a reward."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.composite import Composite, as_list, given
from guerdon.verify.rubrics import BOOLEAN, TEMPLATE, TERNARY, Judge, ask, item_prompt, mean_level, read_level

SCALES: dict[str, tuple[Mapping[str, float], str]] = {
    "boolean": (BOOLEAN, "yes or no"),
    "ternary": (TERNARY, "full, partial or none"),
}

Level = float | Verdict


def judged(
    rows: Sequence[Row],
    items: Sequence[Sequence[str]],
    given_as: str,
    judge: Judge | None,
    scale: str = "boolean",
    template: str = TEMPLATE,
) -> list[list[Level]]:
    """Levels of every row's items: from `meta[given_as]` where that is there, else from the judge.

    Args:
        rows: samples.
        items: the checklist of every row.
        given_as: name of a list of levels in meta, one per item (null: not judged).
        judge: prompts -> answers; asked about all items of all rows at once, equal prompts once.
        scale: "boolean" or "ternary".
        template: of the prompt, see `rubrics.item_prompt`.

    Returns:
        One list per row; a missing Verdict in the place of a level that is not known.
    """
    levels, answers = SCALES[scale]
    known = [given(row, given_as) for row in rows]
    asked = [i for i, found in enumerate(known) if found is None] if judge is not None else []
    prompts = [
        item_prompt(rows[i].prompt, rows[i].completion, item, answers, template)
        for i in asked
        for item in items[i]
    ]
    replies = iter(ask(judge, prompts) if judge is not None else [])
    fresh = {i: [next(replies) for _ in items[i]] for i in asked}
    unknown = missing(f"not judged: expected meta[{given_as!r}] or a judge")
    found: list[list[Level]] = []
    for i, row_items in enumerate(items):
        raw = fresh[i] if i in fresh else as_list(known[i])
        if not raw:
            found.append([unknown] * len(row_items))
        elif len(raw) != len(row_items):
            found.append(
                [missing(f"{len(raw)} levels in meta[{given_as!r}] for {len(row_items)} items")]
                * len(row_items)
            )
        else:
            found.append([unknown if level is None else read_level(level, levels) for level in raw])
    return found


def unnamed(row: Row, given_as: str) -> list[str]:
    """Stand-ins for the items of a checklist of which only the levels are given."""
    return [f"item {j}" for j, _ in enumerate(as_list(given(row, given_as)), 1)]


def first_missing(levels: Sequence[Level]) -> Verdict | None:
    """The first level that is a missing Verdict; None where all are known."""
    return next((level for level in levels if isinstance(level, Verdict)), None)


def mean_or_missing(levels: Sequence[Level]) -> Level:
    """Mean level of a checklist; missing where it is empty or an item is."""
    if not levels:
        return missing("empty checklist")
    return first_missing(levels) or mean_level(
        float(level) for level in levels if not isinstance(level, Verdict)
    )


def checklist(
    judge: Judge | None = None,
    items: Sequence[str] | None = None,
    scale: str = "boolean",
    template: str = TEMPLATE,
    on_error: str | float = "nan",
) -> Composite:
    """Mean level of the items of a checklist, in [0, 1].

    Args:
        judge: prompts -> answers, any callable; None: levels are read from `meta["levels"]`.
        items: the checklist; None: each row's `meta["items"]`, or its reference.
        scale: "boolean" (yes, no) or "ternary" (full 1, partial .5, none 0).
        template: of the prompt, with {instruction}, {text}, {item} and {answers}.
        on_error: what a row with an empty checklist or an item that could not be judged is worth.

    Parts: mean, and `judged` (share of items with a level; weight 0).
    """
    if scale not in SCALES:
        raise RecipeError(f"verify.checklist.scale must be one of {', '.join(SCALES)}, got {scale!r}")
    find: Callable[[Row], list[str]] = partial(_items, items=None if items is None else tuple(items))
    score = partial(_score, find=find, judge=judge, scale=scale, template=template)
    weights = {"mean": 1.0, "judged": 0.0}
    return Composite("checklist", score, weights, version=f"1-{scale}", batch=True, on_error=on_error)


def _items(row: Row, items: tuple[str, ...] | None) -> list[str]:
    return list(items) if items is not None else list(map(str, as_list(given(row, "items", row.reference))))


def _score(rows: Sequence[Row], find: Any, judge: Judge | None, scale: str, template: str) -> list[Any]:
    levels = judged(rows, [find(row) for row in rows], "levels", judge, scale, template)
    return [
        {
            "mean": mean_or_missing(row_levels),
            "judged": sum(not isinstance(level, Verdict) for level in row_levels) / len(row_levels)
            if row_levels
            else math.nan,
        }
        for row_levels in levels
    ]
