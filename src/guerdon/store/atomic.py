"""Files and folders that are there whole or not at all, whatever kills the process or fills the disk.

Everything is written beside its final place under a temporary name, flushed to the disk, and renamed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from guerdon.errors import GuerdonError, StoreError

TEMPORARY = ".tmp-"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ROOM_TEXT = (
    "no space left on device",
    "disk quota exceeded",
    "file too large",
    "requested and",  # NumPy: "100000 requested and 234 written"
    "inline_container.cc",  # torch.save
)


def write_bytes(path: Path, data: bytes, what: str | None = None) -> None:
    """Replace the file `path` by `data`, atomically.

    Args:
        path: the file; its folder is made where missing.
        data: the whole new content.
        what: what is being written, for messages ("the recipe of the run").

    Raises:
        StoreError: the disk is full or the place cannot be written; the old file is as it was.
    """
    with atomic_file(path, what) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            write_all(handle, data)
        finally:
            os.close(handle)


@contextmanager
def atomic_file(path: Path, what: str | None = None) -> Iterator[Path]:
    """A temporary name in the same folder; when the block ends well, that file becomes `path`.

    The suffix of `path` is kept, since libraries choose a format by it.

    Raises:
        StoreError: as `write_bytes`. Other errors of the block pass through; no file is left behind.
    """
    with _replacing(Path(path), what) as temporary:
        yield temporary
        sync_file(temporary)


@contextmanager
def atomic_folder(path: Path, what: str | None = None) -> Iterator[Path]:
    """As `atomic_file`, for a folder that must not exist yet: it appears complete or stays absent."""
    with _replacing(Path(path), what) as temporary:
        os.mkdir(temporary)
        yield temporary
        for folder, _, files in os.walk(temporary, topdown=False):
            for name in files:
                sync_file(Path(folder) / name)
            sync_folder(Path(folder))


@contextmanager
def _replacing(path: Path, what: str | None) -> Iterator[Path]:
    what = what or path.name
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    with store_errors(what, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
            sync_folder(path.parent)
        except BaseException:
            discard(temporary)
            raise


@contextmanager
def store_errors(what: str, path: Path) -> Iterator[None]:
    """Turn the system's refusals inside the block into a StoreError that says what was being written."""
    try:
        yield
    except GuerdonError as error:
        if isinstance(error, StoreError) or not no_room(error):
            raise
        raise store_error(error, what, path) from error
    except Exception as error:
        if isinstance(error, OSError) or no_room(error):
            raise store_error(error, what, path) from error
        raise


def store_error(error: BaseException, what: str, path: Path) -> StoreError:
    """The message for a write that the system refused."""
    if no_room(error):
        wrapped = StoreError(
            f"disk full while writing {what} ({path}): nothing written before was lost and no partial file "
            "is left; free some space and start again (a training run continues with --resume)"
        )
        wrapped.errno = errno.ENOSPC
        return wrapped
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return StoreError(f"cannot write {what} ({path}): {reason}")


def no_room(error: BaseException | None) -> bool:
    """Whether an error, or one it was raised from, means that the disk or quota is full.

    Libraries that write by themselves (safetensors, NumPy, torch) report it in words of their own.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        if any(text in str(error).lower() for text in _NO_ROOM_TEXT):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_all(handle: int, data: bytes) -> None:
    """Write every byte; a system may take fewer than asked."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def sync_file(path: Path) -> None:
    """Force a file's content to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Force a folder's names to the disk, so that a rename survives a power cut."""
    if os.name == "posix":  # elsewhere a folder cannot be opened
        sync_file(path)


def discard(path: Path) -> None:
    """Delete a file or folder if it is there; never raises."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def discard_leftovers(folder: Path) -> None:
    """Delete what writers killed half-way left in a folder."""
    if folder.is_dir():
        for path in folder.glob(f"{TEMPORARY}*"):
            discard(path)


def remove(path: Path) -> None:
    """Delete a folder so that no reader ever meets it half deleted: it is renamed first."""
    doomed = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    os.rename(path, doomed)
    sync_folder(path.parent)
    discard(doomed)
