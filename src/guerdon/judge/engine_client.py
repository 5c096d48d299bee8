"""EngineClient: a judge model held by an engine of ours, under the same interface as an endpoint."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.engines.protocol import Engine, Sampling
from guerdon.errors import RecipeError
from guerdon.judge.exchange import Client, Query, Reply, countable, failure


class EngineClient:
    """Asks an engine (`LabEngine`, `HFEngine`).

    A reply depends on (weights, messages, sampling, draw) only. Labels are scored exactly: their
    log-prob is that of the whole label as a continuation, at temperature 1.

    Args:
        engine: who answers; it is used from one thread of its own.
        identity: a name for these very weights. Without one replies are not kept in a cache, since
            weights may change between calls.
        batch: queries generated together.
    """

    concurrency = 1
    lease = 3600.0

    def __init__(self, engine: Engine, identity: str | None = None, batch: int = 64) -> None:
        if batch < 1:
            raise RecipeError(f"judge.batch: got {batch!r}, expected an integer >= 1")
        self.engine, self.batch = engine, batch
        self.identity = None if identity is None else f"engine:{identity}"
        self.body: Mapping[str, Any] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._pid = 0

    async def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[Reply]:
        """One reply per query, in order."""
        if self._thread is None or self._pid != os.getpid():  # a forked child has no threads
            self._thread, self._pid = ThreadPoolExecutor(1, "guerdon-judge-engine"), os.getpid()
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._complete, queries, sampling)
        return await work

    def _complete(self, queries: Sequence[Query], sampling: Sampling) -> list[Reply]:
        replies: list[Reply | None] = [None] * len(queries)
        for draw in sorted({query.draw for query in queries}):
            rows = [at for at, query in enumerate(queries) if query.draw == draw]
            generate = partial(self._generate, sampling=replace(sampling, seed=sampling.seed + draw))
            made = self._one_by_one(generate, [queries[at] for at in rows])
            for at, reply in zip(rows, made, strict=True):
                replies[at] = reply
        answered = [reply or failure("not answered") for reply in replies]
        labelled = [at for at, query in enumerate(queries) if query.labels and answered[at].cause is None]
        scored = self._one_by_one(self._score, [queries[at] for at in labelled])
        for at, score in zip(labelled, scored, strict=True):
            answered[at] = (
                score
                if score.cause is not None
                else replace(answered[at], label_logprobs=score.label_logprobs)
            )
        return answered

    def _one_by_one(
        self, work: Callable[[Sequence[Query]], list[Reply]], queries: Sequence[Query]
    ) -> list[Reply]:
        """Work on all queries together; where that fails, on each alone: one too long costs only itself."""
        try:
            return work(queries) if queries else []
        except Exception as error:  # whatever a model raises is a counted cause, not the end of the run
            if len(queries) == 1:
                message = f"{type(error).__name__}: {error}"
                return [failure(countable(message), message)]
        return [reply for query in queries for reply in self._one_by_one(work, [query])]

    def _generate(self, queries: Sequence[Query], sampling: Sampling) -> list[Reply]:
        # an engine numbers the draws of equal prompts; here every query brings its own draw
        prompts: dict[str, int] = {}
        place = [prompts.setdefault(repr(query.messages), len(prompts)) for query in queries]
        first = {at: query for at, query in reversed(list(zip(place, queries, strict=True)))}
        drawn = self.engine.generate([list(first[at].messages) for at in range(len(first))], 1, sampling)
        assert drawn.completion is not None and drawn.tokens is not None
        sizes = [len(self.engine.tokenizer.encode(first[at].text())) for at in range(len(first))]
        return [
            Reply(
                text=drawn.completion[at],
                finish="length" if drawn.truncated[at] else "stop",
                prompt_tokens=sizes[at],
                completion_tokens=int(drawn.tokens.lengths[at]),
            )
            for at in place
        ]

    def _score(self, queries: Sequence[Query]) -> list[Reply]:
        pairs = [(query, label) for query in queries for label in query.labels]
        tokens = Ragged.from_lists(
            [self.engine.tokenizer.encode(label) for _, label in pairs], dtype=np.int32
        )
        rollouts = Rollouts(
            prompt=[list(query.messages) for query, _ in pairs],
            completion=[label for _, label in pairs],
            tokens=tokens,
        )
        logprobs = self.engine.logprobs(rollouts)
        totals = iter([float(row.sum()) for row in (logprobs[i] for i in range(len(pairs)))])
        return [
            Reply("", label_logprobs={label: next(totals) for label in query.labels}) for query in queries
        ]

    async def close(self) -> None:
        """Let the thread go."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_thread": None}


class NamedEngine:
    """The engine that a run calls by this name ("policy", "reference"); it is looked up at every call."""

    def __init__(self, name: str, batch: int = 64) -> None:
        self.name, self.batch = name, batch
        self._client: EngineClient | None = None

    def client(self, ctx: Context | None) -> Client:
        """The client of that engine.

        Raises:
            RecipeError: the context has no such engine.
        """
        engines = {} if ctx is None else ctx.engines
        if engines.get(self.name) is None:
            known = ", ".join(sorted(engines)) or "none"
            raise RecipeError(f"judge.engine: there is no engine {self.name!r} here (engines: {known})")
        if self._client is None or self._client.engine is not engines[self.name]:
            self._client = EngineClient(engines[self.name], batch=self.batch)
        return self._client

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_client": None}
