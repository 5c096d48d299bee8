"""Append-only JSON Lines that survive a kill at any byte.

Every line is one record with a whole number `step`; it is on the disk when `append` returns. A line that
was cut off by a kill is the last one, and readers pass over it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guerdon.errors import StoreError
from guerdon.store.atomic import store_errors, write_all, write_bytes


def encode(record: Mapping[str, Any]) -> bytes:
    """One line. Floats are written shortest-exact (repr), so reading gives back the same bits."""
    return json.dumps(record, allow_nan=False, ensure_ascii=False).encode() + b"\n"


def read_lines(path: Path) -> list[tuple[dict[str, Any], bytes]]:
    """All intact records with the bytes they were read from; a missing file has none.

    Raises:
        StoreError: a line other than the last is not a record; its number is given.
    """
    if not path.exists():
        return []
    try:
        *complete, _unfinished = path.read_bytes().split(b"\n")
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    found: list[tuple[dict[str, Any], bytes]] = []
    for number, line in enumerate(complete, start=1):
        record = _decode(line)
        if record is not None:
            found.append((record, line + b"\n"))
        elif number < len(complete):  # a power cut may leave a last line of zero bytes, never an earlier one
            shown = line[:60].decode(errors="replace")
            raise StoreError(
                f"{path}, line {number}: expected a JSON object with a whole number 'step', got {shown!r}; "
                "repair or delete that line"
            )
    return found


def _decode(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(record, dict) and type(record.get("step")) is int
    return record if whole else None


def keep_until(path: Path, step: int) -> None:
    """Drop records after `step` and any half line, atomically; nothing happens when there are none."""
    kept = b"".join(line for record, line in read_lines(path) if record["step"] <= step)
    if path.exists() and len(kept) != path.stat().st_size:
        write_bytes(path, kept)


class Appender:
    """The writing end of one file. A half line left by a killed writer is cut off on opening.

    Raises:
        StoreError: the file cannot be opened or an earlier line is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        intact = sum(len(line) for _, line in read_lines(path))
        with store_errors(path.name, path):
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            self._size = intact
            if os.fstat(self._handle).st_size != intact:
                os.ftruncate(self._handle, intact)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line and force it to the disk.

        Raises:
            StoreError: the disk is full; the file is cut back to the lines it had.
        """
        line = encode(record)
        try:
            with store_errors(f"step {record['step']} of {self.path.name}", self.path):
                write_all(self._handle, line)
                os.fsync(self._handle)
        except BaseException:  # Ctrl-C in the middle of a line counts as well
            os.ftruncate(self._handle, self._size)
            raise
        self._size += len(line)

    def close(self) -> None:
        """Release the file; further appends are refused."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
