"""Rewards by rule or by execution: every name here is imported when first touched."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "extract": "guerdon.verify.extract:",
    "extract_answer": "guerdon.verify.maths.locate:locate",
    "math": "guerdon.verify.maths.reward:math",
    "math_equal": "guerdon.verify.maths.reward:math_equal",
    "math_verify": "guerdon.verify.maths.peer:math_verify",
    "boxes": "guerdon.verify.box_overlap:boxes",
    "points": "guerdon.verify.box_overlap:points",
    "checklist": "guerdon.verify.checklists:checklist",
    "choice": "guerdon.verify.choices:choice",
    "code": "guerdon.verify.programs:code",
    "graph": "guerdon.verify.graphs:graph",
    "json_schema": "guerdon.verify.schemas:json_schema",
    "length": "guerdon.verify.lengths:length",
    "overlong": "guerdon.verify.lengths:overlong",
    "repeats": "guerdon.verify.lengths:repeats",
    "match": "guerdon.verify.answers_match:match",
    "tags": "guerdon.verify.templates:tags",
    "pattern": "guerdon.verify.templates:pattern",
    "ranking": "guerdon.verify.rankings:ranking",
    "bleu": "guerdon.verify.text_overlap:bleu",
    "chrf": "guerdon.verify.text_overlap:chrf",
    "rouge": "guerdon.verify.text_overlap:rouge",
    "edit": "guerdon.verify.text_overlap:edit",
    "sql": "guerdon.verify.sql_reward:sql",
    "step_checks": "guerdon.verify.steps.reward:step_checks",
    "tool_calls": "guerdon.verify.tools:tool_calls",
    "second_opinion": "guerdon.verify.second_opinions:second_opinion",
}

if TYPE_CHECKING:
    from guerdon.verify import extract
    from guerdon.verify.answers_match import match
    from guerdon.verify.box_overlap import boxes, points
    from guerdon.verify.checklists import checklist
    from guerdon.verify.choices import choice
    from guerdon.verify.graphs import graph
    from guerdon.verify.lengths import length, overlong, repeats
    from guerdon.verify.maths.locate import locate as extract_answer
    from guerdon.verify.maths.peer import math_verify
    from guerdon.verify.maths.reward import math, math_equal
    from guerdon.verify.programs import code
    from guerdon.verify.rankings import ranking
    from guerdon.verify.schemas import json_schema
    from guerdon.verify.second_opinions import second_opinion
    from guerdon.verify.sql_reward import sql
    from guerdon.verify.steps.reward import step_checks
    from guerdon.verify.templates import pattern, tags
    from guerdon.verify.text_overlap import bleu, chrf, edit, rouge
    from guerdon.verify.tools import tool_calls

__all__ = [
    "bleu",
    "boxes",
    "checklist",
    "choice",
    "chrf",
    "code",
    "edit",
    "extract",
    "extract_answer",
    "graph",
    "json_schema",
    "length",
    "match",
    "math",
    "math_equal",
    "math_verify",
    "overlong",
    "pattern",
    "points",
    "ranking",
    "repeats",
    "rouge",
    "second_opinion",
    "sql",
    "step_checks",
    "tags",
    "tool_calls",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'guerdon.verify' has no attribute {name!r}")
    module, attribute = _NAMES[name].split(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted(__all__)
