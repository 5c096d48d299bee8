"""The OpenAI-compatible wire format: request bodies, and replies from bytes nobody vouches for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.engines.protocol import Sampling
from guerdon.errors import RecipeError
from guerdon.judge.exchange import Query, Reply, countable
from guerdon.judge.likelihoods import Position, label_logprobs

PATHS = {"chat": "chat/completions", "completions": "completions"}
_TAKEN = frozenset({"model", "messages", "prompt", "n", "best_of", "stream"})
TOP_LOGPROBS = {"chat": 20, "completions": 5}  # what OpenAI allows at most


class Garbled(ValueError):
    """A server answered, but not with a completion; the message is a countable cause."""


def checked_body(further: Mapping[str, Any]) -> dict[str, Any]:
    """Further request fields, which must be JSON and must not take over the request.

    Raises:
        RecipeError: they are not, or do.
    """
    taken = sorted(_TAKEN.intersection(further))
    if taken:
        raise RecipeError(f"judge.body must not set {', '.join(taken)}: the judge does")
    try:
        return json.loads(json.dumps(dict(further)))
    except (TypeError, ValueError) as error:
        raise RecipeError(f"judge.body must be a mapping that JSON can express: {error}") from error


def request_body(
    api: str,
    model: str,
    query: Query,
    sampling: Sampling,
    limit_field: str,
    top_logprobs: int,
    further: Mapping[str, Any],
) -> dict[str, Any]:
    """The JSON body of a request. No seed, no `n`: every draw is a request of its own.

    `top_p`, `top_k` and `stop` are sent only where they differ from doing nothing, since some servers
    refuse fields they do not know.
    """
    body: dict[str, Any] = {"model": model}
    if api == "chat":
        body["messages"] = [dict(message) for message in query.messages]
    else:
        body["prompt"] = query.text()
    body[limit_field] = sampling.max_new_tokens
    body["temperature"] = float(sampling.temperature)
    if sampling.top_p < 1:
        body["top_p"] = float(sampling.top_p)
    if sampling.top_k > 0:
        body["top_k"] = sampling.top_k
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if query.labels and api == "chat":
        body |= {"logprobs": True, "top_logprobs": top_logprobs}
    elif query.labels:
        body["logprobs"] = top_logprobs
    return body | dict(further)


def read_reply(data: bytes, labels: Sequence[str] = ()) -> Reply:
    """A completion from the body of a successful response.

    Raises:
        Garbled: no JSON, an error dressed as success, or no choice with text in it.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Garbled("reply is not JSON") from error
    if not isinstance(content, dict):
        raise Garbled("reply is not a JSON object")
    if content.get("error"):
        raise Garbled(f"server error: {error_message(data)}")
    choices = content.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Garbled("reply has no choices")
    choice = choices[0]
    usage = content.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Reply(
        text=_text(choice),
        finish=str(choice.get("finish_reason") or "")[:40],
        label_logprobs=_labels(choice, labels),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _text(choice: Mapping[str, Any]) -> str:
    """Text of a choice; a refusal or a message without content is an empty text."""
    message = choice.get("message")
    if isinstance(message, dict) and "content" in message:
        text = message["content"]
    elif isinstance(message, dict) and message:
        text = None
    elif "text" in choice:
        text = choice["text"]
    else:
        raise Garbled("reply has no text")
    if isinstance(text, list):  # content in parts
        text = "".join(str(part.get("text") or "") for part in text if isinstance(part, dict))
    if text is not None and not isinstance(text, str):
        raise Garbled("reply has no text")
    return text or ""


def _labels(choice: Mapping[str, Any], labels: Sequence[str]) -> dict[str, float] | None:
    found = positions(choice.get("logprobs")) if labels else []
    return label_logprobs(found, labels) if found else None


def positions(logprobs: Any) -> list[Position]:
    """Likely tokens per position, from the chat form (`content`) or the older one (`top_logprobs`)."""
    if not isinstance(logprobs, dict):
        return []
    found: list[Position] = []
    content = logprobs.get("content")
    if isinstance(content, list):
        for entry in content:
            if isinstance(entry, dict):
                top = entry.get("top_logprobs")
                tokens = [entry, *(top if isinstance(top, list) else [])]
                found.append(
                    _tokens((t.get("token"), t.get("logprob")) for t in tokens if isinstance(t, dict))
                )
        return found
    top, chosen, own = (logprobs.get(name) for name in ("top_logprobs", "tokens", "token_logprobs"))
    if not isinstance(top, list):
        return []
    for at, entry in enumerate(top):
        pairs = list(entry.items()) if isinstance(entry, dict) else []
        if isinstance(chosen, list) and isinstance(own, list) and at < len(chosen) and at < len(own):
            pairs.append((chosen[at], own[at]))
        found.append(_tokens(pairs))
    return found


def _tokens(pairs: Any) -> Position:
    """Well-formed (token, log-prob) pairs, every token once."""
    good = {
        token: float(logprob)
        for token, logprob in pairs
        if isinstance(token, str) and isinstance(logprob, int | float) and not math.isnan(logprob)
    }
    return list(good.items())


def _count(value: Any) -> int | None:
    """A number of tokens; None for anything else a server may send."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48 else None


def error_message(data: bytes) -> str:
    """What a server says about an error, as a countable cause."""
    text = data[:4096].decode("utf-8", errors="replace")
    try:
        content = json.loads(data[:65536])
    except (ValueError, RecursionError):
        return countable(text)
    for name in ("error", "message", "detail"):
        while isinstance(content, dict) and name in content:
            content = content[name]
    if isinstance(content, list) and content and isinstance(content[0], dict) and "msg" in content[0]:
        # FastAPI's validation errors repeat the whole input; field and message are enough
        content = f"{content[0].get('loc')}: {content[0]['msg']}"
    return countable(content if isinstance(content, str) else json.dumps(content))
