"""Shop-R1: the next shopping action as JSON: format, self-certainty of the rationale, typed action reward."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.verify.composite import Composite, given
from guerdon.verify.json_text import NotJSON, find_json, parse_json
from guerdon.verify.rubrics import read_number
from guerdon.verify.text_rouge import rouge_l

Similarity = Callable[[str, list[str]], float]

FIELDS: dict[str, dict[str, float]] = {
    "terminate": {},
    "click": {"name": 0.2},
    "type_and_submit": {"name": 0.1, "text": 0.1},
}
"""Action types, their fields, and what the presence of each is worth."""


@system(
    "shop-r1",
    title="Shop-R1: Rewarding LLMs to Simulate Human Behavior in Online Shopping via Reinforcement Learning",
    arxiv="2507.17842",
    family="verify",
    kind="reward",
)
def shop_r1(
    dars: float = 1000.0,
    threshold: float = 0.75,
    alpha: float = 0.005,
    certainty: str | None = None,
    fenced: bool = False,
    similarity: Similarity = rouge_l,
    on_error: str | float = "nan",
) -> Composite:
    """R_i = .5 format_i + action_i + alpha certainty_i, one value per rollout; all 0 where the format fails.

    format: the completion is a JSON object with the keys rationale and action. action, only where the
    predicted type is the gold one:

        terminate        .3
        click            .3 + .2 [name] + DARS sim(name)
        type_and_submit  .3 + .1 [name] + .1 [text] + .1 sim(name) + DARS sim(text)

    [field] is presence, not match; sim is ROUGE-L (F1, no stemming) where it exceeds `threshold`, else 0.

    The reference is the gold action {type, name, text}, or {"action": {...}}.

    Args:
        dars: difficulty-aware scale of the long-tail field. 1000 relies on dividing by the group's standard
            deviation, and squashes every other term.
        threshold: of sim.
        alpha: weight of the certainty.
        certainty: rollout-level signal, or entry of `meta`, with s of the rationale, see `self_certainty`;
            None leaves the term out (about alpha 1e-5 with a real vocabulary).
        fenced: accept JSON in a fence or in running text.
        similarity: (answer, golds) -> [0, 1] in place of ROUGE-L.
        on_error: what a row without a gold action, or with a missing certainty, is worth.

    Parts: format, action, certainty.

    Reference: Zhang et al., arXiv 2507.17842v1, Table 1 and equation 3. The sum of the three, and presence
    for the .2 and .1, are our reading.
    """
    if not 0.0 <= threshold <= 1.0:
        raise RecipeError(f"shop-r1: threshold must lie in [0, 1], got {threshold!r}")
    score = partial(
        _score, dars=dars, threshold=threshold, certainty=certainty, fenced=fenced, similarity=similarity
    )
    weights = {"format": 0.5, "action": 1.0, "certainty": alpha if certainty else 0.0}
    named = getattr(similarity, "__name__", type(similarity).__name__)
    version = f"1-{dars}-{threshold}-{alpha}-{certainty}-{fenced}-{named}"
    signals = (certainty,) if certainty else ()
    return Composite("shop-r1", score, weights, version=version, signals=signals, on_error=on_error)


def _score(
    row: Row, dars: float, threshold: float, certainty: str | None, fenced: bool, similarity: Similarity
) -> dict[str, float | Verdict] | Verdict:
    gold = given(row, "action", row.reference)
    if not isinstance(gold, Mapping) or gold.get("type") not in FIELDS:
        return missing(f"no reference: expected an action with a type out of {', '.join(FIELDS)}")
    try:
        value = find_json(row.completion, (dict,)) if fenced else parse_json(row.completion)
    except NotJSON:
        value = None
    if not isinstance(value, dict) or not {"rationale", "action"} <= value.keys():
        return {"format": 0.0, "action": 0.0, "certainty": 0.0}
    said = value["action"] if isinstance(value["action"], dict) else {"type": value["action"]}
    return {
        "format": 1.0,
        "action": action_value(gold, said, dars, threshold, similarity),
        "certainty": read_number(given(row, certainty)) if certainty else missing("not asked for"),
    }


def action_value(
    gold: Mapping[str, Any],
    said: Mapping[str, Any],
    dars: float,
    threshold: float,
    similarity: Similarity = rouge_l,
) -> float:
    """Table 1 of the paper; see `shop_r1`."""
    kind = gold["type"]
    if said.get("type") != kind:
        return 0.0
    total = 0.3
    fields = FIELDS[kind]
    for i, (name, present) in enumerate(fields.items()):
        answer = said.get(name)
        if not isinstance(answer, str) or not answer.strip():
            continue
        match = similarity(answer, [str(gold.get(name, ""))])
        long_tail = i == len(fields) - 1
        total += present + (dars if long_tail else 0.1) * (match if match > threshold else 0.0)
    return total


def self_certainty(
    rollouts: Rollouts, vocabulary: int, per_vocabulary: bool = True, token_mask: np.ndarray | None = None
) -> Signal:
    """s_i = mean over tokens of KL(p || U) = log|V| - H, over |V| as equation 3 is printed; per rollout.

    Args:
        rollouts: with the column `entropy` (nats).
        vocabulary: |V|.
        per_vocabulary: divide by |V|; False leaves the KL itself.
        token_mask: bool (tokens,), the rationale's; None: all tokens the policy chose.

    The original self-certainty uses KL(U || p), which entropies do not give.
    """
    if rollouts.entropy is None or rollouts.acted is None:
        raise DataError("self_certainty needs the token column `entropy`")
    mask = rollouts.acted.values if token_mask is None else np.asarray(token_mask, bool)
    gap = np.where(mask, math.log(vocabulary) - rollouts.entropy.values.astype(np.float64), np.nan)
    signal = rollouts.reduce(Signal(gap, "token", "certainty"), "rollout", "mean", skip_missing=True)
    return signal.with_values(signal.values / (vocabulary if per_vocabulary else 1))
