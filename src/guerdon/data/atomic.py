"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guerdon.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path`; what was written there replaces `path` at the end.

    The content reaches the disk before the name does. Whatever goes wrong, an interrupt included, leaves
    `path` as it was and no temporary file.

    Raises:
        DataError: the disk or the folder does not let the file be finished.
    """
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        try:
            _sync(temporary)
            os.replace(temporary, target)
            _sync(target.parent)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk; systems that cannot open folders keep their own order."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
