"""The host's handle on one warden."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from guerdon.sandbox import launch
from guerdon.sandbox.errors import SandboxError
from guerdon.sandbox.inside import wire
from guerdon.sandbox.limits import Limits

_START = 60.0
_GRACE = 15.0
"""Seconds beyond an item's own limit after which the warden itself counts as lost."""
_FAREWELL = 1.0
_LOOK = 50
"""Milliseconds between looks at the verdicts that have come in; the end of an item is noticed at once."""


class WorkerLost(SandboxError):
    """The warden died or does not answer; the item may be given to another one."""


class Worker:
    """One running sandbox. Not for several threads at once.

    Raises:
        SandboxError: it cannot be started here.
    """

    def __init__(self, settings: launch.Settings, limits: Limits) -> None:
        self.limits = limits
        process, self.control, errors = launch.start(settings, limits)
        self._finalizer = weakref.finalize(self, _end, os.getpid(), process, self.control)
        self.control.settimeout(_START)
        try:
            ready = wire.receive(self.control)
        except (OSError, ValueError):
            ready = None
        if ready is None:
            self.close()
            raise SandboxError(f"the sandbox cannot isolate here: {launch.explain(errors)}")
        errors.close()
        self.control.settimeout(None)
        self.judge = socket.socket(fileno=ready[1][0])

    def close(self) -> None:
        """End the sandbox and everything in it."""
        self._finalizer()

    def tests(
        self, body: Mapping[str, Any], limits: dict[str, Any], seen: Callable[[dict[str, Any]], None] | None
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Judge one candidate: the judge's entries and the warden's report.

        Raises:
            WorkerLost: see there.
        """
        player_read, judge_write = os.pipe()
        judge_read, player_write = os.pipe()
        output = os.memfd_create("output")
        try:
            wire.send(self.control, {"kind": "tests", "limits": limits}, (player_read, player_write, output))
            wire.send(self.judge, body, (judge_read, judge_write, output))
        except OSError as error:
            raise WorkerLost(f"the sandbox is gone: {error}") from error
        finally:
            wire.close_all((player_read, judge_write, judge_read, player_write, output))
        entries: list[dict[str, Any]] = []
        report = self._wait(limits["wall"], entries, seen)
        return entries, report

    def script(
        self, kind: str, body: Mapping[str, Any], stdin: bytes, limits: dict[str, Any]
    ) -> tuple[dict[str, Any], bytes, bytes]:
        """Run a program or command: the warden's report, standard output, standard error.

        Raises:
            WorkerLost: see there.
        """
        fds = [os.memfd_create(name) for name in ("body", "stdin", "stdout", "stderr")]
        try:
            wire.write_all(fds[0], json.dumps(body).encode())
            wire.write_all(fds[1], stdin)
            os.lseek(fds[1], 0, os.SEEK_SET)
            wire.send(self.control, {"kind": kind, "limits": limits}, fds)
            report = self._wait(limits["wall"], [], None)
            sizes = [os.fstat(fd).st_size for fd in fds[2:]]
            if report["reason"] is None and max(sizes) > limits["output"]:
                report["reason"] = "output"
            return report, _head(fds[2], limits["output"]), _head(fds[3], limits["output"])
        except OSError as error:
            raise WorkerLost(f"the sandbox is gone: {error}") from error
        finally:
            wire.close_all(fds)

    def _wait(
        self, wall: float, entries: list[dict[str, Any]], seen: Callable[..., None] | None
    ) -> dict[str, Any]:
        deadline = time.monotonic() + wall + _GRACE
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        while time.monotonic() < deadline:
            ended = poll.poll(_LOOK)
            try:
                message = wire.receive(self.control) if ended else None
                self._drain(entries, seen)
            except (OSError, ValueError) as error:
                raise WorkerLost(f"the sandbox is gone: {error}") from error
            if message is not None:
                report, fds = message
                if fds:
                    self.judge.close()
                    self.judge = socket.socket(fileno=fds[0])
                return report
            if ended:
                break
        raise WorkerLost("the sandbox does not answer" if not ended else "the sandbox is gone")

    def _drain(self, entries: list[dict[str, Any]], seen: Callable[..., None] | None) -> None:
        while True:
            try:
                message = wire.receive(self.judge, socket.MSG_DONTWAIT)
            except (BlockingIOError, ConnectionResetError):
                return
            if message is None:
                return
            entries += message[0]
            if seen is not None:
                for entry in message[0]:
                    seen(entry)


def _head(fd: int, most: int) -> bytes:
    return os.pread(fd, most, 0)


def _end(owner: int, process: subprocess.Popen[bytes], control: socket.socket) -> None:
    """Hang up, which ends the sandbox; the process that started it also makes sure of that, and reaps it."""
    control.close()
    if os.getpid() != owner:
        return
    try:
        process.wait(timeout=_FAREWELL)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
