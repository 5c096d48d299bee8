"""ToolRL: format in {0, 1} plus correctness of tool calls in [-3, 3]."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, Verdict, missing
from guerdon.systems.catalogue import system
from guerdon.verify.composite import Composite
from guerdon.verify.tools import Call, match_calls

_TAGS = ("tool_call", "response")
_CALLS = r"<tool_call>\n.*?\n</tool_call>"
_PATTERNS = {
    ("tool_call",): re.compile(rf"<think>.*?</think>\n{_CALLS}", re.DOTALL),
    ("response",): re.compile(r"<think>.*?</think>\n<response>.*?</response>", re.DOTALL),
    ("tool_call", "response"): re.compile(
        rf"<think>.*?</think>\n{_CALLS}\n<response>.*?</response>", re.DOTALL
    ),
    (): re.compile(r"<think>.*?</think>", re.DOTALL),
}


@system(
    "toolrl",
    title="ToolRL: Reward is All Tool Learning Needs",
    arxiv="2504.13958",
    family="verify",
    kind="reward",
)
def toolrl(
    pairing: str = "greedy",
    values: str = "python",
    correct: float = 3.0,
    length_weight: float = 0.0,
    on_error: str | float = "nan",
) -> Composite:
    """R_i = format_i + correctness_i [+ w length_i], one value per rollout, in [-3, 4].

    format: 1 where the stripped completion is exactly `<think>..</think>` followed by the blocks the
    reference has (`<tool_call>`, `<response>`), each of those tags once; else 0. correctness: 0 where the
    reference calls no tool; else 2c S/S_max - c with S of `verify.tools` and c = 3, and -c where the calls
    cannot be read. length: words of the thinking / 512, at most 1, rounded to 2 decimals.

    Args:
        pairing: "greedy" (as released) or "best" (Hungarian), of calls of the same name.
        values: "python" (as released: 1 == True) or "json" equality.
        correct: c.
        length_weight: w; the released reward has it off.
        on_error: what a row without a reference text, or with broken calls in it, is worth.

    Reference: Qian et al., arXiv 2504.13958; verl/utils/reward_score/rlla.py of qiancheng0/ToolRL. Equal
    lists of calls give c there before any scoring; the general path gives c as well.
    """
    if pairing not in ("greedy", "best") or values not in ("python", "json"):
        raise RecipeError(
            f"toolrl: pairing is greedy or best, values python or json, got {pairing!r}, {values!r}"
        )
    score = partial(_score, pairing=pairing, values=values, correct=correct)
    weights = {"format": 1.0, "correctness": 1.0, "length": length_weight}
    version = f"1-{pairing}-{values}-{correct}"
    return Composite("toolrl", score, weights, version=version, on_error=on_error)


def _score(row: Row, pairing: str, values: str, correct: float) -> dict[str, float] | Verdict:
    gold = row.reference
    if not isinstance(gold, str):
        return missing("no reference: expected a text with <tool_call> or <response> blocks")
    text = row.completion.strip()
    parts = {"format": _format(text, gold), "correctness": 0.0, "length": _thinking(text)}
    if "<tool_call>" in gold:
        wanted = _calls(gold)
        if wanted is None:
            return missing("reference: its <tool_call> block holds something that is no call")
        said = _calls(text)
        fit = match_calls(wanted, said, pairing, values).score if said is not None else 0.0
        parts["correctness"] = 2.0 * correct * fit - correct
    return parts


def _format(text: str, gold: str) -> float:
    wanted = tuple(tag for tag in _TAGS if f"<{tag}>" in gold)
    once = all(text.count(f"<{tag}>") == text.count(f"</{tag}>") == 1 for tag in wanted)
    return float(once and _PATTERNS[wanted].fullmatch(text) is not None)


def _calls(text: str) -> list[Call] | None:
    """Calls of the first tool_call block, one JSON object per line; None where any part is missing."""
    if "<tool_call>" not in text or "</tool_call>" not in text:
        return None
    try:
        lines = text.split("<tool_call>")[1].split("</tool_call>")[0].strip().split("\n")
        return [_call(json.loads(line)) for line in lines]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _call(value: Any) -> Call:
    if not isinstance(value["name"], str) or not isinstance(value["parameters"], dict):
        raise TypeError("a call has a text 'name' and an object 'parameters'")
    return Call(value["name"], value["parameters"])


def _thinking(text: str) -> float:
    if "<think>" not in text or "</think>" not in text:
        return 0.0
    words = text.split("<think>")[-1].split("</think>")[0].split()
    return min(1.0, round(len(words) / 512, 2))
