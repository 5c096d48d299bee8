"""What one candidate may use."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from guerdon.errors import RecipeError

MIB = 1 << 20
_KERNEL = ("memory", "processes", "file_size", "open_files")


@dataclass(frozen=True)
class Limits:
    """Limits of one item: one candidate with all its tests, or one run of a program.

    Args:
        wall: seconds from fork to the last verdict.
        test: seconds for one test; None where only `wall` counts.
        cpu: CPU seconds of all its processes together.
        memory: bytes that all its processes together may hold (and each may address), beyond the bare
            interpreter.
        processes: processes and threads at once.
        file_size: bytes of one file.
        scratch: bytes of the scratch directory (a tmpfs, counted apart from `memory`).
        scratch_files: files and directories in it.
        open_files: open file descriptors of one process.
        output: bytes of standard output, and of standard error.
    """

    wall: float = 10.0
    test: float | None = None
    cpu: float = 10.0
    memory: int = 512 * MIB
    processes: int = 32
    file_size: int = 16 * MIB
    scratch: int = 64 * MIB
    scratch_files: int = 4096
    open_files: int = 128
    output: int = MIB

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            whole = name not in ("wall", "test", "cpu")
            if name == "test" and value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            fits = number and math.isfinite(value) and value > 0
            if not fits or (whole and value != int(value)):
                kind = "a whole number" if whole else "a number of seconds"
                raise RecipeError(f"limits.{name} must be {kind} above 0, got {value!r}")
        if self.open_files < 16 or self.memory < 16 * MIB:
            raise RecipeError("limits.open_files must be at least 16 and limits.memory at least 16 MiB")

    def within(self, other: Limits) -> bool:
        """Whether a process that lives under `other` can be given these: limits only ever go down."""
        return all(getattr(self, name) <= getattr(other, name) for name in _KERNEL)

    def with_(self, **changes: Any) -> Limits:
        """A copy with some limits changed."""
        return replace(self, **changes)
