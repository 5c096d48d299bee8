"""Seconds per phase of a training step."""

from __future__ import annotations

import time


class Clock:
    """Laps by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> float:
        """End a phase; its seconds."""
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now
        return self.laps[name]
