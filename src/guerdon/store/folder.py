"""The small files at the top of a run folder: the config, the status, the lock around both."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guerdon.errors import RecipeError, StoreError
from guerdon.store import yaml_text
from guerdon.store.atomic import TEMPORARY, store_errors, write_bytes
from guerdon.store.lock import LOCK_FILE, FolderLock, is_locked

CONFIG, STATUS = "config.yaml", "status.json"
MAY_CHANGE = ("steps", "out", "device", "checkpoint", "save_rollouts_every")


@contextmanager
def locked(path: Path) -> Iterator[FolderLock]:
    """Make the folder and lock it; the lock outlives the block unless the block fails."""
    with store_errors("the run folder", path):
        path.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(path)
    try:
        yield lock
    except BaseException:
        lock.release()
        raise


def must_be_free(path: Path) -> None:
    """Refuse a folder that holds a run or anything foreign; traces of a killed beginning are no run.

    Raises:
        StoreError: with what lies there and what to do.
    """
    if (path / CONFIG).exists():
        raise StoreError(f"{path} holds a run already; continue it with --resume or choose another --out")
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file; choose another --out")
    ours = {LOCK_FILE, STATUS}
    found = sorted(p.name for p in path.iterdir()) if path.is_dir() else []
    foreign = [name for name in found if name not in ours and not name.startswith(TEMPORARY)]
    if foreign:
        raise StoreError(f"{path} is not empty (it holds {foreign[0]!r}) and is no run; choose another --out")


def read_config(path: Path) -> dict[str, Any]:
    """The resolved recipe of a run.

    Raises:
        StoreError: no run there, or its config is broken.
    """
    source = path / CONFIG
    try:
        config = yaml_text.load(source.read_text(encoding="utf-8"), str(source))
    except FileNotFoundError as error:
        raise StoreError(f"no run in {path}: {CONFIG} is missing") from error
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{source} cannot be read: {error}") from error
    except RecipeError as error:
        raise StoreError(str(error)) from error
    if not isinstance(config, dict):
        raise StoreError(f"{source}: expected a recipe (a mapping), got {type(config).__name__}")
    return config


def write_config(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Store the recipe and return it as it reads back (tuples are lists)."""
    text = yaml_text.dump(dict(config))
    write_bytes(path / CONFIG, text.encode(), "the run's config")
    return yaml_text.load(text, CONFIG)


def check_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse to continue a run with another recipe; only `MAY_CHANGE` may differ.

    Raises:
        StoreError: with the fields that differ, old and new.
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    nothing = "nothing"
    changed = [
        f"{key}: {before.get(key, nothing)!r} there, {after.get(key, nothing)!r} now"
        for key in sorted({*before, *after})
        if before.get(key, nothing) != after.get(key, nothing) and key.split(".")[0] not in MAY_CHANGE
    ]
    if changed:
        more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise StoreError(
            f"{path} was made by another recipe ({'; '.join(changed[:4])}{more}); "
            "resume with that recipe or choose another --out"
        )


def _flat(data: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(data, Mapping) and data:
        for key, value in data.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, data


def new_status(config: Mapping[str, Any]) -> dict[str, Any]:
    """The status of a run that begins now in this process."""
    return {
        "state": "running",
        "reason": None,
        "step": 0,
        "steps": config.get("steps"),
        "started": now(),
        "ended": None,
        "resumed": 0,
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }


def read_status(path: Path) -> dict[str, Any]:
    """The status of a run. One that says "running" while nobody holds its lock reads "killed".

    Raises:
        StoreError: the file is missing or broken.
    """
    source = path / STATUS
    try:
        status = json.loads(source.read_text(encoding="utf-8"))
        state = status["state"]
    except FileNotFoundError as error:
        raise StoreError(f"{path}: {STATUS} is missing") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{source} is broken ({type(error).__name__}: {error})") from error
    if state == "running" and not is_locked(path):
        status["state"] = "killed"
    return status


def write_status(path: Path, status: Mapping[str, Any]) -> None:
    """Replace the status."""
    write_bytes(path / STATUS, json.dumps(status, indent=1).encode() + b"\n", "the run's status")


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
