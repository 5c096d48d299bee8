"""The body of a request, read within limits of size, time and memory held by all requests together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from starlette.requests import ClientDisconnect, Request

from guerdon.serve.admission import Admission, Ticket
from guerdon.serve.gate import too_large
from guerdon.serve.refusals import Refusal
from guerdon.serve.settings import Settings

JSON, LINES = "application/json", ("application/x-ndjson", "application/jsonl")


def content_type(request: Request, expected: Sequence[str] = (JSON,)) -> str:
    """The content type of a request, which must be said: pages in a browser cannot send such a one unasked.

    Raises:
        Refusal: 415, none of the expected ones.
    """
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in expected:
        raise Refusal(415, f"content-type: expected {' or '.join(expected)}, got {found[:80] or 'none'}")
    return found


@contextlib.asynccontextmanager
async def admitted(request: Request, admission: Admission) -> AsyncIterator[Ticket]:
    """A place in the queue for as long as the block, and longer where the ticket is shared."""
    loop = asyncio.get_running_loop()
    ticket, began = admission.enter(), loop.time()
    try:
        yield ticket
    finally:
        admission.took(loop.time() - began)
        ticket.release()


async def read_body(request: Request, ticket: Ticket, settings: Settings) -> bytes:
    """All of the body.

    Raises:
        Refusal: 408 too slow, 413 too large, 429 all requests together hold too much, 400 the client left.
    """
    parts, size = [], 0
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for part in request.stream():
                size += len(part)
                if size > settings.body_bytes:
                    raise too_large(settings)
                ticket.reserve(len(part))
                parts.append(part)
    except TimeoutError:
        raise Refusal(
            408, f"the body did not arrive within {settings.body_seconds:g} s", {"connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Refusal(400, "the client closed the connection before its request was complete") from None
    return b"".join(parts)
