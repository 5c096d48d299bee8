"""MM-R5: a cubic-decay reward of a ranking plus format times completeness times validity."""

from __future__ import annotations

import re
from functools import partial

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.verify.composite import Composite, as_list, given
from guerdon.verify.markup import between
from guerdon.verify.rankings import rank_decay

_FORMAT = re.compile(r"</think>\s*<answer>\[([0-9]+(?:,\s*[0-9]+)*)\]</answer>")


@system(
    "mm-r5",
    title="MM-R5: MultiModal Reasoning-Enhanced ReRanker via Reinforcement Learning for Document Retrieval",
    arxiv="2506.12364",
    family="verify",
    kind="reward",
)
def mm_r5(
    alpha: float = 3.0,
    repeats: str = "keep",
    answer: str = "first",
    variant: str = "paper",
    on_error: str | float = "nan",
) -> Composite:
    """R_i = rank_i + format_i, one value per rollout.

    rank: sum_{p in P} rank(p)^-alpha / sum_{i <= |P|} i^-alpha over the list in `<answer>[..]</answer>`; 0
    where there is none. format: completeness * validity where `<think>..</think> <answer>[ids]</answer>`
    occurs, else 0, with completeness (T - | |pred| - T |) / T, negative beyond 2T ids, and validity the
    share of ids in 1..T.

    The reference is [positive ids, T], or a mapping {positive_ids, total}.

    Args:
        alpha: decay.
        repeats: "keep" (as released), or "drop": a repeated id is removed before anything is scored.
        answer: "first" (as released) or "last" list.
        variant: "paper"; or "release", where a list of one id, with a leading zero or over several lines
            has no format reward (the released code evaluates it as Python).
        on_error: what a row without reference is worth.

    Reference: Xu et al., arXiv 2506.12364; vlm_modules/qwen_module.py of i2vec/MM-R5.
    """
    if (
        repeats not in ("keep", "drop")
        or answer not in ("first", "last")
        or variant not in ("release", "paper")
    ):
        raise RecipeError(
            "mm-r5: repeats is keep or drop, answer first or last, variant release or paper, "
            f"got {repeats!r}, {answer!r}, {variant!r}"
        )
    score = partial(_score, alpha=alpha, repeats=repeats, answer=answer, variant=variant)
    weights = {"rank": 1.0, "format": 1.0, "completeness": 0.0, "validity": 0.0}
    version = f"1-{alpha}-{repeats}-{answer}-{variant}"
    return Composite("mm-r5", score, weights, version=version, on_error=on_error)


def _score(row: Row, alpha: float, repeats: str, answer: str, variant: str) -> dict[str, float] | Verdict:
    reference = row.reference
    if isinstance(reference, list | tuple) and len(reference) == 2 and isinstance(reference[0], list | tuple):
        positives, total = reference
    else:
        positives, total = given(row, "positive_ids"), given(row, "total")
    if positives is None or total is None or not int(total) > 0:
        return missing("no reference: expected [positive ids, number of candidates]")
    at = {"first": 0, "last": -1}[answer]
    parts = {"rank": 0.0, "format": 0.0, "completeness": 0.0, "validity": 0.0}
    lists = between(row.completion, "<answer>[", "]</answer>", one_line=True)
    order = _integers(lists[at]) if lists else None
    if order is not None:
        parts["rank"] = rank_decay(_kept(order, repeats), map(int, as_list(positives)), alpha)
    start = row.completion.find("<think>")
    shown = _FORMAT.findall(row.completion, start) if start >= 0 else []
    listed = shown[at] if shown else ""
    if listed and not (variant == "release" and _refused(listed)):
        said = _kept(_integers(listed) or [], repeats)
        parts["completeness"] = (total - abs(len(said) - total)) / total
        parts["validity"] = sum(1 <= i <= total for i in said) / len(said)
        parts["format"] = parts["completeness"] * parts["validity"]
    return parts


def _integers(listed: str) -> list[int] | None:
    """The integers between commas; None where any part is none. Empty parts are skipped."""
    try:
        return [int(part) for part in listed.split(",") if part.strip()]
    except ValueError:
        return None


def _kept(order: list[int], repeats: str) -> list[int]:
    return list(dict.fromkeys(order)) if repeats == "drop" else order


def _refused(listed: str) -> bool:
    """True where the released code, which evaluates the list as Python, fails."""
    ids = [part.strip() for part in listed.split(",")]
    return (
        len(ids) == 1 or "\n" in listed or any(len(i) > 1 and i.startswith("0") and i.strip("0") for i in ids)
    )
