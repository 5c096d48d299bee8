"""A client of the reward server, with retries; it needs nothing but the standard library.

    client = Client("http://127.0.0.1:8077")
    client.score([{"prompt": "2 + 2?", "completion": "4", "reference": "4"}])

Scoring twice is harmless: verdicts are known by the content of a record. So whatever may go well another time
is tried again: a connection that breaks, a server that restarts, 429, 502, 503 and 504.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import ssl
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from guerdon.errors import GuerdonError

_AGAIN = (408, 429, 502, 503, 504)
_LONGEST = 30.0


class ServerError(GuerdonError, OSError):
    """The server did not answer, or not with a success.

    Attributes:
        status: of its last answer; None where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """One connection to a server; make one for every thread.

    Args:
        url: of the server, without a path.
        token: where it wants one.
        seconds: to wait for one answer.
        patience: seconds after which no further try is made.
    """

    def __init__(
        self, url: str, token: str | None = None, seconds: float = 120.0, patience: float = 300.0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerError(f"{url!r}: expected http://HOST:PORT or https://HOST:PORT")
        self._place = (parts.scheme, parts.hostname, parts.port)
        self._path, self.url = parts.path.rstrip("/"), url
        self._headers = {"content-type": "application/json"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._seconds, self._patience = seconds, patience
        self._connection: http.client.HTTPConnection | None = None

    def score(
        self, records: Sequence[Mapping[str, Any]], rewards: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """The signals of records: {label: {level, values, causes?}} for each, in order.

        Args:
            records: as in files; whole groups where a reward looks at groups.
            rewards: labels; none: all that are served.

        Raises:
            ServerError: the server refused, or could not be reached for `patience` seconds.
        """
        asked = {"records": list(records)} | ({"rewards": list(rewards)} if rewards else {})
        return [result["signals"] for result in self._ask("POST", "/score", asked)["results"]]

    def score_all(
        self, records: Iterable[Mapping[str, Any]], rewards: Sequence[str] = (), batch: int = 64
    ) -> Iterator[dict[str, Any]]:
        """The same for any number of records, a batch per request; for rewards of single records."""
        rest = iter(records)
        while taken := list(islice(rest, batch)):
            yield from self.score(taken, rewards)

    def credit(
        self, records: Sequence[Mapping[str, Any]], method: str, settings: Mapping[str, Any] | None = None
    ) -> list[list[float | None]]:
        """Advantages: one list per record, one value per token (per span of the finest level for text)."""
        asked = {"records": list(records), "method": method, "settings": dict(settings or {})}
        return self._ask("POST", "/credit", asked)["advantages"]

    def rewards(self) -> dict[str, Any]:
        """What is served."""
        return self._ask("GET", "/rewards")

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, path: str, asked: Any = None) -> Any:
        body = None if asked is None else json.dumps(asked).encode()
        headers = {**self._headers, "x-request-id": uuid.uuid4().hex}
        deadline, wait = time.monotonic() + self._patience, 0.05
        while True:
            told: float | None = None
            try:
                status, found, told = self._once(method, path, body, headers)
                if status == 200:
                    return found
                failure = ServerError(f"{self.url}{path}: {status}: {_message(found)}", status)
                if status not in _AGAIN:
                    raise failure
            except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLEOFError) as error:
                self.close()
                failure = ServerError(f"{self.url}{path}: no answer: {type(error).__name__}: {error}")
            pause = told if told is not None else wait * random.uniform(0.5, 1.5)
            if time.monotonic() + pause > deadline:
                raise failure
            time.sleep(pause)
            wait = min(2 * wait, _LONGEST)

    def _once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, Any, float | None]:
        if self._connection is None:
            scheme, host, port = self._place
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            self._connection = kind(host, port, timeout=self._seconds)
        # A server that refuses a request before all of it is there says why and closes the connection.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.request(method, self._path + path, body, dict(headers))
        answer = self._connection.getresponse()
        content = answer.read()
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if answer.status == 200 and found is None:
            raise http.client.HTTPException("an answer that is no JSON")
        after = answer.getheader("retry-after", "")
        return answer.status, found, min(float(after), _LONGEST) if after.isdigit() else None


def _message(found: Any) -> str:
    try:
        return str(found["error"]["message"])
    except (TypeError, KeyError):
        return "no explanation"
