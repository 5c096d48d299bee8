"""R1-T1: a small reward for the format and, behind that gate, a rounded translation metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.verify.answers_match import golds_of
from guerdon.verify.composite import Composite, given, stated
from guerdon.verify.markup import last_block, once_in_order
from guerdon.verify.rubrics import ask, read_number
from guerdon.verify.text_chrf import chrf

Triple = tuple[str, str, str]
"""(source, translation, reference)."""

Metric = Callable[[list[Triple]], Sequence[float]]


def chrf_metric(triples: list[Triple]) -> list[float]:
    """chrF (n = 6, beta = 2) in [0, 1]: a stand-in for COMET that needs no model."""
    return [chrf(translation, [gold]) for _, translation, gold in triples]


@system(
    "r1-t1",
    title="R1-T1: Fully Incentivizing Translation Capability in LLMs via Reasoning Learning",
    arxiv="2502.19735",
    family="verify",
    kind="reward",
)
def r1_t1(
    metric: Metric | None = None,
    format_weight: float = 0.2,
    digits: int = 2,
    guard: Callable[[str, str], bool] | None = None,
    refuse_copies: bool = False,
    on_error: str | float = "nan",
) -> Composite:
    """R_i = .2 format_i + quality_i, one value per rollout.

    format: 1 where `<think>`, `</think>`, `<answer>`, `</answer>` each occur exactly once and in this order;
    a prompt that ends with `<think>` lends its tag. quality: max(0, round(metric(src, mt, ref), 2)) where the
    format holds and the answer is not empty, else 0. The metric is not bounded by 1.

    The reference is the translation (or `target_text`); the source is `source_text`, else the prompt. A
    score in `meta["comet"]`, or a signal of that name, is taken instead of calling the metric.

    Args:
        metric: list of (source, translation, reference) -> one number each, e.g. COMET; default: chrF.
        format_weight: of format.
        digits: of the rounding.
        guard: (translation, target language of `target_lang`) -> it is in that language; False gives quality
            0. The released file has such a check and never calls it.
        refuse_copies: a translation equal to its source has quality 0.
        on_error: what a row without reference, or that the metric failed on, is worth.

    Reference: He et al., arXiv 2502.19735; verl/utils/reward_score/translate.py of superboom/R1-T1, which
    asks a dead scorer again forever; here that is a missing value.
    """
    score = partial(
        _score, metric=metric or chrf_metric, digits=digits, guard=guard, copies=not refuse_copies
    )
    weights = {"format": format_weight, "quality": 1.0}
    named = getattr(metric, "__name__", type(metric).__name__) if metric else "chrf"
    return Composite(
        "r1-t1",
        score,
        weights,
        version=f"1-{named}-{digits}",
        batch=True,
        signals=("comet",),
        on_error=on_error,
    )


def _score(rows: Sequence[Row], metric: Metric, digits: int, guard: Any, copies: bool) -> list[Any]:
    results: list[Any] = [_gate(row, guard, copies) for row in rows]
    asked = [i for i, result in enumerate(results) if isinstance(result, tuple)]
    keys = {i: "\x1f".join(results[i]) for i in asked}
    triples = {keys[i]: results[i] for i in asked}
    values = ask(lambda prompts: metric([triples[prompt] for prompt in prompts]), [keys[i] for i in asked])
    for i, value in zip(asked, values, strict=True):
        score = read_number(stated(rows[i], "comet", value))
        quality = score if isinstance(score, Verdict) else max(0.0, round(score, digits))
        results[i] = {"format": 1.0, "quality": quality}
    return results


def _gate(row: Row, guard: Any, copies: bool) -> dict[str, float] | Triple | Verdict:
    """Parts where the metric is not needed, else what it is to score."""
    golds = golds_of(row) if given(row, "target_text") is None else [str(given(row, "target_text"))]
    if not golds:
        return missing("no reference: expected the reference translation")
    prompt = row.prompt[-1].get("content") if isinstance(row.prompt, list) and row.prompt else row.prompt
    lent = "<think>" if str(prompt or "").rstrip().endswith("<think>") else ""
    text = lent + row.completion
    if not once_in_order(text, ("think", "answer")):
        return {"format": 0.0, "quality": 0.0}
    translation = last_block(text, "answer") or ""
    source = str(given(row, "source_text", prompt or ""))
    wrong_language = guard is not None and not guard(translation, str(given(row, "target_lang", "")))
    if not translation or wrong_language or (not copies and translation == source.strip()):
        return {"format": 1.0, "quality": 0.0}
    return source, translation, golds[0]
