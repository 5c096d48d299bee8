"""What the OpenAPI page says of the bodies of requests: they are read within limits, not by the framework."""

from __future__ import annotations

from typing import Any

_RECORD = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "group": {"type": "string"},
        "prompt": {"description": "text or chat messages"},
        "completion": {"description": "text or chat messages"},
        "reference": {"description": "ground truth, as the reward wants it"},
        "meta": {"type": "object"},
        "signals": {"type": "object"},
    },
    "example": {"id": "r1", "prompt": "2 + 2?", "completion": "\\boxed{4}", "reference": "4"},
}
_RECORDS = {"type": "array", "items": _RECORD, "minItems": 1}
_REFUSALS = {
    400: "no JSON",
    401: "no token, or the wrong one",
    408: "the body came too slowly",
    413: "too large",
    415: "another content type",
    422: "what is wrong with which record or field",
    429: "too much is waiting; come back after Retry-After seconds",
    503: "scoring does not work any more",
    504: "not done in time; what was being scored is known when asked for again",
}


def _described(properties: dict[str, Any], required: list[str], lines: bool = False) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if lines:
        content["application/x-ndjson"] = {"schema": {"type": "string", "description": "one record a line"}}
    return {
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
        "responses": {status: {"description": text} for status, text in _REFUSALS.items()},
    }


SCORE = _described(
    {"records": _RECORDS, "rewards": {"type": "array", "items": {"type": "string"}}}, ["records"], lines=True
)
CREDIT = _described(
    {"records": _RECORDS, "method": {"type": "string"}, "settings": {"type": "object"}}, ["records", "method"]
)
_TEXTS = {"type": "array", "items": {"type": "string"}}
OPENRLHF = _described({"query": _TEXTS, "prompts": _TEXTS, "labels": {"type": "array"}}, ["query"])
