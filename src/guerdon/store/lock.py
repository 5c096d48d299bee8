"""One writer per run folder. The system frees the lock when the process ends, however it ends."""

from __future__ import annotations

import os
import socket
import time
import warnings
import weakref
from contextlib import suppress
from pathlib import Path

from guerdon.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = "lock"
_PATIENCE = 0.3  # seconds: `guerdon runs` holds a shared lock for a moment while it looks
_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


class FolderLock:
    """An exclusive lock on a folder, held until `release` or the end of the process.

    Raises:
        StoreError: another process holds it; its process id is given.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_FILE
        self._handle: int | None = None
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StoreError(f"cannot write in {folder}: {error.strerror}") from error
        try:
            self._lock(handle, folder)
            os.ftruncate(handle, 0)
            with suppress(OSError):  # a full disk: the note is a courtesy, the lock is held
                os.write(handle, f"{os.getpid()} on {socket.gethostname()}\n".encode())
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        _held.add(self)

    @property
    def held(self) -> bool:
        """Whether this process holds the lock (a forked child does not)."""
        return self._handle is not None

    def _lock(self, handle: int, folder: Path) -> None:
        deadline = time.monotonic() + _PATIENCE
        while fcntl is not None:
            try:
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    owner = self.path.read_text(errors="replace").strip() or "unknown"
                    raise StoreError(
                        f"{folder} is being written by another process ({owner}); wait for it, stop it, "
                        "or choose another --out"
                    ) from error
                time.sleep(0.02)
            except OSError as error:
                warnings.warn(f"{folder}: this file system has no locks ({error.strerror})", stacklevel=4)
                return

    def release(self) -> None:
        """Free the lock; twice is fine."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def is_locked(folder: Path) -> bool:
    """Whether some living process writes in the folder."""
    try:
        handle = os.open(folder / LOCK_FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def _forget_in_child() -> None:
    # a forked worker that outlives a killed trainer would keep the folder locked for ever
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
