"""One worker process as its parent sees it: started, asked, watched, killed with all its children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from guerdon.score.worker import CLOCK_SIZE, Setup, SharedClock

_PROGRAM = "import sys; from guerdon.score.worker import main; main(int(sys.argv[1]), int(sys.argv[2]))"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_GRACE = 0.5  # seconds between the end of a connection and that of its process
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class WorkerProcess:
    """A process that calls rewards.

    It leads a process group of its own: Ctrl-C does not reach it, and killing it takes along what a reward
    has started. What rewards print goes to stderr.

    Args:
        setup: what it is told first.
    """

    def __init__(self, setup: Setup) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, tempfile.TemporaryFile() as page:
            page.truncate(CLOCK_SIZE)
            self._clock = SharedClock(page.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), str(page.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=(theirs.fileno(), page.fileno()),
                start_new_session=True,
                env=_environment(),
            )
            self.pipe = Connection(ours.detach())
        self.started = time.monotonic()
        self._words = ""
        self.pipe.send(setup)

    def send(self, data: bytes) -> None:
        """Send a task. The worker waits for one, so this takes no time.

        Raises:
            OSError: the worker is gone.
        """
        self.pipe.send_bytes(data)

    def receive(self) -> Any:
        """The worker's answer.

        Raises:
            EOFError, OSError: the worker is gone.
        """
        return self.pipe.recv()

    def now(self) -> tuple[int, float]:
        """The unit being scored (IDLE, TOGETHER) and since how many seconds."""
        return self._clock.read()

    def resident(self) -> int:
        """Bytes in memory; 0 where the system does not say."""
        try:
            return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE
        except (OSError, ValueError, IndexError):
            return 0

    def kill(self) -> str:
        """End the process and all of its group, now; how it ended, for causes. Twice is fine."""
        if self._words:
            return self._words
        self._words = self._describe(self._exit_code(_GRACE if self._closed() else 0.0))
        with suppress(ProcessLookupError, PermissionError):
            # Before the process is reaped: its id, which is also the group's, cannot be anyone else's yet.
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10.0)
        self.pipe.close()
        return self._words

    def _closed(self) -> bool:
        """Whether the other end of the connection is closed, as it is when the process ends."""
        try:
            return self.pipe.poll() and not self.pipe.recv()
        except (EOFError, OSError):
            return True
        except Exception:  # half an answer
            return False

    def gone(self) -> bool:
        """Whether the process has ended by itself."""
        return not self._words and self._exit_code(0.0) is not None

    def _exit_code(self, patience: float) -> int | None:
        """Exit code (negative: signal) of a process that ended by itself; it is not reaped yet."""
        deadline = time.monotonic() + patience
        while hasattr(os, "waitid"):
            found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            if time.monotonic() >= deadline:
                break
            time.sleep(0.002)
        return None

    @staticmethod
    def _describe(code: int | None) -> str:
        if code is None:
            return "lost the connection to its process"
        if code >= 0:
            return f"ended its process with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"ended its process by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _environment() -> dict[str, str]:
    """Workers find the package where we found it, and do not start threads for each other's cores."""
    root = str(Path(__file__).resolve().parents[2])
    path = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**dict.fromkeys(_THREADS, "1"), **os.environ, "PYTHONPATH": os.pathsep.join(path)}
