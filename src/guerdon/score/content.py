"""Digests of what a reward reads of a record: equal digests, equal verdicts.

They are the keys of the verdict cache and find work that was done before. 16 bytes of BLAKE2b; among a
billion records the chance of any two different ones sharing a digest is 10^-21.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from guerdon.data.columns import ABSENT, Columns
from guerdon.score.chunk import Chunk
from guerdon.score.loading import READABLE, Traits
from guerdon.scoring import Row, SampleReward

_SIZE = 16
_VERSION = 2  # of marshal: the newest whose bytes depend on nothing but the value
_OUTSIDE = frozenset(("id", "group"))


def digest(value: Any) -> bytes:
    """Digest of JSON data and tuples of it."""
    try:
        return blake2b(marshal.dumps(value, _VERSION), digest_size=_SIZE).digest()
    except ValueError:  # dates and the like, from Parquet files of other programs
        return blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=_SIZE).digest()


def digests(values: Iterable[Any]) -> list[bytes]:
    """Digest of every value."""
    dump, hashed = marshal.dumps, blake2b
    values = list(values)
    try:
        return [hashed(dump(value, _VERSION), digest_size=_SIZE).digest() for value in values]
    except ValueError:
        return [digest(value) for value in values]


def row_digests(chunk: Chunk, traits: Traits, reward: Any = None, own: Sequence[str] = ()) -> list[bytes]:
    """One digest per record.

    Args:
        chunk: the records.
        traits: of the reward that is asked.
        reward: itself, where its own `key` may be asked.
        own: labels of the run; signals under these names are results of a former run and left out.
    """
    if reward is not None and traits.keyed:
        return _by_key(chunk, reward)
    if traits.reads is not None:
        return digests(zip(*(chunk.column(name) for name in traits.reads), strict=True))
    return _whole_records(chunk.columns, own)


def _by_key(chunk: Chunk, reward: SampleReward) -> list[bytes]:
    """By what the reward itself calls the same; by all it may read where it does not say."""
    columns = [chunk.column(name) for name in READABLE]
    ask, dump = reward.key, marshal.dumps
    found = []
    for content in zip(*columns, strict=True):
        key = None
        if isinstance(content[1], str):
            try:
                key = ask(Row(*content))
            except Exception:  # a record of the wrong shape: scoring it will say what is wrong
                key = None
        try:
            data = dump(content if key is None else ("key", key), _VERSION)
            found.append(blake2b(data, digest_size=_SIZE).digest())
        except ValueError:  # a key of objects, whose text says nothing about their content
            found.append(digest(content))
    return found


def _whole_records(columns: Columns, own: Sequence[str]) -> list[bytes]:
    """By everything in the records but their names."""
    parts: list[list[Any]] = []
    for kind in (columns.cells, columns.extra):
        for name, values in kind.items():
            if name not in _OUTSIDE:
                parts.append([None if value is ABSENT else (name, value) for value in values])
    for name, column in (columns.tokens | columns.partitions | columns.keys).items():
        parts.append([(name, row.tobytes()) for row in _rows(column.rows)])
    for name, signal in columns.signals.items():
        if not any(name == label or name.startswith(f"{label}.") for label in own):
            level = signal.level
            parts.append([("signal", name, level, row.tobytes()) for row in _rows(signal.column.rows)])
    return digests(zip(*parts, strict=True)) if parts else [b""] * columns.n


def _rows(rows: Any) -> Iterable[Any]:
    return (rows[i] for i in range(len(rows)))


def unit_digests(rows: Sequence[bytes], units: Sequence[Sequence[int]]) -> list[bytes]:
    """Digest of every unit from those of its records, whose order counts."""
    return [blake2b(b"".join([rows[i] for i in unit]), digest_size=_SIZE).digest() for unit in units]


def member_digests(unit: bytes, size: int) -> list[bytes]:
    """Keys for the verdicts on the records of one unit."""
    return [blake2b(unit + i.to_bytes(4, "little"), digest_size=_SIZE).digest() for i in range(size)]


def together(chunk: Chunk, plans: Sequence[tuple[Traits, Any]], own: Sequence[str]) -> list[list[bytes]]:
    """`row_digests` for several rewards; those that read the same share the work."""
    known: dict[Any, list[bytes]] = {}
    found = []
    for traits, reward in plans:
        asked = ("key", id(reward)) if reward is not None and traits.keyed else traits.reads
        if asked not in known:
            known[asked] = row_digests(chunk, traits, reward, own)
        found.append(known[asked])
    return found
