"""From records in a request to answers: what routes share, whatever their wire format."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from guerdon.data.record_checks import Schema
from guerdon.data.records import to_rollouts
from guerdon.errors import GuerdonError, RecipeError
from guerdon.registry import build, nearest
from guerdon.score.chunk import Chunk
from guerdon.serve import bodies
from guerdon.serve.admission import Admission, Ticket
from guerdon.serve.desk import Desk, Scored
from guerdon.serve.metrics import Metrics
from guerdon.serve.refusals import Refusal
from guerdon.serve.settings import Settings

_LARGE = 1 << 18  # bytes of JSON after which others would notice that the event loop is busy
_STREAMED, _AHEAD = 64, 4  # records in a piece of a stream, and pieces under way
_BESIDE = ThreadPoolExecutor(1, "guerdon-serve-large")
_T = TypeVar("_T")


@dataclass
class Service:
    """All that routes need.

    Attributes:
        desk: where scoring happens.
        settings, admission, metrics: of this server.
        credits: how many credit methods may be at work.
    """

    desk: Desk
    settings: Settings
    admission: Admission
    metrics: Metrics
    credits: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    def labels(self, asked: Any) -> list[str]:
        """The rewards a request names; all that are served where it names none.

        Raises:
            Refusal: 422, not a list of labels of this server.
        """
        known = self.desk.plans
        if asked is None or asked == []:
            return list(known)
        if not isinstance(asked, list) or not all(isinstance(label, str) for label in asked):
            raise Refusal(422, f"rewards: expected a list of labels, any of {', '.join(known)}")
        for label in asked:
            if label not in known:
                raise Refusal(422, f"rewards: {label[:80]!r} is not served here{nearest(label, known)}")
        return list(dict.fromkeys(asked))

    async def score(self, chunk: Chunk, labels: Sequence[str], ticket: Ticket) -> Scored:
        """The signals of a chunk, once they are known.

        Raises:
            Refusal: 422 for records a reward cannot read; 503 where nothing can be scored any more.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Scored] = loop.create_future()
        ticket.share()  # the work goes on, and holds its place, even if this request is over

        def settle(outcome: Scored | Exception) -> None:
            ticket.release()
            if future.done():
                return
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.desk.submit(chunk, labels, lambda outcome: loop.call_soon_threadsafe(settle, outcome))
        try:
            scored = await future
        except GuerdonError as error:
            status = 503 if self.desk.broken else 422
            raise Refusal(status, str(error)) from None
        self.metrics.scored(scored.tallies)
        return scored

    async def stream(self, records: list[Any], labels: Sequence[str], ticket: Ticket) -> AsyncIterator[bytes]:
        """One line per record, in order, as the pieces get done."""
        apart = all(self.desk.plans[label].traits.shape == "sample" for label in labels)
        size = _STREAMED if apart else max(len(records), 1)
        starts = list(range(0, len(records), size))
        # All are checked before the first is scored: a broken record is told with a status.
        chunks = [bodies.to_chunk(records[at : at + size], self.settings, at) for at in starts]
        under_way: list[asyncio.Task[Scored]] = []
        try:
            for at, start in enumerate(starts):
                for chunk in chunks[at + len(under_way) : at + _AHEAD]:
                    under_way.append(asyncio.create_task(self.score(chunk, labels, ticket)))
                scored = await under_way.pop(0)
                answers = answers_of(records[start : start + size], scored)
                yield b"".join([json.dumps(answer).encode() + b"\n" for answer in answers])
        finally:
            for task in under_way:
                task.cancel()

    async def credit(self, records: Any, method: Any, settings: Any, ticket: Ticket) -> dict[str, Any]:
        """Advantages of records by a credit method.

        Raises:
            Refusal: 422 for a method, setting or record that will not do.
        """
        if not isinstance(method, str):
            raise Refusal(422, "method: expected the name of a credit method")
        if settings is not None and not isinstance(settings, dict):
            raise Refusal(422, "settings: expected an object")
        chunk = bodies.to_chunk(records, self.settings)
        async with self.credits:
            ticket.share()
            try:
                work = asyncio.ensure_future(asyncio.to_thread(_credit, chunk, method, settings or {}))
            except BaseException:
                ticket.release()
                raise
            work.add_done_callback(lambda done: ticket.release())
            try:
                return await asyncio.shield(work)
            except GuerdonError as error:
                raise Refusal(422, str(error)) from None


def answers_of(records: Sequence[Any], scored: Scored) -> list[dict[str, Any]]:
    """What is sent back for every record: its signals, under its id where it has one."""
    return [
        ({"id": record["id"]} if "id" in record else {}) | {"signals": signals}
        for record, signals in zip(records, scored.signals, strict=True)
    ]


def _credit(chunk: Chunk, method: str, settings: dict[str, Any]) -> dict[str, Any]:
    try:
        credit = build("credit", {"use": method, **settings}, "method")
    except (RecipeError, TypeError, ValueError) as error:
        raise RecipeError(str(error)) from None
    rollouts = to_rollouts(chunk.columns, Schema())
    advantage, diagnostics = credit.explain(rollouts)
    offsets = rollouts.offsets(advantage.level).tolist()
    values = [value if math.isfinite(value) else None for value in advantage.values.tolist()]
    rows = [values[start:stop] for start, stop in pairwise(offsets)]
    return {"method": method, "level": advantage.level, "advantages": rows, "sources": _plain(diagnostics)}


def _plain(value: Any) -> Any:
    """Diagnostics as JSON: numbers that are not finite are null."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, str | bool) or value is None:
        return value
    number = float(value)
    return (int(number) if number.is_integer() else number) if math.isfinite(number) else None


async def in_thread(body: bytes, work: Callable[..., _T], *arguments: Any) -> _T:
    """Call something whose work grows with a body: in a thread where it is large.

    One thread for all of them: parsing holds the interpreter, and the event loop has to get a word in.
    """
    if len(body) < _LARGE:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_BESIDE, partial(work, *arguments))


@contextlib.asynccontextmanager
async def within(settings: Settings) -> AsyncIterator[None]:
    """The time limit of a request.

    Raises:
        Refusal: 504; what was being scored is finished, and known when it is asked for again.
    """
    try:
        async with asyncio.timeout(settings.seconds):
            yield
    except TimeoutError:
        raise Refusal(
            504,
            f"not scored within {settings.seconds:g} s; the work goes on: ask again",
            {"retry-after": "1"},
        ) from None
