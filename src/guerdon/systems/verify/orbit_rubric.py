"""ORBIT: signed points of a per-case rubric, judged criterion by criterion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.verify.checklists import first_missing, judged
from guerdon.verify.composite import Composite, as_list, given
from guerdon.verify.rubrics import TEMPLATE, Judge, signed_points

_POLICIES = ("raw", "positive", "signed_fallback")


@system(
    "orbit-rubric",
    title="InfiMed-ORBIT: Aligning LLMs on Open-Ended Complex Tasks via Rubric-Based Incremental Training",
    arxiv="2510.15859",
    family="verify",
    kind="reward",
)
def orbit_rubric(
    judge: Judge | None = None,
    variant: str = "paper",
    policy: str | None = None,
    failure: str | None = None,
    template: str = TEMPLATE,
    on_error: str | float = "nan",
) -> Composite:
    """R_i = sum_j w_j met_ij, one value per rollout (paper); or divided by sum_j max(w_j, 0) (release).

    `meta["rubrics"]` lists {criterion, points} (points in [-10, 10], negative for mistakes), or the points
    alone are in `meta["points"]`; `meta["met"]` holds the judgements, where a judge is not to be asked.

    Args:
        judge: prompts -> yes/no, booleans or JSON with `criteria_met`; one prompt per criterion.
        variant: "paper" (equation 3; a failed judgement is missing) or "release" (divided; a failed
            judgement counts as not met).
        policy: "raw", "positive" or "signed_fallback" in place of the variant's, see `rubrics.signed_points`.
        failure: "missing" or "unmet" in place of the variant's.
        template: of the judge's prompt.
        on_error: what a row without a rubric, or with a missing judgement, is worth.

    Parts: score, raw, positive (points of positive criteria met), negative (points of negative ones met).
    Groups whose max - min is within delta are masked by `rubrics.spread_enough`; cases and criteria are
    filtered by `keep_cases` and `keep_criteria`; `verify.criterion_curriculum` is the released state.

    Reference: arXiv 2510.15859 v5; src/orbit/rubrics_rl/{scoring,reward,curriculum}.py of pidneuralode/ORBIT.
    There an empty rubric scores 0; here it is missing.
    """
    policy = policy or {"paper": "raw", "release": "positive"}.get(variant, "")
    failure = failure or {"paper": "missing", "release": "unmet"}.get(variant, "")
    if variant not in ("paper", "release") or policy not in _POLICIES or failure not in ("missing", "unmet"):
        raise RecipeError(
            f"orbit-rubric: variant is paper or release, policy one of {', '.join(_POLICIES)}, failure "
            f"missing or unmet, got {variant!r}, {policy!r}, {failure!r}"
        )
    score = partial(_score, judge=judge, policy=policy, failure=failure, template=template)
    weights = {"score": 1.0, "raw": 0.0, "positive": 0.0, "negative": 0.0}
    return Composite(
        "orbit-rubric", score, weights, version=f"1-{policy}-{failure}", batch=True, on_error=on_error
    )


def _score(rows: Sequence[Row], judge: Judge | None, policy: str, failure: str, template: str) -> list[Any]:
    rubrics = [rubric_of(row) for row in rows]
    levels = judged(
        rows,
        [[criterion for criterion, _ in rubric] for rubric in rubrics],
        "met",
        judge,
        "boolean",
        template,
    )
    results: list[Any] = []
    for rubric, met in zip(rubrics, levels, strict=True):
        problem = first_missing(met) if failure == "missing" else None
        if problem or not rubric:
            results.append(problem or missing("no rubric: expected meta['rubrics'] or meta['points']"))
            continue
        points = [w for _, w in rubric]
        values = [0.0 if isinstance(level, Verdict) else level for level in met]
        results.append(
            {
                "score": signed_points(points, values, policy),
                "raw": signed_points(points, values),
                "positive": math.fsum(w * m for w, m in zip(points, values, strict=True) if w > 0),
                "negative": math.fsum(w * m for w, m in zip(points, values, strict=True) if w < 0),
            }
        )
    return results


def rubric_of(row: Row) -> list[tuple[str, float]]:
    """(criterion, points) of a row."""
    listed = given(row, "rubrics", row.reference if isinstance(row.reference, list) else None)
    if listed is None:
        return [(f"criterion {j}", float(w)) for j, w in enumerate(as_list(given(row, "points")), 1)]
    return [(str(item["criterion"]), float(item["points"])) for item in listed if isinstance(item, Mapping)]
