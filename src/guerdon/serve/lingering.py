"""A refusal that reaches its client: what is still being sent is read and dropped for a while.

A connection that is closed while its client is sending is reset, and the client never sees why.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from guerdon.serve.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TIMES = 4  # bodies of the largest size that are dropped
_SECONDS = 10.0
_TOO_SLOW = 408


class Lingering:
    """One request and its answer, between the server and the application.

    Args:
        receive, send: of the server.
        settings: the limits.
    """

    def __init__(self, receive: Receive, send: Send, settings: Settings) -> None:
        self._receive, self._send = receive, send
        self._most = _TIMES * settings.body_bytes
        self._complete, self._refused = False, False

    async def receive(self) -> Message:
        """A part of the body."""
        message = await self._receive()
        self._complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """A part of the answer; the end of a refusal waits until the client has sent its request."""
        if message["type"] == "http.response.start":
            self._refused = message["status"] >= 400 and message["status"] != _TOO_SLOW
        elif self._refused and not self._complete and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drop()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _drop(self) -> None:
        left = self._most
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS):
                while not self._complete and left > 0:
                    left -= len((await self.receive()).get("body", b""))
