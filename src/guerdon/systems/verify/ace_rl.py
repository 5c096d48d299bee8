"""ACE-RL: share of an instruction's own constraints that a long text satisfies, and a length reward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict
from guerdon.systems.catalogue import system
from guerdon.verify.checklists import judged, mean_or_missing, unnamed
from guerdon.verify.composite import Composite, as_list, given
from guerdon.verify.lengths import UNITS, length_band, measure, target_of
from guerdon.verify.rubrics import TEMPLATE, Judge


@system(
    "ace-rl",
    title="ACE-RL: Adaptive Constraint-Enhanced Reward for Long-form Generation Reinforcement Learning",
    arxiv="2509.04903",
    family="verify",
    kind="reward",
)
def ace_rl(
    w: float,
    judge: Judge | None = None,
    unit: str = "words",
    tolerance: float = 0.1,
    span: float = 0.9,
    scale: str = "ternary",
    template: str = TEMPLATE,
    on_error: str | float = "nan",
) -> Composite:
    """R_i = (1 - w) constraints_i + w length_i, one value per rollout, in [0, 1].

    constraints: mean over the checklist of full 1, partial .5, none 0. length: with d = | |y| - L | / L, 1
    where d <= .1, else max(0, 1 - (d - .1) / .9).

    `meta["constraints"]` lists the constraints of the instruction, `meta["levels"]` how each is met, where a
    judge is not to be asked; `meta["target_length"]` is L.

    Args:
        w: weight of the length; the paper's is not known to us, so there is no default. With w = 0 no target
            is needed.
        judge: prompts -> "full", "partial" or "none".
        unit: of |y| and L, "words" or "characters".
        tolerance, span: the .1 and the .9 (the form is ours).
        scale: "ternary" or "boolean" constraints.
        template: of the judge's prompt.
        on_error: what a row without constraints, judgement or target is worth.

    Reference: Chen et al., arXiv 2509.04903 (constraints, verifier, a length reward; the formulas are ours).
    """
    if (
        not 0.0 <= w <= 1.0
        or unit not in UNITS
        or scale not in ("ternary", "boolean")
        or tolerance < 0
        or span <= 0
    ):
        raise RecipeError(
            "ace-rl: w lies in [0, 1], unit is words or characters, scale ternary or boolean, "
            "tolerance at least 0, "
            f"span above 0; got {w!r}, {unit!r}, {scale!r}, {tolerance!r}, {span!r}"
        )
    score = partial(
        _score, judge=judge, unit=unit, tolerance=tolerance, span=span, scale=scale, template=template
    )
    version = f"1-{w}-{unit}-{tolerance}-{span}-{scale}"
    weights = {"constraints": 1.0 - w, "length": w}
    return Composite("ace-rl", score, weights, version=version, batch=True, on_error=on_error)


def _score(
    rows: Sequence[Row],
    judge: Judge | None,
    unit: str,
    tolerance: float,
    span: float,
    scale: str,
    template: str,
) -> list[Any]:
    items = [list(map(str, as_list(given(row, "constraints")))) for row in rows]
    items = [found or unnamed(row, "levels") for found, row in zip(items, rows, strict=True)]
    levels = judged(rows, items, "levels", judge, scale, template)
    results = []
    for row, found in zip(rows, levels, strict=True):
        target = target_of(row)
        band = target
        if not isinstance(target, Verdict):
            band = length_band(measure(row.completion, unit), target, tolerance, span)
        results.append({"constraints": mean_or_missing(found), "length": band})
    return results
