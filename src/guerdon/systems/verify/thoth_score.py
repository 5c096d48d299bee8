"""Thoth's SCORE: step scale, action order and content of a structured protocol, behind two gates."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.verify.composite import Composite
from guerdon.verify.markup import last_block, once_in_order
from guerdon.verify.sequences import jaccard, lcs_f1, lcs_pairs

TAGS = ("think", "key", "orc", "note")
_STEP = re.compile(r"Step\s+(\d+)\s*:\s*(.*)", re.IGNORECASE)
_SPLIT = re.compile(r"[^a-z0-9%µμ\-._]+")


class Step(NamedTuple):
    """One line of a `<key>` block, lower case."""

    number: int
    action: str
    objects: tuple[str, ...]
    parameters: tuple[str, ...]


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


def key_steps(block: str) -> tuple[list[Step], bool]:
    """Steps of a `<key>` block, lines that do not parse left out; and whether every line parsed."""
    steps, clean = [], True
    for line in filter(None, map(str.strip, block.splitlines())):
        match = _STEP.fullmatch(line)
        try:
            value = json.loads(match.group(2)) if match else None
        except (ValueError, RecursionError):
            value = None
        if match is None or not isinstance(value, dict) or not isinstance(value.get("action"), str):
            clean = False
            continue
        lists = [_lowered(value.get(name)) for name in ("objects", "parameters")]
        steps.append(Step(int(match.group(1)[:9]), value["action"].strip().lower(), lists[0], lists[1]))
    return steps, clean


def aligned(said: Sequence[str], gold: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places of equal actions, greedily from the left; an action gold does not have uses gold up."""
    pairs, j = [], 0
    for i, action in enumerate(said):
        while j < len(gold) and gold[j] != action:
            j += 1
        if j < len(gold):
            pairs.append((i, j))
            j += 1
    return pairs


def step_content(said: Step, gold: Step, distance: int, total: int, decay: float = 1.5) -> float:
    """m_x (objects + .5 parameters) of one aligned pair, at most 1.5."""
    objects = jaccard(said.objects, gold.objects) or jaccard(_words(said.objects), _words(gold.objects))
    parameters = 0.0
    if objects >= 0.5:
        parameters = float(not said.parameters and not gold.parameters)
        if said.parameters and gold.parameters:
            parameters = jaccard(_words(said.parameters), _words(gold.parameters))
    position = 0.0 if distance >= total else 1.0 - (distance / total) ** decay
    return position * (objects + 0.5 * parameters)


def covered(steps: Sequence[Step], orc: str) -> float:
    """Least share of a key step's words that the same-numbered orc step has; 0 without steps."""
    texts = {
        int(m.group(1)[:9]): m.group(2) for m in map(_STEP.fullmatch, map(str.strip, orc.splitlines())) if m
    }
    shares = []
    for step in steps:
        words = _words((step.action, *step.objects, *step.parameters))
        shares.append(len(words & _words((texts.get(step.number, ""),))) / len(words) if words else 1.0)
    return min(shares, default=0.0)


def _words(texts: Sequence[str]) -> set[str]:
    return {word for word in _SPLIT.split(" ".join(texts).lower()) if word}


def _lowered(values: object) -> tuple[str, ...]:
    listed = values if isinstance(values, list) else []
    return tuple(value.strip().lower() for value in listed if isinstance(value, str) and value.strip())
