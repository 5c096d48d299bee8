"""What the OpenAPI page says of requests and answers: they are read and written within limits of our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_LABEL = {"type": ["string", "integer", "null"]}
_RECORD = {
    "type": "object",
    "properties": {
        "id": _LABEL,
        "group": _LABEL,
        "prompt": {"description": "text or chat messages"},
        "completion": {"description": "text or chat messages"},
        "reference": {"description": "ground truth, as the reward wants it"},
        "meta": {"type": ["object", "null"]},
        "signals": {"type": ["object", "null"]},
    },
    "example": {"id": "r1", "prompt": "2 + 2?", "completion": "\\boxed{4}", "reference": "4"},
}
_RECORDS = {"type": "array", "items": _RECORD, "minItems": 1}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_NUMBERS = {"type": "array", "items": {"type": ["number", "null"]}}
_SIGNAL = {
    "type": "object",
    "properties": {
        "level": {
            "type": "string",
            "description": "what every value is of: rollout, turn, step, token, group",
        },
        "values": _NUMBERS,
        "causes": {
            "type": "object",
            "description": "place among the values -> why the value is missing",
            "additionalProperties": {"type": "string"},
        },
    },
    "required": ["level", "values"],
}
_RESULT = {
    "type": "object",
    "properties": {
        "id": _LABEL,
        "signals": {"type": "object", "additionalProperties": _SIGNAL},
    },
    "required": ["signals"],
}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "status": {"type": "integer"},
                "message": {"type": "string"},
                "request_id": {"type": "string"},
            },
            "required": ["status", "message", "request_id"],
        }
    },
    "required": ["error"],
}
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
_REWARD = {"name": "reward", "in": "query", "required": False, "schema": _TEXTS}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _fields(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": _REFUSALS[status], "content": _json(_ERROR)} for status in statuses}


def _described(asked: dict[str, Any], answer: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A route that takes JSON; `more`: of the operation, where `lines` stands for JSON Lines in and out."""
    content, answers = _json({**asked, "additionalProperties": False}), _json(answer)
    for kind, (record, result) in more.pop("lines", {}).items():
        content[kind] = {"schema": {"type": "string", "description": record}}
        answers[kind] = {"schema": {"type": "string", "description": result}}
    return {
        "openapi_extra": {"requestBody": {"required": True, "content": content}, **more},
        "responses": {200: {"description": "done", "content": answers}} | _refusals(*_REFUSALS),
    }


SCORE = _described(
    _fields(["records"], records=_RECORDS, rewards={**_TEXTS, "type": ["array", "null"]}),
    _fields(["results"], results={"type": "array", "items": _RESULT}),
    lines={
        "application/x-ndjson": ("one record a line", "one result a line; an error as the last, if need be")
    },
    parameters=[{**_REWARD, "description": "label, repeatable; default: all"}],
)
CREDIT = _described(
    _fields(
        ["records", "method"],
        records=_RECORDS,
        method={"type": "string"},
        settings={"type": ["object", "null"]},
    ),
    _fields(
        ["method", "level", "advantages", "sources"],
        method={"type": "string"},
        level={"type": "string"},
        advantages={"type": "array", "items": _NUMBERS},
        sources={"type": "object"},
    ),
)
_REWARDS = {**_NUMBERS, "type": ["array", "null"]}
OPENRLHF = _described(
    _fields(
        [],
        query=_TEXTS,
        queries=_TEXTS,
        prompts={**_TEXTS, "type": ["array", "null"]},
        labels={"type": ["array", "null"]},
    )
    | {"anyOf": [{"required": ["query"]}, {"required": ["queries"]}]},
    _fields(
        ["rewards", "scores", "extra_logs"], rewards=_REWARDS, scores=_REWARDS, extra_logs={"type": "object"}
    ),
    parameters=[
        {**_REWARD, "description": "label of the reward; the others are logs"},
        {
            "name": "missing",
            "in": "query",
            "required": False,
            "schema": {"type": "number"},
            "description": "what a sample without a verdict gets; default: null",
        },
    ],
)
HEALTH = {
    "responses": {
        200: {"description": "scoring works", "content": _json(_fields(["status"], status={"const": "ok"}))},
        503: {
            "description": "it does not",
            "content": _json(_fields(["status"], status={"const": "broken"})),
        },
    }
}
GUARDED = {"responses": _refusals(401)}


def completed(
    document: dict[str, Any], methods: Sequence[str], labels: Sequence[str] | None, free: frozenset[str]
) -> dict[str, Any]:
    """The description with what only a running server knows.

    Args:
        document: without that; changed.
        methods: names of credit methods.
        labels: of the rewards that are served; None where a token is asked for: this page needs none.
        free: paths that need no token.
    """
    bodies = {
        path: document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        for path in ("/score", "/credit")
    }
    bodies["/credit"]["properties"]["method"] = {"type": "string", "enum": list(methods)}
    if labels is not None:
        label = {"type": "string", "enum": list(labels)}
        bodies["/score"]["properties"]["rewards"] = {"type": ["array", "null"], "items": label}
        for path in ("/score", "/openrlhf"):
            document["paths"][path]["post"]["parameters"][0]["schema"] = {"type": "array", "items": label}
        return document
    document.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        if path not in free:
            for operation in operations.values():
                operation["security"] = [{"token": []}]
    return document
