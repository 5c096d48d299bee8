"""The folder of a run under way, `OUT.unfinished`: what is done, and how to go on after a kill at any moment.

    job.json     what the run is: input, rewards, options; a restart must be the same job
    state.json   how far it got, replaced as a whole: nothing beyond it counts
    ...          the output so far (see `guerdon.score.sinks`)

When all records are through, the final file is built in the folder, `built` is noted, and the file is renamed
to OUT. Each of these steps can be repeated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guerdon.errors import StoreError
from guerdon.store.atomic import discard, remove, store_errors, sync_folder, write_bytes
from guerdon.store.lock import LOCK_FILE, FolderLock

JOB, STATE = "job.json", "state.json"
SUFFIX = ".unfinished"


class WorkFolder:
    """The folder, locked until `close`.

    Args:
        out: where the result is to be.
        job: plain JSON that says what the run is.
        resume: go on with what is there; else it is discarded.

    Attributes:
        path: the folder.
        state: where to go on, {} at the beginning.
        discarded: records of a former run that were thrown away.
        keep: whether the folder is of use for a restart.

    Raises:
        StoreError: another process is at it, what is there is another job, or the disk refuses.
    """

    def __init__(self, out: Path, job: Mapping[str, Any], resume: bool) -> None:
        self.out = out.resolve()
        self.path = self.out.with_name(self.out.name + SUFFIX)
        self.state: dict[str, Any] = {}
        self.discarded = 0
        self.keep = False
        with store_errors("the unfinished run", self.path):
            self.path.mkdir(exist_ok=True)
        self._lock = FolderLock(self.path)
        try:
            self._open(job, resume)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, job: Mapping[str, Any], resume: bool) -> None:
        before, state = self._read(JOB), self._read(STATE)
        if before is not None and state and resume:
            if not self._moved(state):
                _check_same(self.path, before, job)
            self.state, self.keep = state, True
            return
        self.discarded = self._done(state or {})
        for path in self.path.iterdir():
            if path.name != LOCK_FILE:
                discard(path)
        write_bytes(self.path / JOB, json.dumps(job).encode(), "the unfinished run")

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _moved(self, state: Mapping[str, Any]) -> bool:
        """Whether the result was in its place already when the run was killed."""
        return bool(state.get("built")) and not (self.path / str(state["built"])).exists()

    @staticmethod
    def _done(state: Mapping[str, Any]) -> int:
        """Records that are through."""
        return int(state.get("tally", {}).get("records", 0))

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state; what it speaks of must be on the disk already."""
        self.state = dict(state)
        self.keep = self.keep or self._done(state) > 0
        write_bytes(self.path / STATE, json.dumps(self.state).encode(), "the unfinished run")

    def finish(self, final: Path | None) -> None:
        """Move the final file to OUT and delete the folder.

        Args:
            final: a complete file in the folder; None where it was moved before a kill.
        """
        with store_errors(self.out.name, self.out):
            if final is not None:
                self.save({**self.state, "built": final.name})
                os.replace(final, self.out)
                sync_folder(self.out.parent)
            remove(self.path)
        self._lock.release()

    @property
    def moved(self) -> bool:
        """Whether nothing is left to do but deleting the folder."""
        return self._moved(self.state)

    def close(self) -> None:
        """Let go of the folder, leaving it for a restart; one in which nothing was done is removed."""
        if self.path.is_dir() and not self.keep:
            discard(self.path)
        self._lock.release()


def _check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if names:
        changed = "; ".join(
            f"{name} was {_shown(before.get(name))}, is {_shown(now.get(name))}" for name in names
        )
        raise StoreError(
            f"{path} holds another run than the one to resume ({changed}); "
            "start anew without --resume, or choose another --out"
        )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 120 else text[:117] + "..."
