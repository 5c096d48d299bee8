"""What goes to a judge model and what comes back, whatever serves the model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from guerdon.engines.protocol import Sampling
from guerdon.errors import RecipeError

Messages = Sequence[Mapping[str, str]]

_KEY_FORMAT = 1  # change it when the same query would mean another request
_DIGITS = re.compile(r"\d+")
MAX_CAUSE = 160


@dataclass(frozen=True)
class Query:
    """One question to a judge model.

    Attributes:
        messages: chat messages with `role` and `content`.
        draw: number of the draw; the same question with another number is asked again (votes).
        labels: answers whose log-probs are wanted; none of them begins another.
    """

    messages: tuple[Mapping[str, str], ...]
    draw: int = 0
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, prompt: str | Messages | Query) -> Query:
        """Text (one user message), messages or a query as a query."""
        if isinstance(prompt, Query):
            return prompt
        if isinstance(prompt, str):
            return cls(({"role": "user", "content": prompt},))
        try:
            return cls(tuple({"role": str(m["role"]), "content": str(m["content"])} for m in prompt))
        except (KeyError, TypeError) as error:
            kind = type(prompt).__name__
            raise RecipeError(
                f"a judge takes text or messages with 'role' and 'content', got {kind} ({error!r})"
            ) from error

    def text(self) -> str:
        """The contents of all messages, joined by blank lines: the question without a chat format."""
        return "\n\n".join(message["content"] for message in self.messages)


@dataclass(frozen=True)
class Reply:
    """What a judge model said, or why it said nothing.

    Attributes:
        text: None exactly where there is a cause.
        cause: why there is no text; equal failures have equal causes, so that they can be counted.
        finish: the server's reason for stopping ("stop", "length", "content_filter" ...).
        label_logprobs: label -> log-prob, nats; None where labels were not asked for or not offered.
        prompt_tokens, completion_tokens: as metered by the server; None where it does not say.
        attempts: HTTP requests made for it.
        cached: it was paid for earlier.
        detail: the whole error message.
    """

    text: str | None
    cause: str | None = None
    finish: str = ""
    label_logprobs: Mapping[str, float] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    attempts: int = 1
    cached: bool = False
    detail: str = ""


def failure(cause: str, detail: str = "", attempts: int = 1) -> Reply:
    """A reply that did not come."""
    return Reply(None, cause, attempts=attempts, detail=detail)


class Client(Protocol):
    """Something that answers queries. It never raises for a failed query; the reply carries the cause.

    Attributes:
        identity: what the answers depend on besides the query (model and interface); None where that may
            change between calls, so that answers must not be kept.
        body: further request fields that change the answers.
        batch: queries per `complete` call at most.
        concurrency: `complete` calls at a time.
        lease: seconds after which a query that was started and not finished may be taken over.
    """

    @property
    def identity(self) -> str | None: ...
    @property
    def body(self) -> Mapping[str, Any]: ...
    @property
    def batch(self) -> int: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def lease(self) -> float: ...

    async def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[Reply]:
        """One reply per query, in order."""
        ...

    async def close(self) -> None:
        """Free connections; the client may be used again."""
        ...


def query_key(
    query: Query, identity: str | None, sampling: Sampling, body: Mapping[str, Any], version: str
) -> bytes:
    """Content hash of a query: SHA-256 of model, messages, sampling, further fields, version and draw.

    A seed is not part of it: votes differ by their draw number.
    """
    content = {
        "format": _KEY_FORMAT,
        "model": identity,
        "messages": list(query.messages),
        "draw": query.draw,
        "labels": query.labels,
        "sampling": [
            sampling.max_new_tokens,
            float(sampling.temperature),
            float(sampling.top_p),
            sampling.top_k,
            sampling.stop,
        ],
        "body": body,
        "version": version,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def countable(text: str) -> str:
    """An error message as a cause: one line, digits as #, so that equal problems are counted together."""
    return _DIGITS.sub("#", " ".join(text.split()))[:MAX_CAUSE]


@dataclass(frozen=True)
class Progress:
    """How far a call to a judge is.

    Attributes:
        done, total: queries.
        failed: of the done ones, without reply.
        cached: of the done ones, not paid for in this call.
        usage: what the judge has used since it was made (see `Usage.as_dict`).
    """

    done: int
    total: int
    failed: int
    cached: int
    usage: Mapping[str, Any] = field(default_factory=dict)
