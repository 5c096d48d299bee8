"""The process that calls rewards. Started by `guerdon.score.processes`, killed by it where a reward hangs.

It imports the rewards once, then answers one task after the other over a socket. A page of memory shared with
the parent shows which unit is being scored and since when, also while a reward holds the interpreter.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from guerdon.errors import GuerdonError
from guerdon.score.calling import RAISED, Caller
from guerdon.score.cells import of_error
from guerdon.score.loading import load, traits_of
from guerdon.score.spec import Spec

IDLE = -1
CLOCK_SIZE = 16
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Setup:
    """What a worker is told first.

    Attributes:
        specs: the rewards it shall know.
        parts: whether parts of composite rewards are wanted.
        path: `sys.path` of the parent.
        memory: bytes it may allocate beyond what importing took; 0: no limit.
        parent: process id.
    """

    specs: Sequence[Spec]
    parts: bool
    path: Sequence[str]
    memory: int
    parent: int


class SharedClock:
    """A page of memory that two processes share: which unit is being scored (or IDLE, TOGETHER), since when.

    The time is written first, and each of the two in one store of eight bytes: whoever reads in between
    sees a time that is too new, never one that is too old. (`struct.pack_into` clears what it writes to
    first, so that now and then a reader would find a unit that began at time 0.)

    Args:
        handle: file descriptor of a file of CLOCK_SIZE bytes.
    """

    def __init__(self, handle: int) -> None:
        page = memoryview(mmap.mmap(handle, CLOCK_SIZE))
        self._since, self._unit = page[:8].cast("d"), page[8:].cast("q")
        self.stop()

    def start(self, unit: int) -> None:
        """From now on this unit is being scored."""
        self._since[0] = time.monotonic()
        self._unit[0] = unit

    def stop(self) -> None:
        """Nothing is being scored."""
        self.start(IDLE)

    def read(self) -> tuple[int, float]:
        """The unit, and since how many seconds; 0 where nothing is being scored."""
        unit = self._unit[0]
        return unit, time.monotonic() - self._since[0] if unit != IDLE else 0.0


def main(control: int, clock: int) -> None:
    """Answer tasks until the parent closes the connection.

    Args:
        control: file descriptor of the socket.
        clock: file descriptor of the shared page.
    """
    pipe = Connection(control)
    setup: Setup = pipe.recv()
    _die_with(setup.parent)
    sys.path[:] = setup.path
    shared = SharedClock(clock)
    try:
        rewards = {spec.label: load(spec) for spec in setup.specs}
        for reward in rewards.values():
            if getattr(reward, "processes", 0) is None:  # one per core is for those that are alone
                reward.processes = 1  # type: ignore[attr-defined]
        traits = {spec.label: traits_of(rewards[spec.label], spec) for spec in setup.specs}
    except RAISED as error:
        pipe.send(("broken", str(error) if isinstance(error, GuerdonError) else of_error(error)))
        return
    callers = {name: Caller(rewards[name], traits[name], setup.parts, shared) for name in rewards}
    _limit_memory(setup.memory)
    pipe.send(("ready", traits))
    with suppress(EOFError, OSError):  # the parent went away or has enough
        _answer(pipe, callers)


def _answer(pipe: Connection, callers: dict[str, Caller]) -> None:
    while True:
        label, rollouts, sizes = pipe.recv()
        pipe.send(callers[label](rollouts, sizes))


def _die_with(parent: int) -> None:
    """End when the parent ends, even if it is killed while a reward holds the interpreter."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _limit_memory(size: int) -> None:
    """Let allocations fail (MemoryError) that go `size` bytes beyond what is used now."""
    if not size or sys.platform != "linux":  # elsewhere only the parent's watch over the resident size helps
        return
    import resource

    with open("/proc/self/status") as file:
        used = next((int(line.split()[1]) * 1024 for line in file if line.startswith("VmData")), 0)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used + size if hard == resource.RLIM_INFINITY else min(used + size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
