"""A server from start to end: rewards loaded, a worker warm, listening, ended without losing a request."""

from __future__ import annotations

import gc
import secrets
import signal
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from guerdon.errors import GuerdonError, RecipeError
from guerdon.score import planning
from guerdon.score.report import Options
from guerdon.serve.app import make_app
from guerdon.serve.desk import Desk
from guerdon.serve.keeping import Keeper
from guerdon.serve.settings import Settings, is_loopback

_HEAD_BYTES = 64 << 10
_COLLECTION = (20_000, 20, 20)  # a request makes thousands of small objects, hardly ever in cycles


class ServeError(GuerdonError, OSError):
    """The server cannot listen where it was told to."""


def open_desk(
    rewards: planning.Asked, settings: Mapping[str, Any] | None = None, options: Options | None = None
) -> Desk:
    """The desk for some rewards, with a worker warm.

    Args:
        rewards, settings: as for `guerdon.score.score_file`.
        options: workers, limits, cache and parts of it are used.

    Raises:
        RecipeError: a reward that cannot be made, or needs a whole file.
        StoreError: the verdict cache named in the options cannot be used.
    """
    options, notes = options or Options(), []  # type: ignore[var-annotated]
    with ExitStack() as opened:
        plans, pool = planning.make_plans(rewards, settings or {}, options, opened)
        for plan in plans:
            if plan.traits.shape == "all":
                raise RecipeError(f"reward {plan.label!r} looks at a whole file at once; score files with it")
        if pool is not None:
            pool.describe()
        cache = planning.open_cache(options, plans, notes)
        keeper = None if cache is None else Keeper(cache)
        opened.pop_all()
    return Desk(plans, pool, keeper, options.parts, notes)


def with_token(settings: Settings, anyone: bool = False) -> Settings:
    """Settings with a new token where other machines can reach the server and no token was given."""
    if settings.token is not None or anyone or is_loopback(settings.host):
        return settings
    return replace(settings, token=secrets.token_urlsafe(32))


def make_server(desk: Desk, settings: Settings, log_level: str = "warning") -> uvicorn.Server:
    """A server that is ready to run; it closes the desk when it ends."""
    return uvicorn.Server(
        uvicorn.Config(
            make_app(desk, settings),
            http=_patient(settings.header_seconds),
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_level=log_level,
            access_log=False,
            server_header=False,
            limit_concurrency=settings.connections,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, round(settings.grace)),
            h11_max_incomplete_event_size=_HEAD_BYTES,
            backlog=1024,
        )
    )


def run(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C, then answer what was accepted and return."""
    gc.collect()
    gc.freeze()  # what was imported stays; looking through it again and again would hold everyone up
    gc.set_threshold(*_COLLECTION)
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:  # uvicorn raises the signal that ended it once more, for whoever handled it before
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(settings: Settings) -> socket.socket:
    """The socket, already listening: its port is known, and whoever connects early waits.

    Raises:
        ServeError: the place is taken, or not this machine's.
    """
    place = f"{settings.host}:{settings.port}"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        raise ServeError(
            f"cannot listen on {place}: {error.strerror or error}; choose another --port"
        ) from None
    return listening


def _patient(seconds: float) -> type[H11Protocol]:
    """The protocol, with a limit on the time in which the head of a request must arrive.

    The server's own clock runs only between requests, and stops at the first byte: a client that sends a
    header a minute would hold its connection for ever.
    """

    class Patient(H11Protocol):
        _head: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._head = self.loop.call_later(seconds, self._too_slow)

        def data_received(self, data: bytes) -> None:
            if self._head is None and (self.cycle is None or self.cycle.response_complete):
                self._head = self.loop.call_later(seconds, self._too_slow)
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self._stop()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _stop(self) -> None:
            if self._head is not None:
                self._head.cancel()
                self._head = None

        def _too_slow(self) -> None:
            self._head = None
            if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
                self.transport.close()

    return Patient
