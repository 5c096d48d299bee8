"""Asking many queries: each content once, from the cache where it is there, in bounded concurrency.

Enters: queries, a client, a cache. Leaves: one reply per query, in order, whatever happens to the server.
"""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon.engines.protocol import Sampling
from guerdon.errors import StoreError
from guerdon.judge.cache import ReplyCache, new_owner
from guerdon.judge.exchange import Client, Progress, Query, Reply, failure, query_key
from guerdon.judge.usage import Usage

_POLL = 0.05  # seconds between looks at what another process is asking


@dataclass(frozen=True)
class Limits:
    """Where a judge stops asking; what is left is missing, with that cause.

    Attributes:
        cost: money since the judge was made (see `Usage.cost`).
        seconds: of one call.
    """

    cost: float | None = None
    seconds: float | None = None


class Asking:
    """One call to a judge.

    Args:
        client: who answers.
        cache: where replies are kept, or None.
        usage: counters to add to.
        version: of the judge, part of the keys.
        limits: when to stop.
        progress: called in the judge's thread whenever replies have come.
    """

    def __init__(
        self,
        client: Client,
        cache: ReplyCache | None,
        usage: Usage,
        version: str = "1",
        limits: Limits | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._client, self._usage, self._version = client, usage, version
        self._cache = cache if client.identity is not None else None
        self._limits, self._progress = limits or Limits(), progress
        self._owner = new_owner()
        self._queries: dict[bytes, Query] = {}
        self._places: dict[bytes, list[int]] = {}
        self._todo: deque[bytes] = deque()
        self._elsewhere: list[bytes] = []
        self._claimed: set[bytes] = set()
        self._waiting = False
        self._done = self._failed = self._free = 0

    async def replies(self, queries: Sequence[Query], sampling: Sampling) -> list[Reply]:
        """One reply per query, in order. Never raises for a failed query.

        Raises:
            RecipeError: the judge is set up wrongly (no API key).
            StoreError: the cache cannot be read.
        """
        self._replies: list[Reply | None] = [None] * len(queries)
        self._sampling = sampling
        seconds = self._limits.seconds
        self._stop_at = float("inf") if seconds is None else asyncio.get_running_loop().time() + seconds
        for at, query in enumerate(queries):
            key = query_key(query, self._client.identity, sampling, self._client.body, self._version)
            self._queries.setdefault(key, query)
            self._places.setdefault(key, []).append(at)
        self._usage.queries += len(queries)
        self._usage.shared += len(queries) - len(self._queries)
        found = self._cache.get_many(self._queries) if self._cache else {}
        for key, reply in found.items():
            self._settle(key, reply, report=False)
        self._todo.extend(key for key in self._queries if key not in found)
        if queries:
            self._report()
        await self._ask_all()
        assert all(reply is not None for reply in self._replies)
        return [reply for reply in self._replies if reply is not None]

    async def _ask_all(self) -> None:
        wanted = -(-len(self._todo) // self._client.batch)
        workers = [asyncio.create_task(self._work()) for _ in range(min(self._client.concurrency, wanted))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            if self._cache is not None and self._claimed:
                self._write(self._cache.release, list(self._claimed), self._owner)

    async def _work(self) -> None:
        while keys := await self._take():
            replies = await self._client.complete([self._queries[key] for key in keys], self._sampling)
            for key, reply in zip(keys, replies, strict=True):
                self._keep(key, reply)
                self._settle(key, reply)

    async def _take(self) -> list[bytes]:
        """The next queries this call must pay for; empty at the end."""
        keys: list[bytes] = []
        while len(keys) < self._client.batch:
            if cause := self._over():
                self._give_up(cause)
            if not self._todo:
                if keys or not self._elsewhere or self._waiting:
                    break
                await self._wait_for_others()
                continue
            key = self._todo.popleft()
            state = self._claim(key)
            if isinstance(state, Reply):
                self._settle(key, state)
            elif state:
                keys.append(key)
            else:
                self._elsewhere.append(key)
        return keys

    async def _wait_for_others(self) -> None:
        """A pause, after which what others were asking is looked at again; one worker does that."""
        self._waiting = True
        try:
            await asyncio.sleep(_POLL)
        finally:
            self._waiting = False
        self._todo.extend(self._elsewhere)
        self._elsewhere.clear()

    def _claim(self, key: bytes) -> Reply | bool:
        if self._cache is None:
            return True
        state = self._write(self._cache.claim, key, self._owner, self._client.lease)
        if state is True:
            self._claimed.add(key)
        return True if state is None else state

    def _keep(self, key: bytes, reply: Reply) -> None:
        """Put a reply into the cache before anything else can fail; a failure lifts its claim."""
        if self._cache is None:
            return
        if reply.cause is not None:
            self._write(self._cache.release, [key], self._owner)
        else:
            self._write(self._cache.put, key, reply, str(self._client.identity))
        self._claimed.discard(key)

    def _write(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """A change of the cache; where it fails the run goes on without, and says so once."""
        try:
            return call(*arguments)
        except StoreError as error:
            if not self._usage.unsaved:
                warnings.warn(f"{error}; replies are not kept while this lasts", stacklevel=2)
            self._usage.unsaved += 1
            return None

    def _over(self) -> str | None:
        if self._limits.cost is not None and self._usage.cost >= self._limits.cost:
            return f"cost limit of {self._limits.cost:g} reached"
        if asyncio.get_running_loop().time() >= self._stop_at:
            return f"time limit of {self._limits.seconds:g} s reached"
        return None

    def _give_up(self, cause: str) -> None:
        for key in (*self._todo, *self._elsewhere):
            self._settle(key, failure(cause, attempts=0))
        self._todo.clear()
        self._elsewhere.clear()

    def _settle(self, key: bytes, reply: Reply, report: bool = True) -> None:
        places = self._places[key]
        for at in places:
            self._replies[at] = reply
        self._usage.count(reply)
        self._done += len(places)
        self._failed += len(places) if reply.cause is not None else 0
        self._free += len(places) if reply.cached else 0
        if report:
            self._report()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(
                Progress(self._done, len(self._replies), self._failed, self._free, self._usage.as_dict())
            )
