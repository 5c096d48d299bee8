"""A judge that follows a rule instead of a model, and groups of answers for it."""

from __future__ import annotations

import asyncio
import re
from typing import ClassVar

from guerdon import Rollouts
from guerdon.judge.exchange import Reply, failure

FENCE = re.compile(r"^<<<([A-Z_.0-9]+) ([0-9a-f]{12})\n(.*?)\n\1 \2>>>$", re.MULTILINE | re.DOTALL)


class Ruled:
    """A judge that applies a function to the fenced material: {place: text} -> reply text, Reply or None."""

    body: ClassVar = {}
    batch = 7
    concurrency = 2
    lease = 10.0
    identity = "ruled"

    def __init__(self, rule):
        self.rule, self.asked = rule, []

    async def complete(self, queries, sampling):
        await asyncio.sleep(0)
        replies = []
        for query in queries:
            found = {name.lower(): text for name, _, text in FENCE.findall(query.text())}
            self.asked.append(found)
            said = self.rule(found) if self.rule.__code__.co_argcount == 1 else self.rule(found, query)
            replies.append(
                said if isinstance(said, Reply) else failure("silence") if said is None else Reply(said)
            )
        return replies

    async def close(self):
        pass


def better(found):
    """Prefers the longer answer."""
    a, b = len(found["answer_a"]), len(found["answer_b"])
    return "[[A=B]]" if a == b else "[[A>B]]" if a > b else "[[B>>A]]"


def group(*texts, group=None, **columns):
    return Rollouts(
        prompt=["q"] * len(texts), completion=list(texts), group=group or [0] * len(texts), **columns
    )


def contains(found):
    return "Yes" if found["criterion"].split()[-1] in found["answer"] else "No"
