"""What a judge has used: requests, tokens, money, failures by cause."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from guerdon.judge.exchange import Reply


@dataclass
class Usage:
    """Counters since the judge was made; every query ends in exactly one of cached, answered, failed, shared.

    Attributes:
        price_in, price_out: money per 1,000 prompt / completion tokens.
        queries: questions asked, `shared` of which equal another one of the same call.
        cached: answered from the cache, for nothing.
        answered: answered by the model.
        failed: without reply; `causes` says why, `examples` holds the first whole message of each.
        attempts: requests sent, with repetitions.
        unread: replies in which no verdict was found.
        shortened: questions whose material was too long for the template and lost its middle.
        unmetered: replies whose tokens the server did not count: their cost is missing in `cost`.
        unsaved: replies that could not be written to the cache.
    """

    price_in: float = 0.0
    price_out: float = 0.0
    queries: int = 0
    shared: int = 0
    cached: int = 0
    answered: int = 0
    failed: int = 0
    attempts: int = 0
    unread: int = 0
    shortened: int = 0
    unmetered: int = 0
    unsaved: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def cost(self) -> float:
        """Money spent: price_in * prompt tokens / 1000 + price_out * completion tokens / 1000."""
        return (self.price_in * self.prompt_tokens + self.price_out * self.completion_tokens) / 1000.0

    def count(self, reply: Reply) -> None:
        """Add one reply."""
        if reply.cached:
            self.cached += 1
            return
        self.attempts += reply.attempts
        if reply.cause is not None:
            self.failed += 1
            self.causes[reply.cause] += 1
            self.examples.setdefault(reply.cause, reply.detail or reply.cause)
            return
        self.answered += 1
        if reply.prompt_tokens is None or reply.completion_tokens is None:
            self.unmetered += 1
        self.prompt_tokens += reply.prompt_tokens or 0
        self.completion_tokens += reply.completion_tokens or 0

    def as_dict(self) -> dict[str, Any]:
        """All counters and the cost as plain data."""
        return {**vars(self), "cost": self.cost, "causes": dict(self.causes), "examples": dict(self.examples)}
