"""The gate every request passes: an id, the token, the size of the body, and a note of how it went."""

from __future__ import annotations

import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import MutableMapping
from typing import Any

from guerdon.serve.lingering import Lingering, Receive, Scope, Send
from guerdon.serve.metrics import Metrics
from guerdon.serve.refusals import Refusal
from guerdon.serve.settings import Settings

OPEN = frozenset(("/healthz", "/docs", "/openapi.json"))
"""What may be read without a token: nothing there says what is scored."""
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_log = logging.getLogger("guerdon.serve")


class Gate:
    """ASGI middleware.

    Args:
        app: what is behind the gate.
        settings: the token and the limits.
        metrics: where answers are noted.
        routes: paths that are served, for metrics; a path of any other form counts as "other".
    """

    def __init__(self, app: Any, settings: Settings, metrics: Metrics, routes: frozenset[str]) -> None:
        self._app, self._settings, self._metrics, self._routes = app, settings, metrics, routes
        self._token = None if settings.token is None else settings.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the events of the server's own life."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        began, status = time.perf_counter(), 0
        lingering = Lingering(receive, send, self._settings)

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await lingering.send(message)

        try:
            self._check(scope["path"], headers)
            await self._app(scope, lingering.receive, noted)
        except Refusal as refusal:  # before anything was read: what the client still sends is not wanted
            refusal.headers.setdefault("connection", "close")
            await _answer(noted, refusal.status, str(refusal), refusal.headers, request_id)
        except Exception:
            _log.exception("request %s failed", request_id)
            if status:
                raise
            await _answer(noted, 500, "the server failed; its log tells more", {}, request_id)
        finally:
            path = scope["path"] if scope["path"] in self._routes else "other"
            self._metrics.answered(path, status, time.perf_counter() - began)

    def _check(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self._token is not None and path not in OPEN:
            scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token):
                raise Refusal(
                    401,
                    "expected the header 'Authorization: Bearer TOKEN' with this server's token",
                    {"www-authenticate": "Bearer"},
                )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise Refusal(400, "content-length: expected a number")
        if int(length[:20]) > self._settings.body_bytes:
            raise too_large(self._settings)


def too_large(settings: Settings) -> Refusal:
    """The refusal of a body over the limit."""
    return Refusal(
        413,
        f"expected a body of at most {settings.body_bytes} bytes; send the records in several requests",
        {"connection": "close"},
    )


def error_body(status: int, message: str, request_id: str) -> bytes:
    """What every answer that is no success holds."""
    return json.dumps({"error": {"status": status, "message": message, "request_id": request_id}}).encode()


async def _answer(send: Send, status: int, message: str, headers: dict[str, str], request_id: str) -> None:
    body = error_body(status, message, request_id)
    named = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
