"""A bounded memory of results in which threads that ask for the same thing wait for one computation of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any


class Once:
    """Results by key, first computed first out.

    Args:
        most: how many results are kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._found: OrderedDict[Hashable, Future[Any]] = OrderedDict()

    def __getstate__(self) -> int:
        return self._most

    def __setstate__(self, most: int) -> None:
        self.__init__(most)  # type: ignore[misc]

    def get(self, key: Hashable, compute: Callable[[], Any], keep: Callable[[Any], bool]) -> Any:
        """The result for a key, computed by whoever asks first. What `compute` raises is for that one alone:
        the others try themselves.

        Args:
            key: what the result depends on.
            compute: called without lock.
            keep: whether a result is remembered.
        """
        with self._lock:
            known = self._found.get(key)
            if known is None:
                mine = self._found[key] = Future[Any]()
        if known is not None:
            try:
                return known.result()
            except _GivenUp:
                return self.get(key, compute, keep)
        kept = False
        try:
            result = compute()
            kept = keep(result)
            mine.set_result(result)
        except BaseException:
            mine.set_exception(_GivenUp())
            raise
        finally:
            with self._lock:
                if not kept:
                    self._found.pop(key, None)
                while len(self._found) > self._most and next(iter(self._found.values())).done():
                    self._found.popitem(last=False)
        return result


class _GivenUp(Exception):
    """The computation that others waited for failed."""
