"""Many verdicts in little memory: sorted digests and numbers as arrays, 24 bytes a verdict.

A look-up in a B-tree on disk takes some microseconds. Where about as many verdicts will be asked for as there
are, reading all of them once, in order, and searching in memory takes a third of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

_SIZE = 16  # bytes of a digest
_READ = 1 << 15


class Rows(Protocol):
    """A question's answers, a few at a time, as a database cursor gives them."""

    def fetchmany(self, size: int, /) -> list[tuple[bytes, float | str]]: ...


class Snapshot:
    """Verdicts of one reward as they were at one moment.

    Args:
        rows: (content, verdict) in rising order of content. Contents that are no 16-byte digests and
            verdicts that are no numbers are left out.
    """

    def __init__(self, rows: Rows) -> None:
        digests, verdicts = [np.empty((0, 2), np.uint64)], [np.empty(0)]
        while some := rows.fetchmany(_READ):
            contents, found = zip(*some, strict=True)
            if set(map(type, found)) != {float} or set(map(len, contents)) != {_SIZE}:
                some = [(c, v) for c, v in some if type(v) is float and len(c) == _SIZE]
                contents, found = zip(*some, strict=True) if some else ((), ())
            digests.append(_numbers(contents))
            verdicts.append(np.array(found, np.float64))
        both = np.concatenate(digests)
        self._high, self._low = np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])
        self._verdicts = np.concatenate(verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)

    def get(self, contents: Sequence[bytes]) -> dict[bytes, float]:
        """The verdicts known on some 16-byte contents; the others are not in it."""
        if not len(self) or not contents:
            return {}
        asked = _numbers(contents)
        at = np.minimum(np.searchsorted(self._high, asked[:, 0]), len(self) - 1)
        # Of several digests with the same first half only the first is found here, and the others on disk.
        known = (self._high[at] == asked[:, 0]) & (self._low[at] == asked[:, 1])
        verdicts = self._verdicts[at]
        if known.all():
            return dict(zip(contents, verdicts.tolist(), strict=True))
        rows = np.flatnonzero(known).tolist()
        return {contents[row]: verdict for row, verdict in zip(rows, verdicts[rows].tolist(), strict=True)}


def _numbers(contents: Sequence[bytes]) -> np.ndarray:
    """Digests as pairs of integers that sort as the digests do, uint64 (n, 2)."""
    return np.frombuffer(b"".join(contents), ">u8").reshape(-1, 2).astype(np.uint64)
