"""What lies below the API: addresses, and response bodies read no further than they deserve."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from guerdon.errors import RecipeError

HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


def need_aiohttp() -> None:
    """Raise RecipeError with the install line where aiohttp is missing."""
    try:
        import aiohttp  # noqa: F401
    except ImportError as error:
        raise RecipeError("a judge behind HTTP needs aiohttp: pip install 'guerdon[judge]'") from error


def address(url: str, path: str) -> str:
    """The address to post to.

    Raises:
        RecipeError: no http(s) address, or one that holds a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RecipeError(f"judge.url: expected http(s)://host[:port]/v1, got {url!r}")
    if parts.username or parts.password:
        raise RecipeError("judge.url: an address must not hold a user or password; use key_env")
    root = parts.path.rstrip("/").removesuffix(f"/{path}")
    return urlunsplit((parts.scheme, parts.netloc, f"{root}/{path}", parts.query, ""))


async def whole(response: Any, limit: int) -> bytes | None:
    """The body, or None where it is longer than `limit` bytes; the rest is not read."""
    parts, size = [], 0
    async for part in response.content.iter_chunked(1 << 16):
        size += len(part)
        if size > limit:
            response.close()
            return None
        parts.append(part)
    return b"".join(parts)


async def head(response: Any, limit: int = 1 << 16) -> bytes:
    """The beginning of an error's body."""
    parts, size = [], 0
    async for part in response.content.iter_chunked(1 << 14):
        parts.append(part)
        size += len(part)
        if size >= limit:
            response.close()
            break
    return b"".join(parts)[:limit]


def excerpt(data: bytes) -> str:
    return data[:500].decode("utf-8", errors="replace")


def connection_cause(error: BaseException) -> str:
    """Why a connection failed, in a countable form."""
    named = {
        "ClientConnectorDNSError": "host not found",
        "ServerDisconnectedError": "server closed the connection",
        "ClientPayloadError": "reply broke off",
        "ClientConnectorError": "cannot connect",
        "ConnectionRefusedError": "cannot connect",
        "ClientConnectionResetError": "connection reset",
        "ConnectionResetError": "connection reset",
        "ClientOSError": "connection reset",
    }
    return f"connection: {named.get(type(error).__name__, type(error).__name__)}"
