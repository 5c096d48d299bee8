"""The verdict cache as the server uses it: read by the desk's thread, written by a thread of its own.

Whoever asks for scores never waits for the disk, nor for another process that is writing to the file.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from guerdon.errors import StoreError
from guerdon.store.verdicts import VerdictCache, Verdicts

_PATIENCE = 30.0  # seconds to wait for other writers, also when the server ends
_PAUSE = 0.25  # seconds until a verdict is in the file, where other processes see it
_log = logging.getLogger("guerdon.serve")


class Keeper:
    """Looks like a VerdictCache to the ledgers; `put` only hands over.

    Args:
        cache: for reading; the keeper's from now on. The thread opens the same file once more.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(self, cache: VerdictCache) -> None:
        self._reading, self._writing = cache, VerdictCache(cache.path, _PATIENCE)
        self._lock = threading.Lock()
        self._waiting: dict[int, Verdicts] = {}
        self._failed: StoreError | None = None
        self._some, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="guerdon-serve-keeper", daemon=True)
        self._thread.start()

    # -- for the desk's thread ----------------------------------------------------------------------------

    def reward(self, fingerprint: bytes, name: str = "", version: str = "") -> int:
        """See `VerdictCache.reward`."""
        return self._reading.reward(fingerprint, name, version)

    def expect(self, reward: int, questions: int) -> None:
        """See `VerdictCache.expect`."""
        self._reading.expect(reward, questions)

    def get(self, reward: int, contents: Sequence[bytes]) -> Verdicts:
        """What the file knows; what is on its way there, the ledgers remember themselves."""
        return self._reading.get(reward, contents)

    def put(self, reward: int, verdicts: Mapping[bytes, float | str]) -> None:
        """Have verdicts written soon.

        Raises:
            StoreError: writing has failed before.
        """
        if self._failed is not None:
            raise self._failed
        with self._lock:
            self._waiting.setdefault(reward, {}).update(verdicts)
        self._some.set()

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self._closing.set()
        self._some.set()
        self._thread.join()
        self._reading.close()

    # -- in its own ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            self._some.wait()
            self._closing.wait(_PAUSE)
            self._some.clear()
            self._write()
        self._write()
        self._done()

    def _write(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting, {}
        if self._failed is not None:
            return
        try:
            for reward, verdicts in taken.items():
                self._writing.put(reward, verdicts)
            self._writing.flush()
        except StoreError as error:  # the server goes on without it
            self._failed = error
            _log.warning("verdicts are not kept any more: %s", error)

    def _done(self) -> None:
        try:
            self._writing.close()
        except StoreError as error:
            _log.warning("the newest verdicts were not kept: %s", error)
