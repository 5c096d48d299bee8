"""AutoRule: the share of mined rules a response satisfies, next to a learned reward model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.verify.checklists import judged, mean_or_missing, unnamed
from guerdon.verify.composite import Composite, as_list, given
from guerdon.verify.rubrics import TEMPLATE, Judge, read_number


@system(
    "autorule",
    title="AutoRule: Reasoning Chain-of-thought Extracted Rule-based Rewards Improve Preference Learning",
    arxiv="2506.15651",
    family="verify",
    kind="reward",
)
def autorule(
    rules: Sequence[str] | None = None,
    judge: Judge | None = None,
    lam: float = 1.0,
    standardise: bool = False,
    rm: str | None = "r_RM",
    template: str = TEMPLATE,
    on_error: str | float = "nan",
) -> Composite:
    """R_i = r_RM(i) + lambda r_RA(i), one value per rollout, with r_RA = mean over the K rules of met or not.

    Args:
        rules: the merged rules; None: each row's `meta["rules"]`.
        judge: prompts -> yes/no, one prompt per rule; None: `meta["s"]` lists which rules are met.
        lam: lambda, 1 as published; r_RA lies in [0, 1], r_RM may not.
        standardise: r_RM minus its mean over its standard deviation (ddof 1) in the batch it is
            called with; 0 where it does not vary.
        rm: rollout-level signal, or entry of `meta`, with r_RM; None: the rules alone.
        template: of the judge's prompt.
        on_error: what a row without rules, judgement or r_RM is worth.

    Parts: rules, rm.

    Reference: Wang and Xiong, arXiv 2506.15651. Rules are mined by `verify.rule_mining`.
    """
    if not math.isfinite(lam):
        raise RecipeError(f"autorule: lam must be a finite number, got {lam!r}")
    fixed = None if rules is None else tuple(rules)
    score = partial(_score, rules=fixed, judge=judge, rm=rm, standardise=standardise, template=template)
    return Composite(
        "autorule",
        score,
        {"rules": lam, "rm": 1.0 if rm else 0.0},
        version=f"1-{lam}-{standardise}-{rm}-{fixed}",
        batch=True,
        signals=(rm,) if rm else (),
        shape="all" if standardise else "sample",
        on_error=on_error,
    )


def _score(
    rows: Sequence[Row], rules: Any, judge: Judge | None, rm: str | None, standardise: bool, template: str
) -> list[Any]:
    items = [
        list(rules) if rules is not None else list(map(str, as_list(given(row, "rules")))) for row in rows
    ]
    items = [found or unnamed(row, "s") for found, row in zip(items, rows, strict=True)]
    levels = judged(rows, items, "s", judge, "boolean", template)
    scores = [read_number(given(row, rm)) if rm else missing("not asked for") for row in rows]
    if standardise:
        scores = standardised(scores)
    return [
        {"rules": mean_or_missing(found), "rm": score} for found, score in zip(levels, scores, strict=True)
    ]


def standardised(scores: Sequence[float | Verdict]) -> list[float | Verdict]:
    """Known scores minus their mean over their standard deviation (ddof 1); 0 where they do not vary."""
    known = np.array([score for score in scores if not isinstance(score, Verdict)], np.float64)
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    centre = float(known.mean()) if len(known) else 0.0
    return [
        score if isinstance(score, Verdict) else (score - centre) / spread if spread > 0 else 0.0
        for score in scores
    ]
