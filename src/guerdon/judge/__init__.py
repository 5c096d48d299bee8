"""LLM judges over any OpenAI-compatible endpoint or an engine: asked once, escaped, voted, counted.

Enters: rollouts (or prompts). Leaves: signals (or replies). Every question ends with a value, or with NaN
and a counted cause; what was answered is never paid for again.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "ChecklistReward": "criteria",
    "Endpoint": "endpoint",
    "EngineClient": "engine_client",
    "FirstErrorReward": "first_errors",
    "Judge": "judge",
    "Limits": "asking",
    "NamedEngine": "engine_client",
    "PairwiseReward": "pairs",
    "Progress": "exchange",
    "Query": "exchange",
    "RateReward": "rating",
    "Reader": "verdicts",
    "Reply": "exchange",
    "ReplyCache": "cache",
    "Retry": "retry",
    "Template": "templates",
    "Usage": "usage",
    "checklist": "factories",
    "cleaned": "escaping",
    "connect": "factories",
    "expected_value": "likelihoods",
    "fenced": "escaping",
    "first_error": "factories",
    "pairwise": "factories",
    "rate": "factories",
    "reader": "verdicts",
    "resolve": "orders",
    "template_names": "templates",
}

if TYPE_CHECKING:
    from guerdon.judge.asking import Limits
    from guerdon.judge.cache import ReplyCache
    from guerdon.judge.criteria import ChecklistReward
    from guerdon.judge.endpoint import Endpoint
    from guerdon.judge.engine_client import EngineClient, NamedEngine
    from guerdon.judge.escaping import cleaned, fenced
    from guerdon.judge.exchange import Progress, Query, Reply
    from guerdon.judge.factories import checklist, connect, first_error, pairwise, rate
    from guerdon.judge.first_errors import FirstErrorReward
    from guerdon.judge.judge import Judge
    from guerdon.judge.likelihoods import expected_value
    from guerdon.judge.orders import resolve
    from guerdon.judge.pairs import PairwiseReward
    from guerdon.judge.rating import RateReward
    from guerdon.judge.retry import Retry
    from guerdon.judge.templates import Template, template_names
    from guerdon.judge.usage import Usage
    from guerdon.judge.verdicts import Reader, reader

__all__ = [
    "ChecklistReward",
    "Endpoint",
    "EngineClient",
    "FirstErrorReward",
    "Judge",
    "Limits",
    "NamedEngine",
    "PairwiseReward",
    "Progress",
    "Query",
    "RateReward",
    "Reader",
    "Reply",
    "ReplyCache",
    "Retry",
    "Template",
    "Usage",
    "checklist",
    "cleaned",
    "connect",
    "expected_value",
    "fenced",
    "first_error",
    "pairwise",
    "rate",
    "reader",
    "resolve",
    "template_names",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"guerdon.judge.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'guerdon.judge' has no attribute {name!r}")
