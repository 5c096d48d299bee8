"""Yes/no rules mined from preference pairs by three passes of language models, and how well a rule agrees."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from random import Random

from guerdon.verify.rubrics import escaped, filled

REASON = """Two responses to one prompt. Response {better} was preferred. Explain step by step why.

<prompt>
{prompt}
</prompt>
<response_a>
{a}
</response_a>
<response_b>
{b}
</response_b>"""
EXTRACT = "List the objective, rule-like statements that this reasoning relies on, one per line.\n\n{chain}"
MERGE = "Merge duplicates of these rules. Answer with the merged rules, one per line.\n\n{rules}"
_MARK = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")


def rule_agreement(differences: Sequence[float]) -> float:
    """Share of preference pairs on which a rule has the preference's sign, ties left out; NaN without any.

    Args:
        differences: the rule's score of the chosen minus that of the rejected response, per pair.
    """
    untied = [d for d in differences if d != 0]
    return sum(d > 0 for d in untied) / len(untied) if untied else math.nan


def mined_rules(
    pairs: Sequence[tuple[str, str, str]],
    reason: Callable[[list[str]], Sequence[str]],
    extract: Callable[[list[str]], Sequence[str]],
    merge: Callable[[list[str]], Sequence[str]],
    seed: int = 0,
) -> list[str]:
    """Rules mined from preference pairs in three stages: reasoning, extraction, merging.

    Args:
        pairs: (prompt, chosen, rejected). Which of the two is shown as A is drawn, so that the place does not
            leak the label.
        reason: prompts -> reasoning chains on why the better response is better.
        extract: prompts -> rule-like statements of one chain, one per line.
        merge: one prompt -> the merged rules, one per line.
        seed: of the draw.
    """
    draw = Random(seed)
    prompts = []
    for prompt, chosen, rejected in pairs:
        first_is_chosen = draw.random() < 0.5
        a, b = (chosen, rejected) if first_is_chosen else (rejected, chosen)
        fields = {
            "prompt": escaped(prompt),
            "a": escaped(a),
            "b": escaped(b),
            "better": "A" if first_is_chosen else "B",
        }
        prompts.append(filled(REASON, fields))
    chains = [str(chain) for chain in reason(prompts)]
    statements = dict.fromkeys(
        line
        for text in extract([filled(EXTRACT, {"chain": escaped(chain)}) for chain in chains])
        for line in lines(text)
    )
    merged = merge([filled(MERGE, {"rules": "\n".join(statements)})]) if statements else []
    return list(dict.fromkeys(line for text in merged for line in lines(text)))


def lines(text: str) -> list[str]:
    """Non-empty lines without list marks ("- ", "1. ")."""
    stripped = (_MARK.sub("", line).strip() for line in str(text).splitlines())
    return [line for line in stripped if line]
