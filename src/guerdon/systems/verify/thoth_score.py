"""Thoth's SCORE: step scale, action order and content of a structured protocol, behind two gates."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.verify.composite import Composite
from guerdon.verify.markup import last_block, once_in_order
from guerdon.verify.protocol_steps import aligned, covered, key_steps, step_content
from guerdon.verify.sequences import lcs_f1, lcs_pairs

TAGS = ("think", "key", "orc", "note")


@system(
    "thoth-score",
    title="Unleashing Scientific Reasoning for Bio-experimental Protocol Generation via Structured "
    "Component-based Reward Mechanism",
    arxiv="2510.15600",
    family="verify",
    kind="reward",
)
def thoth_score(
    scale: str = "decay",
    order: str = "lcs",
    divide_by: str = "gold",
    align: str = "greedy",
    coverage: float = 0.5,
    decay: float = 1.5,
    on_error: str | float = "nan",
) -> Composite:
    """R_i = format_i consistency_i (step_i + order_i + content_i / 1.5) / 3, one value per rollout, <= 1.

    format: the tags think, key, orc, note once each, in order; every key line is "Step k: {JSON object}".
    consistency: every key step's words (action, objects, parameters) occur in the same-numbered orc step to
    at least `coverage`. step: exp(-|n - m| / m) of n predicted and m gold steps. order: 2 LCS / (n + m) of
    the actions. content: over the pairs of equal actions (aligned greedily, left to right)

        m_x (objects + .5 parameters),   m_x = 1 - (x / m)^1.5, x = |i - j|, 0 where x >= m

    summed and divided by m. objects: IoU of the sets, of their words where that is 0; parameters: IoU of
    words, only where objects >= .5.

    The reference is a protocol with a `<key>` block, or the block's text.

    Args:
        scale: "decay" (ours) or "equal" (1 where n = m, the evaluator's Step-M).
        order: "lcs" or "strict" (1 where the actions are the same sequence).
        align: "greedy" as in the evaluator, where one superfluous action in front uses up all gold steps; or
            "lcs", which skips it.
        divide_by: content by "gold" steps (ours: one perfect step is not enough) or "pairs" (evaluator).
        coverage: of the consistency gate; 0 turns it off. The published threshold is not known to us.
        decay: exponent of m_x.
        on_error: what a row without a reference protocol is worth.

    Reference: Sun et al., arXiv 2510.15600; eval/eval_batch.py of manglu097/Thoth (components). The reward
    file is not released: gates, `decay` scale and equal weights are ours. Kendall's tau over this alignment
    is constant and left out.
    """
    if (
        scale not in ("decay", "equal")
        or order not in ("lcs", "strict")
        or divide_by not in ("gold", "pairs")
    ):
        raise RecipeError(
            "thoth-score: scale is decay or equal, order lcs or strict, divide_by gold or pairs, "
            f"got {scale!r}, {order!r}, {divide_by!r}"
        )
    pairing = {"greedy": aligned, "lcs": lcs_pairs}.get(align)
    if pairing is None:
        raise RecipeError(f"thoth-score: align must be greedy or lcs, got {align!r}")
    score = partial(
        _score, scale=scale, order=order, divide_by=divide_by, align=pairing, coverage=coverage, decay=decay
    )
    weights = dict.fromkeys(("format", "consistency", "step", "order", "content"), 0.0)
    version = f"1-{scale}-{order}-{divide_by}-{align}-{coverage}-{decay}"
    return Composite("thoth-score", score, weights, combine=_combine, version=version, on_error=on_error)


def _combine(parts: dict[str, float]) -> float:
    gate = parts["format"] * parts["consistency"]
    return gate * (parts["step"] + parts["order"] + parts["content"] / 1.5) / 3.0


def _score(
    row: Row, scale: str, order: str, divide_by: str, align: Any, coverage: float, decay: float
) -> dict[str, float] | Verdict:
    block = last_block(row.reference, "key") or row.reference if isinstance(row.reference, str) else None
    gold = key_steps(block or "")[0]
    if not gold:
        return missing("no reference: expected a protocol with steps in <key>")
    said, clean = key_steps(last_block(row.completion, "key") or "")
    actions, wanted = [step.action for step in said], [step.action for step in gold]
    n, m = len(said), len(gold)
    scores = [step_content(said[i], gold[j], abs(i - j), m, decay) for i, j in align(actions, wanted)]
    over = m if divide_by == "gold" else max(1, len(scores))
    return {
        "format": float(clean and bool(said) and once_in_order(row.completion, TAGS)),
        "consistency": float(covered(said, last_block(row.completion, "orc") or "") >= coverage),
        "step": math.exp(-abs(n - m) / m) if scale == "decay" else float(n == m),
        "order": lcs_f1(actions, wanted) if order == "lcs" else float(actions == wanted),
        "content": math.fsum(scores) / over,
    }
