"""Who is let in: a bounded number of requests, and of bytes they hold, until they are answered."""

from __future__ import annotations

from guerdon.serve.refusals import Refusal
from guerdon.serve.settings import Settings
from guerdon.serve.turns import Turns

_AT_ONCE = 4  # bodies of the largest size that may be objects in memory at the same time
_SMALL = 1 << 18  # bytes of a body that never waits for others: all of them together are bounded as well


class Admission:
    """Counts what is accepted and not done; used by the event loop's thread only.

    Args:
        settings: the limits.

    Attributes:
        requests, bytes: held now.
        refused: requests sent away since the start.
        seconds: how long a request took lately, smoothed; what is told to those who shall come back.
        turns: of requests that are being parsed and scored.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.requests = self.bytes = self.refused = 0
        self.seconds = 0.1
        self.turns = Turns(_AT_ONCE * settings.body_bytes)

    def enter(self) -> Ticket:
        """A place for one request.

        Raises:
            Refusal: 429, all places are taken.
        """
        if self.requests >= self._settings.requests:
            raise self._full(f"{self.requests} requests are waiting already")
        self.requests += 1
        return Ticket(self)

    def reserve(self, n: int) -> None:
        """Memory for some bytes of a body.

        Raises:
            Refusal: 429, the bodies of all requests take too much already.
        """
        if self.bytes + n > self._settings.waiting_bytes:
            raise self._full(f"the requests that are waiting hold {self.bytes / 1e6:.0f} MB already")
        self.bytes += n

    def took(self, seconds: float) -> None:
        """Note how long a request took."""
        self.seconds += 0.1 * (seconds - self.seconds)

    def _full(self, why: str) -> Refusal:
        self.refused += 1
        wait = max(1, min(30, round(self.seconds)))
        return Refusal(429, f"{why}; try again in {wait} s", {"retry-after": str(wait)})


class Ticket:
    """The place of one request, given back when everyone who shares it has released it."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._holders = 1
        self._bytes = self._turn = 0

    def reserve(self, n: int) -> None:
        """Hold so many more bytes; see `Admission.reserve`."""
        self._admission.reserve(n)
        self._bytes += n

    async def turn(self) -> None:
        """Wait until the body may be parsed, where it is large; the turn ends with the ticket."""
        if self._bytes <= _SMALL:
            return
        await self._admission.turns.take(self._bytes)
        self._turn = self._bytes

    def share(self) -> None:
        """One more holder: work that goes on even if the request is over."""
        self._holders += 1

    def release(self) -> None:
        """One holder less."""
        self._holders -= 1
        if not self._holders:
            self._admission.requests -= 1
            self._admission.bytes -= self._bytes
            if self._turn:
                self._admission.turns.give_back(self._turn)
