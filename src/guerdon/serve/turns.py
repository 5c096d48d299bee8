"""How much is being worked on at a time: JSON made into objects takes many times the memory of its text."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Bytes of text under work, up to a budget; whoever comes later waits, first come first served.

    Used by the event loop's thread only.

    Args:
        budget: bytes; a single larger piece of work is done when there is no other.
    """

    def __init__(self, budget: int) -> None:
        self._budget, self._used = budget, 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, n: int) -> None:
        """Wait until work on so many bytes may begin; `give_back` ends it."""
        if not self._waiting and self._fits(n):
            self._used += n
            return
        turn = (n, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            await turn[1]
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._wake()
            else:  # it had come just then
                self.give_back(n)
            raise

    def give_back(self, n: int) -> None:
        """Work on so many bytes is over."""
        self._used -= n
        self._wake()

    def _fits(self, n: int) -> bool:
        return not self._used or self._used + n <= self._budget

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            n, turn = self._waiting.popleft()
            self._used += n
            turn.set_result(None)
