"""ACRE: a second answer from the same reasoning under shuffled options; both are asked to be right."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.verify.choices import (
    chosen,
    gold_option,
    in_completion,
    listed,
    options_of,
    same_option,
    shuffled,
)
from guerdon.verify.composite import Composite, given
from guerdon.verify.markup import first_block, once_in_order
from guerdon.verify.rubrics import Judge, as_text, ask, filled

SECOND_PROMPT = """{question}
Options:
{options}

Reasoning:
{trace}

Answer with the letter of one option."""


@system(
    "acre",
    title="Answer-Consistent Chain-of-thought Reinforcement Learning For Multi-modal Large Language Models",
    arxiv="2510.10104",
    family="verify",
    kind="reward",
)
def acre(
    alpha1: float = 1.0,
    alpha2: float = 0.5,
    alpha3: float = 0.0,
    format_weight: float = 0.0,
    second: Judge | None = None,
    seed: int = 0,
    on_error: str | float = "nan",
) -> Composite:
    """R_i = consistency_i + w format_i, one value per rollout.

    With the first answer a under the options as shown and the second a~ under shuffled ones, both mapped to
    the options' content: alpha1 where both are right; alpha2 where only a is; alpha3 where only a~ is; 0
    where neither is, even if they agree. An answer that names no option is wrong.

    `meta["options"]` lists the options, the reference is the right one. The second pass is read from
    `meta["second"]` (its text) and `meta["order"]` (place p showed option order[p]); where these are missing,
    `second` is asked. The order is drawn from (options, prompt, completion, seed), is never the identity, and
    leaves "none of the above" and the like in place. A trace that names a letter ("so B") is shown as it is
    and may mislead the second pass: the penalty is meant. Gradients belong to the first rollout only.

    Args:
        alpha1, alpha2, alpha3: as above, alpha1 > alpha2 > alpha3 >= 0; the values are ours.
        format_weight: w of `<think>..</think> <answer>..</answer>` once and in order.
        second: prompts -> texts with the second answer; the policy itself, usually.
        seed: of the shuffles.
        on_error: what a row without options, reference or second answer is worth.

    Parts: consistency, format, first, second, same (content unchanged; the mean is the paper's OSCR).

    Reference: Huang et al., arXiv 2510.10104 (equation 3; its coefficients are not public).
    """
    if not alpha1 > alpha2 > alpha3 >= 0:
        raise RecipeError(f"acre: needs alpha1 > alpha2 > alpha3 >= 0, got {alpha1}, {alpha2}, {alpha3}")
    table = {(True, True): alpha1, (True, False): alpha2, (False, True): alpha3, (False, False): 0.0}
    score = partial(_score, second=second, table=table, seed=seed)
    weights = {"consistency": 1.0, "format": format_weight, "first": 0.0, "second": 0.0, "same": 0.0}
    version = f"1-{alpha1}-{alpha2}-{alpha3}-{seed}"
    return Composite("acre", score, weights, version=version, batch=True, on_error=on_error)


def _score(
    rows: Sequence[Row], second: Judge | None, table: dict[tuple[bool, bool], float], seed: int
) -> list[Any]:
    passes: list[Any] = [_second_pass(row, seed) for row in rows]
    asked = [i for i, found in enumerate(passes) if isinstance(found, list) and second is not None]
    prompts = [second_prompt(rows[i], passes[i]) for i in asked]
    for i, text in zip(asked, ask(second, prompts) if second else [], strict=True):
        passes[i] = text if isinstance(text, Verdict) else (str(text), passes[i])
    return [_one(row, found, table) for row, found in zip(rows, passes, strict=True)]


def _second_pass(row: Row, seed: int) -> tuple[str, list[int]] | list[int] | Verdict:
    """The second answer and its order; or the order it is to be asked in; or why there is none."""
    options = options_of(row)
    if not options:
        return missing("no options: expected a list of texts in meta['options']")
    text, order = given(row, "second"), given(row, "order")
    if text is not None:
        if sorted(order or ()) != list(range(len(options))):
            return missing("meta['order'] is no order of the options")
        return str(text), list(order)
    drawn = shuffled(options, as_text(row.prompt) + "\x1f" + row.completion, seed)
    return missing("its options have no other order") if drawn is None else drawn


def _one(row: Row, found: Any, table: dict[tuple[bool, bool], float]) -> dict[str, float] | Verdict:
    if isinstance(found, Verdict):
        return found
    if not isinstance(found, tuple):
        return missing("no second answer: expected meta['second'], or the parameter second")
    options = options_of(row)
    gold = gold_option(given(row, "answer", row.reference), options)
    if gold is None:
        return missing("no reference: expected the letter, text or index of one option")
    text, order = found
    first = chosen(in_completion(row.completion), options)
    place = chosen(in_completion(text), [options[i] for i in order])
    again = None if place is None else order[place]
    right = same_option(first, gold, options), same_option(again, gold, options)
    return {
        "consistency": table[right],
        "format": float(once_in_order(row.completion, ("think", "answer"))),
        "first": float(right[0]),
        "second": float(right[1]),
        "same": float(same_option(first, again, options)),
    }


def second_prompt(row: Row, order: Sequence[int]) -> str:
    """The prompt of the second pass: question, shuffled options, and the reasoning without its answer."""
    trace = first_block(row.completion, "think")
    if trace is None:
        trace = row.completion.split("<answer>")[0].strip()
    parts = {
        "question": str(given(row, "question", as_text(row.prompt))),
        "options": listed(options_of(row), order),
        "trace": trace,
    }
    return filled(SECOND_PROMPT, parts)


def cacr(implied: Sequence[int | None], emitted: Sequence[int | None]) -> float:
    """Share of rollouts whose reasoning implies the option they answer; an option that is None is a miss."""
    hits = [a is not None and a == b for a, b in zip(implied, emitted, strict=True)]
    return sum(hits) / len(hits) if hits else float("nan")
