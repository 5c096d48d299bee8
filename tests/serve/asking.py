"""Plain HTTP for tests: what a client library would hide must be seen."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

JSON = {"content-type": "application/json"}


def ask(
    url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and body of one answer; bytes are sent as they are, the rest as JSON."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, JSON if headers is None else headers)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, named, answer.read()
    finally:
        connection.close()


def post(url: str, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON of one answer."""
    status, _, content = ask(url, "POST", path, body, headers)
    return status, json.loads(content)


def record(i: int, right: bool = True, **more: Any) -> dict[str, Any]:
    """A record that exact match pays, or not."""
    return {
        "id": f"r{i}",
        "prompt": f"say {i}",
        "completion": str(i) if right else "wrong",
        "reference": str(i),
    } | more
