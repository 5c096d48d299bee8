"""When to ask again, how long to wait, and when to stop asking."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from guerdon.errors import RecipeError

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
REFUSED = frozenset({401, 402, 404})
"""Statuses that concern every request, not this one: a wrong key, no money, a wrong address or model.
403 is none of them: some servers answer it to contents they do not like."""


@dataclass(frozen=True)
class Retry:
    """Exponential backoff: before attempt k+1 wait first * 2^(k-1) seconds, at most `longest`, times
    a random factor in [0.75, 1.25]; a server's Retry-After is waited for instead where it is longer.

    Attributes:
        attempts: requests per query at most.
        patience: seconds after which a query is given up, and after which an endpoint where nothing
            has worked is taken to be down.
        first, longest: seconds.
        garbled: attempts where the server answers, but not in the promised form (it may charge for each).
        probe: seconds between two tries of an endpoint that is down.
    """

    attempts: int = 10
    patience: float = 120.0
    first: float = 0.5
    longest: float = 20.0
    garbled: int = 3
    probe: float = 30.0

    def __post_init__(self) -> None:
        checks = (
            ("attempts", self.attempts >= 1, "an integer >= 1"),
            ("patience", self.patience > 0, "seconds > 0"),
            ("first", 0 <= self.first <= self.longest, "seconds in [0, longest]"),
            ("garbled", self.garbled >= 1, "an integer >= 1"),
            ("probe", self.probe > 0, "seconds > 0"),
        )
        for name, valid, expected in checks:
            if not valid:
                raise RecipeError(f"retry.{name}: got {getattr(self, name)!r}, expected {expected}")

    def pause(self, failures: int, asked: float | None = None) -> float:
        """Seconds to wait after the given number of failed attempts.

        Args:
            asked: the server's Retry-After, seconds.
        """
        doubled = min(self.longest, self.first * 2.0 ** min(failures - 1, 60))
        return max(doubled * random.uniform(0.75, 1.25), asked or 0.0)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a server asks to wait (`retry-after-ms`, or `Retry-After` in seconds or as a date)."""
    for name, unit in (("retry-after-ms", 1e-3), ("Retry-After", 1.0)):
        value = headers.get(name, "").strip()
        try:
            seconds = float(value) * unit
        except ValueError:
            seconds = _until(value) if unit == 1.0 else math.nan
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None


def _until(date: str) -> float:
    try:
        moment = parsedate_to_datetime(date)
    except (TypeError, ValueError, IndexError):
        return math.nan
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()


class Breaker:
    """Notices an endpoint that is down, so that a long run ends instead of waiting for every record.

    Down means: no request has succeeded for `patience` seconds, in which at least five attempts
    failed; or five times in a row every request was refused (wrong key, address or model). While it is
    down one query per `probe` seconds is let through; those that come while it is under way wait for
    what it finds, all others are refused at once. The first answer ends it.
    """

    _ENOUGH = 5
    WAIT = "wait"

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._failures = self._refusals = 0
        self._since = self._last = self._probe_at = 0.0
        self._cause: str | None = None
        self._probing = False

    def refuses(self, now: float) -> str | None:
        """None where asking is allowed, `WAIT` while somebody else finds out, or the cause for not asking.

        Who is allowed to ask reports back by `succeeded`, `failed` or `gave_up`.
        """
        if self._cause is None:
            return None
        if self._probing:
            return self.WAIT
        if now >= self._probe_at:
            self._probing = True
            return None
        return f"endpoint down: {self._cause}"

    def succeeded(self) -> None:
        """The endpoint answered, be it with a refusal of this one query."""
        self._failures = self._refusals = 0
        self._cause, self._probing = None, False

    def gave_up(self) -> None:
        """An attempt was cancelled before anything was known."""
        self._probing = False

    def failed(self, now: float, cause: str, refused: bool = False, wait: float | None = None) -> None:
        """An attempt failed for a reason that has nothing to do with its query.

        Args:
            refused: every request would be.
            wait: seconds the server asks to wait; longer than `patience`, it is down at once.
        """
        if self._failures == 0 or now - self._last > self._retry.patience + self._retry.longest:
            self._failures, self._since = 0, now  # what failed long ago says nothing about today
        self._failures += 1
        self._refusals = self._refusals + 1 if refused else 0
        self._last = now
        long_enough = now - self._since >= self._retry.patience and self._failures >= self._ENOUGH
        sent_away = wait is not None and wait > self._retry.patience
        if self._cause is not None or long_enough or sent_away or self._refusals >= self._ENOUGH:
            self._cause, self._probe_at, self._probing = cause, now + self._retry.probe, False
