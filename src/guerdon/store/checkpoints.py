"""The checkpoints of a run: complete or absent, the newest few and the pinned ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from guerdon.errors import StoreError
from guerdon.store.atomic import atomic_folder, remove, store_errors, write_bytes

PINS = "pins.json"
_STEP = re.compile(r"step_(\d+)$")


def step_name(step: int) -> str:
    """`step_000010`: names sort as the steps do."""
    return f"step_{step:06d}"


def step_of(path: Path) -> int | None:
    """The step in a file's or folder's name, None where it has none."""
    match = _STEP.match(path.name.partition(".")[0])
    return int(match.group(1)) if match else None


class Checkpoints:
    """A folder of folders `step_000010`, and `pins.json` naming those that are never deleted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def steps(self) -> list[int]:
        """Steps with a complete checkpoint, ascending."""
        found = [step_of(path) for path in self.folder.glob("step_*") if path.is_dir()]
        return sorted(step for step in found if step is not None)

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.folder / step_name(step)

    def latest(self) -> tuple[int, Path] | None:
        """The newest complete checkpoint, None before the first."""
        steps = self.steps()
        return (steps[-1], self.path(steps[-1])) if steps else None

    def write(self, step: int, write: Callable[[Path], None], keep: int) -> Path:
        """Let `write` fill an empty folder, make it the checkpoint of `step`, delete surplus ones.

        A step that has a checkpoint keeps it: the same step is the same state.

        Raises:
            StoreError: the disk is full; earlier checkpoints are untouched.
        """
        if keep < 1:
            raise StoreError(f"a run must keep at least 1 checkpoint, got keep={keep}")
        target = self.path(step)
        if not target.is_dir():
            with atomic_folder(target, f"the checkpoint of step {step}") as folder:
                write(folder)
        spared = {*self.steps()[-keep:], *self.pins().values()}
        self._delete([s for s in self.steps() if s not in spared])
        return target

    def pins(self) -> dict[str, int]:
        """Names given to checkpoints, e.g. {"final": 200}."""
        path = self.folder / PINS
        if not path.exists():
            return {}
        try:
            return {str(name): int(step) for name, step in json.loads(path.read_text()).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreError(f"{path}: expected an object of name: step; delete it or repair it") from error

    def pin(self, step: int, name: str) -> None:
        """Name the checkpoint of `step` and keep it; an earlier holder of the name becomes ordinary."""
        if step not in self.steps():
            raise StoreError(
                f"there is no checkpoint of step {step} to pin as {name!r} (steps: {self.steps()})"
            )
        if self.pins().get(name) != step:
            pins = {**self.pins(), name: step}
            write_bytes(self.folder / PINS, json.dumps(pins, indent=1).encode() + b"\n")

    def drop_after(self, step: int) -> None:
        """Delete the checkpoints after `step`, newest first, and their pins."""
        doomed = [s for s in self.steps() if s > step]
        pins = self.pins()
        if any(s > step for s in pins.values()):
            kept = {name: s for name, s in pins.items() if s <= step}
            write_bytes(self.folder / PINS, json.dumps(kept, indent=1).encode() + b"\n")
        self._delete(doomed[::-1])

    def _delete(self, steps: list[int]) -> None:
        for step in steps:
            path = self.path(step)
            with store_errors(f"the removal of the checkpoint of step {step}", path):
                remove(path)
