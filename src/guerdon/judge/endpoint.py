"""Endpoint: a judge model behind any OpenAI-compatible server (vLLM, SGLang, llama.cpp, OpenAI ...)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from guerdon.engines.protocol import Sampling
from guerdon.errors import RecipeError
from guerdon.judge.background import adopt
from guerdon.judge.exchange import Query, Reply, failure
from guerdon.judge.retry import AGAIN, REFUSED, Breaker, Retry, retry_after
from guerdon.judge.transport import HEADER, address, connection_cause, excerpt, head, need_aiohttp, whole
from guerdon.judge.wire import (
    PATHS,
    TOP_LOGPROBS,
    Garbled,
    checked_body,
    error_message,
    read_reply,
    request_body,
)

_LOOK = 0.05  # seconds between looks at how a probe of a silent endpoint goes
_ABANDONED: list[Any] = []  # sessions of a parent process: closing them would end the parent's connections


@dataclass(frozen=True)
class _Failed:
    """An attempt without reply: why, and what to do about it."""

    cause: str
    detail: str = ""
    again: bool = True
    wait: float | None = None
    garbled: bool = False
    unwell: bool = False
    refused: bool = False


class Endpoint:
    """Asks one model of one server, again and again where that may help.

    A failed query never raises: its reply carries the cause. Repeated are connection errors, timeouts,
    408/409/425/429, 5xx that may pass, and answers that are no completions (see `Retry`); a Retry-After
    holds back all queries. Redirects are not followed, so that a key never reaches another host.

    Args:
        url: the API's root, e.g. "http://localhost:8000/v1"; a query string is kept.
        model: name of the model on the server.
        api: "chat" (/chat/completions) or "completions" (/completions, messages joined as plain text).
        key_env: name of the environment variable that holds the API key; it is read for every request
            and stored nowhere.
        key_header: "Authorization" (sent as "Bearer ...") or another header ("api-key").
        body: further fields of every request ({"reasoning_effort": "low"}); they are part of cache keys.
        limit_field: the field for the token limit ("max_completion_tokens" for newer OpenAI models).
        top_logprobs: likely tokens asked for where labels are scored; default 20 (chat) or 5.
        concurrency: requests at a time.
        timeout: seconds per attempt, the last byte of the reply included.
        retry: see `Retry`.
        max_reply_bytes: a longer reply is given up.
        trust_env: use HTTP(S)_PROXY and .netrc.

    Raises:
        RecipeError: a field out of range, a key variable that is not set, or aiohttp is missing.
    """

    batch = 1

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api: str = "chat",
        key_env: str | None = None,
        key_header: str = "Authorization",
        body: Mapping[str, Any] | None = None,
        limit_field: str = "max_tokens",
        top_logprobs: int | None = None,
        concurrency: int = 16,
        timeout: float = 60.0,
        retry: Retry | None = None,
        max_reply_bytes: int = 4 << 20,
        trust_env: bool = False,
    ) -> None:
        need_aiohttp()
        if api not in PATHS:
            raise RecipeError(f"judge.api: got {api!r}, expected one of {', '.join(PATHS)}")
        if not model or not HEADER.fullmatch(key_header):
            raise RecipeError(f"judge: model {model!r} or key_header {key_header!r} is no name")
        if concurrency < 1 or timeout <= 0 or max_reply_bytes < 1:
            raise RecipeError("judge: concurrency and max_reply_bytes must be >= 1, timeout > 0")
        self.url = address(url, PATHS[api])
        self.model, self.api, self.concurrency = model, api, concurrency
        self.key_env, self.key_header = key_env, key_header
        self.body: Mapping[str, Any] = checked_body(body or {})
        self.limit_field, self.timeout = limit_field, timeout
        self.top_logprobs = TOP_LOGPROBS[api] if top_logprobs is None else top_logprobs
        self.retry, self.max_reply_bytes, self.trust_env = retry or Retry(), max_reply_bytes, trust_env
        self._key()
        self._fresh()

    def _fresh(self) -> None:
        self._session: Any = None
        self._slots: Any = None
        self._home: tuple[int, Any] | None = None
        self._breaker = Breaker(self.retry)
        self._resume_at = 0.0

    @property
    def identity(self) -> str:
        """Model and API. The address is no part of it: give two servers that lend one name to different
        models different judge versions."""
        return f"{self.api}:{self.model}"

    @property
    def lease(self) -> float:
        """No query takes longer than this."""
        return self.retry.patience + 2 * self.timeout

    async def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[Reply]:
        """One reply per query, in order."""
        return [await self._reply(query, sampling) for query in queries]

    async def _reply(self, query: Query, sampling: Sampling) -> Reply:
        body = request_body(
            self.api, self.model, query, sampling, self.limit_field, self.top_logprobs, self.body
        )
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.retry.patience
        attempts = garbled = 0
        last = _Failed("not asked")
        while True:
            now = clock()
            wait = self._resume_at - now
            down = self._breaker.refuses(now) if wait <= 0 else None
            if down == Breaker.WAIT:
                wait = _LOOK
            elif down:
                return failure(down, last.detail, attempts)
            if wait > 0:
                if now + wait > deadline:
                    return failure(f"{last.cause} (told to wait beyond the patience)", last.detail, attempts)
                await asyncio.sleep(wait)
                continue
            outcome = await self._attempt_reported(body, query.labels)
            attempts += 1
            if isinstance(outcome, Reply):
                return replace(outcome, attempts=attempts)
            last = outcome
            garbled += last.garbled
            pause = self.retry.pause(attempts, last.wait)
            spent = attempts >= self.retry.attempts or garbled >= self.retry.garbled
            if last.wait and last.wait <= self.retry.patience:
                self._resume_at = max(self._resume_at, clock() + last.wait)
            if not last.again or spent or clock() + pause > deadline:
                return failure(last.cause, last.detail, attempts)
            await asyncio.sleep(pause)

    async def _attempt_reported(self, body: Mapping[str, Any], labels: Sequence[str]) -> Reply | _Failed:
        """One request, whose outcome says something about the endpoint, too."""
        try:
            outcome = await self._attempt(body, labels)
        except BaseException:
            self._breaker.gave_up()
            raise
        if isinstance(outcome, _Failed) and outcome.unwell:
            now = asyncio.get_running_loop().time()
            self._breaker.failed(now, outcome.cause, outcome.refused, outcome.wait)
        else:
            self._breaker.succeeded()
        return outcome

    async def _attempt(self, body: Mapping[str, Any], labels: Sequence[str]) -> Reply | _Failed:
        """One request."""
        import aiohttp

        session, headers = self._connection(), self._headers()
        try:  # the time limit runs from the slot on, not while waiting for it
            async with (
                self._slots,
                session.post(self.url, json=body, headers=headers, allow_redirects=False) as response,
            ):
                if not 200 <= response.status < 300:
                    return self._refusal(response.status, response.headers, await head(response))
                data = await whole(response, self.max_reply_bytes)
        except TimeoutError:
            return _Failed(f"timeout after {self.timeout:g} s", unwell=True)
        except aiohttp.ClientSSLError as error:
            return _Failed(f"TLS: {type(error).__name__}", self._hidden(str(error)), again=False, unwell=True)
        except (aiohttp.ClientError, OSError) as error:
            return _Failed(connection_cause(error), self._hidden(str(error)), unwell=True)
        except ValueError as error:  # what the HTTP parser makes of bytes that are no HTTP
            return _Failed("reply is not HTTP", self._hidden(str(error)), unwell=True)
        if data is None:
            return _Failed(f"reply longer than {self.max_reply_bytes} bytes", again=False)
        try:
            return read_reply(data, labels)
        except Garbled as error:
            cause = self._hidden(str(error))
            return _Failed(cause, self._hidden(excerpt(data)), garbled=True, unwell=True)

    def _refusal(self, status: int, headers: Mapping[str, str], data: bytes) -> _Failed:
        again, refused = status in AGAIN, status in REFUSED
        cause = f"HTTP {status}" if again or not data else f"HTTP {status}: {error_message(data)}"
        if status == 429 and b"insufficient_quota" in data:
            again, refused, cause = False, True, "HTTP 429: insufficient quota"
        wait = retry_after(headers) if again else None
        detail = f"HTTP {status}: {excerpt(data)}"
        return _Failed(
            self._hidden(cause), self._hidden(detail), again, wait, unwell=again or refused, refused=refused
        )

    def _connection(self) -> Any:
        """The session of the running loop."""
        import aiohttp

        home = (os.getpid(), asyncio.get_running_loop())
        if self._session is None or self._session.closed or self._home != home:
            if self._session is not None:
                _ABANDONED.append(self._session)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self.concurrency),
                timeout=aiohttp.ClientTimeout(total=self.timeout),
                trust_env=self.trust_env,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            self._slots, self._home = asyncio.Semaphore(self.concurrency), home
            adopt(self, self._session)
        return self._session

    def _key(self) -> str | None:
        if self.key_env is None:
            return None
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise RecipeError(f"judge.key_env: the environment variable {self.key_env} is not set")
        if not (key.isascii() and key.isprintable()):
            raise RecipeError(f"judge.key_env: {self.key_env} holds characters that no header can carry")
        return key

    def _headers(self) -> dict[str, str]:
        key = self._key()
        if key is None:
            return {}
        return {self.key_header: f"Bearer {key}" if self.key_header.lower() == "authorization" else key}

    def _hidden(self, text: str) -> str:
        """A message without the API key, which some servers repeat."""
        key = os.environ.get(self.key_env, "").strip() if self.key_env else ""
        return text.replace(key, "***") if key else text

    async def close(self) -> None:
        """Close the connections of this process."""
        if self._session is not None and self._home == (os.getpid(), asyncio.get_running_loop()):
            await self._session.close()
            self._session = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._fresh()

    def __repr__(self) -> str:
        return f"Endpoint({self.url.partition('?')[0]!r}, {self.model!r})"
