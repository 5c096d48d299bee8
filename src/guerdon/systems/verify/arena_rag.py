"""ARENA: format, answer, evidence selection, and a large bonus where all three are right."""

from __future__ import annotations

import math
import re
from functools import partial

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.verify.answers_match import exact_match, golds_of, token_f1
from guerdon.verify.composite import Composite, as_list, given
from guerdon.verify.json_text import NotJSON, parse_json
from guerdon.verify.markup import first_block

_FORMAT = re.compile(
    r"<relevance>[^<]*</relevance>\s*<analysis>[^<]*</analysis>\s*<answer>[^<]*</answer>$", re.MULTILINE
)
_PARTS = ("format", "accuracy", "relevance", "bonus")


@system(
    "arena-rag",
    title="Effective and Transparent RAG: Adaptive-Reward Reinforcement Learning for Decision Traceability",
    arxiv="2505.13258",
    family="verify",
    kind="reward",
)
def arena_rag(bonus: float = 10.0, evidence: str = "tiers", on_error: str | float = "nan") -> Composite:
    """R_i = format_i + accuracy_i + relevance_i + bonus_i, one value per rollout: 2.5 in part, 13 in full.

    format: the text begins with `<relevance>..</relevance> <analysis>..</analysis> <answer>..</answer>`, no
    "<" inside, the last tag at the end of a line. accuracy: exact match of the first answer block (style
    "spaced") with any gold answer. relevance: the JSON list of the first relevance block against the gold
    ids as sets: 1 equal, .5 overlapping, 0 else. bonus: where the three are all 1.

    The reference holds the accepted answers (or {"answers": ..}); `supporting_ids` of meta or reference the
    gold ids. A row without gold ids has no relevance and no bonus: its total is format + accuracy.

    Args:
        bonus: for all right.
        evidence: "tiers" as above, or "f1" of the id sets, which naming every passage does not farm.
        on_error: what a row without answers is worth.

    Reference: Ren et al., arXiv 2505.13258; src/evaluate.py and rewards.py of ren258/ARENA. There gold ids
    must come sorted, and an empty list matches no gold ids; here they are sets, and no ids mean no
    reward.
    """
    if evidence not in ("tiers", "f1"):
        raise RecipeError(f"arena-rag: evidence must be tiers or f1, got {evidence!r}")
    score = partial(_score, bonus=bonus, evidence=evidence)
    weights = {**dict.fromkeys(_PARTS, 1.0), "f1": 0.0}
    return Composite(
        "arena-rag", score, weights, combine=_combine, version=f"1-{bonus}-{evidence}", on_error=on_error
    )


def _score(row: Row, bonus: float, evidence: str) -> dict[str, float | Verdict] | Verdict:
    golds = golds_of(row)
    if not golds:
        return missing("no reference: expected the accepted answers")
    answer = first_block(row.completion, "answer") or ""
    parts: dict[str, float | Verdict] = {
        "format": float(_FORMAT.match(row.completion) is not None),
        "accuracy": exact_match(answer, golds, "spaced"),
        "f1": token_f1(answer, golds, "spaced"),
        "relevance": missing("no supporting_ids"),
        "bonus": missing("no supporting_ids"),
    }
    wanted = set(as_list(given(row, "supporting_ids")))
    if wanted:
        parts["relevance"] = found = _relevance(row.completion, wanted, evidence)
        parts["bonus"] = bonus * (parts["format"] == parts["accuracy"] == found == 1.0)
    return parts


def _relevance(text: str, wanted: set[object], evidence: str) -> float:
    try:
        said = parse_json(first_block(text, "relevance") or "")
        ids = set(said) if isinstance(said, list) else set()
    except (NotJSON, TypeError):
        return 0.0
    if evidence == "f1":
        return 2.0 * len(ids & wanted) / (len(ids) + len(wanted))
    return 1.0 if ids == wanted else 0.5 * bool(ids & wanted)


def _combine(parts: dict[str, float]) -> float:
    """Sum of the parts; evidence is left out where there is none to be found."""
    return (
        parts["format"]
        + parts["accuracy"]
        + sum(parts[name] for name in ("relevance", "bonus") if not math.isnan(parts[name]))
    )
