"""Limits: how large an answer may be, and how much work one verdict may cost.

Sizes are checked before anything is evaluated, so that `9^{9^{9}}` costs microseconds. Work is counted in
units of about a microsecond, not in time, so that a verdict never depends on how busy the machine is.
"""

from __future__ import annotations

import threading

MAX_REMEMBERED = 400
MAX_CHARS = 5_000
MAX_TOKENS = 1_200
MAX_DIGITS = 4_000
MAX_DEPTH = 40
MAX_BRACES = 4_000
MAX_BITS = 20_000
MAX_FACTORIAL = 2_000
MAX_PRECISION = 1_000
MAX_ITEMS = 400
MAX_WORK = 100_000


class TooLarge(Exception):
    """The expression is larger than what may be evaluated; the argument is the cause."""


class _Work(threading.local):
    left: int | None = None


_WORK = _Work()


class allowance:
    """A scope with its own allowance of work; outside of any, work is not limited."""

    def __enter__(self) -> None:
        self._outer = _WORK.left
        _WORK.left = MAX_WORK

    def __exit__(self, *_: object) -> None:
        _WORK.left = self._outer


def spend(units: int) -> None:
    """Pay for work.

    Raises:
        TooLarge: the allowance is used up.
    """
    if _WORK.left is not None:
        _WORK.left -= units
        if _WORK.left < 0:
            raise TooLarge("too large: more work than a verdict is allowed")
