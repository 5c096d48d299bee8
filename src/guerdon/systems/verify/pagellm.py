"""PageLLM: a page-level and an item-level reward of a ranked page, summed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.verify.composite import Composite, as_list, given, stated
from guerdon.verify.markup import finder
from guerdon.verify.pages import page_of
from guerdon.verify.rankings import ndcg, recall_at
from guerdon.verify.rubrics import ask, read_number

PageModel = Callable[[list[str]], Sequence[float]]
"""JSON texts {"context": .., "page": [..]} to one score each."""


@system(
    "pagellm",
    title="PageLLM: A Multi-Grained Reward Framework for Whole-Page Optimization with Large Language Models",
    arxiv="2506.09084",
    family="verify",
    kind="reward",
)
def pagellm(
    page_model: PageModel | None = None,
    item_model: PageModel | None = None,
    lam: float = 1.0,
    invalid: float | None = None,
    k: int | None = None,
    where: str = "text",
    on_error: str | float = "nan",
) -> Composite:
    """R_i = R_page(i) + lambda R_item(i), one value per rollout; the KL penalty belongs to the policy loss.

    The page is the list of items in the completion (JSON, else one item per line). R_page and R_item are
    scores of models fitted on preference pairs (`verify.pages` makes the pairs and has the loss); they are
    asked, or read from `meta` or rollout-level signals `R_page` and `R_item`.

    Args:
        page_model, item_model: see `PageModel`.
        lam: lambda; the paper gives no value.
        invalid: what a page is worth that is empty, repeats an item, or shows one that is not in
            `meta["catalogue"]` (where given); None: no gate.
        k: of the parts `ndcg` and `recall` against the engaged items (`engaged` of meta or reference, or the
            reference itself); both are reported only.
        where: where the page stands in the completion, see `markup.finder`.
        on_error: what a row without one of the scores is worth.

    Parts: page, item, valid, ndcg, recall.

    Reference: Wang et al., arXiv 2506.09084 (the structure; the formulas are not public, these are ours).
    """
    if invalid is not None and not isinstance(invalid, int | float):
        raise RecipeError(f"pagellm: invalid must be a number or nothing, got {invalid!r}")
    models = {"page": page_model, "item": item_model}
    score = partial(_score, models=models, invalid=invalid, k=k, find=finder(where))
    weights = {"page": 1.0, "item": lam, "valid": 0.0, "ndcg": 0.0, "recall": 0.0}
    names = [getattr(model, "__name__", type(model).__name__) for model in models.values()]
    return Composite(
        "pagellm",
        score,
        weights,
        combine=partial(_combine, lam=lam, invalid=invalid),
        version=f"1-{'-'.join(names)}-{lam}-{invalid}-{k}-{where}",
        batch=True,
        signals=("R_page", "R_item"),
        on_error=on_error,
    )


def _score(rows: Sequence[Row], models: dict[str, Any], invalid: Any, k: int | None, find: Any) -> list[Any]:
    pages = [page_of(find(row.completion) or "") for row in rows]
    contexts = [
        json.dumps({"context": row.prompt, "page": page}, default=str)
        for row, page in zip(rows, pages, strict=True)
    ]
    results = [_measured(row, page, k) for row, page in zip(rows, pages, strict=True)]
    for part, model in models.items():
        known = [stated(row, f"R_{part}") for row in rows]
        asked = [i for i, value in enumerate(known) if value is None and model is not None]
        answers = dict(zip(asked, ask(model, [contexts[i] for i in asked]), strict=True))
        for i, value in enumerate(known):
            answer = answers.get(i, missing(f"no R_{part}: expected meta, a signal, or {part}_model"))
            results[i][part] = read_number(answer if value is None else value)
    return results


def _combine(parts: dict[str, float], lam: float, invalid: float | None) -> float:
    if invalid is not None and not parts["valid"]:
        return invalid
    return parts["page"] + (lam * parts["item"] if lam else 0.0)


def _measured(row: Row, page: list[str], k: int | None) -> dict[str, float | Verdict]:
    catalogue = set(map(str, as_list(given(row, "catalogue"))))
    valid = bool(page) and len(set(page)) == len(page) and (not catalogue or set(page) <= catalogue)
    engaged = list(
        map(str, as_list(given(row, "engaged", None if isinstance(row.reference, dict) else row.reference)))
    )
    if not engaged:
        none = missing("no engaged items")
        return {"valid": float(valid), "ndcg": none, "recall": none}
    return {"valid": float(valid), "ndcg": ndcg(page, engaged, k), "recall": recall_at(page, engaged, k)}
