"""The warden: long-lived, pre-imported, forks one candidate after the other and ends each of them.

It talks to the host over `control` and never reads what belongs to a candidate, so that a forked child's memory
holds nothing of another one.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import mmap
import os
import random
import select
import signal
import socket
import sys
import time
import traceback
from typing import Any

from . import box, judge, linux, script, seccomp, wire
from .player import Player

_FIRST_FREE = 16
"""File descriptors below this are kept occupied, so that received ones never lie where a child's must go."""
_GRACE = 0.5
"""Seconds the judge has to notice that the candidate is gone."""


class Warden:
    """One sandbox: at most one item at a time."""

    def __init__(self, control: socket.socket, settings: dict[str, Any], place: box.Namespaces | box.ProcessTree) -> None:
        self.control, self.settings, self.place = control, settings, place
        self.page = mmap.mmap(-1, mmap.PAGESIZE)
        self.own = 3 if settings["isolated"] and (settings["user"] is not None or box.counts_per_namespace()) else 0
        self.judge = self.judged = self.done = -1

    def hire_judge(self) -> int:
        """Start a judge; returns the host's end of its socket."""
        host, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        done_read, done_write = os.pipe()
        self.judge = os.fork()
        if self.judge == 0:
            try:
                self.place.enter(False)
                box.limit_memory(self.place.base[0] + self.settings["judge_memory"])
                os.closerange(3, _FIRST_FREE)
                self.control.close()
                host.close()
                quiet = os.open("/dev/null", os.O_RDWR)
                for fd in (0, 1, 2):
                    os.dup2(quiet, fd)
                gc.enable()
                judge.serve(ours, done_write, self.page, self.settings["answer"])
            finally:
                os._exit(0)
        ours.close()
        os.close(done_write)
        self.done, self.judged = done_read, 0
        return host.detach()

    def dismiss_judge(self) -> None:
        """End the judge."""
        os.kill(self.judge, signal.SIGKILL)
        os.waitpid(self.judge, 0)
        os.close(self.done)

    def serve(self) -> None:
        """Items until the host hangs up."""
        while (message := wire.receive(self.control)) is not None:
            order, fds = message
            self.place.refresh(order["limits"]["scratch"], order["limits"]["scratch_files"])
            started = time.monotonic()
            root = self.place.fork()
            if root == 0:
                self._become_candidate(order, fds)
            outputs = fds[2:]
            wire.close_all(fds[:2])
            watch = _Watch(self, order, root, outputs, started)
            reason, finished = watch.wait()
            status, used = self.place.end(root, self.judge)
            replace = order["kind"] == "tests" and not self._judge_is_ready(finished)
            wall = time.monotonic() - started
            wire.close_all(outputs)
            report = {"reason": reason, "status": status, "wall": wall, "cpu": used.ru_utime + used.ru_stime, "minflt": used.ru_minflt}
            self._answer({**report, "memory": used.ru_maxrss * 1024}, replace)

    def _answer(self, report: dict[str, Any], replace: bool) -> None:
        if not replace:
            wire.send(self.control, report)
            return
        self.dismiss_judge()
        host = self.hire_judge()
        wire.send(self.control, {**report, "judge": True}, [host])
        os.close(host)

    def _judge_is_ready(self, said: bytes) -> bool:
        """Whether the judge is through with the item and may take another one."""
        if not said:
            ready, _, _ = select.select([self.done], [], [], _GRACE)
            said = os.read(self.done, 1) if ready else b""
        self.judged += 1
        return said == b"0" and self.judged < self.settings["judge_items"]

    def _become_candidate(self, order: dict[str, Any], fds: list[int]) -> None:
        """In the child; never returns."""
        code = 1
        try:
            kind = order["kind"]
            os.setsid()
            targets = (3, 4, 1) if kind == "tests" else (3, 0, 1, 2)
            for fd, target in zip(fds, targets, strict=True):
                os.dup2(fd, target, inheritable=target < 3)
            if kind == "tests":
                os.dup2(1, 2)
            os.closerange(5, 4096)
            os.chdir(self.place.home)
            self.place.enter(kind == "command")
            box.limit(order["limits"], self.place.base[0], self.own)
            gc.enable()
            if kind == "tests":
                sys.set_int_max_str_digits(0)
                Player(wire.Channel(3, 4, 1 << 31)).play()
            code = script.run(kind, 3)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)


class _Watch:
    """Waits until an item is over, and says why."""

    def __init__(self, warden: Warden, order: dict[str, Any], root: int, outputs: list[int], started: float) -> None:
        self.warden, self.order, self.root, self.outputs, self.started = warden, order, root, outputs, started
        self.limits = order["limits"]
        self.exit = os.pidfd_open(root)

    def wait(self) -> tuple[str | None, bytes]:
        """The limit that was passed, if any, and what the judge said, if it did."""
        poll = select.poll()
        poll.register(self.exit, select.POLLIN)
        poll.register(self.warden.control.fileno(), 0)  # hang-up only
        tests = self.order["kind"] == "tests"
        if tests:
            poll.register(self.warden.done, select.POLLIN)
        pause = 0.01
        try:
            while True:
                left = self.started + self.limits["wall"] - time.monotonic()
                if left <= 0:
                    return "wall", b""
                for fd, _ in poll.poll(max(1, min(left, pause) * 1000)):
                    if fd == self.warden.control.fileno():
                        self._leave()
                    if fd == self.exit and not tests:
                        return None, b""
                    if fd == self.warden.done:
                        return None, os.read(fd, 1)
                    if fd == self.exit:
                        return "exit", b""
                reason = self._passed()
                if reason:
                    return reason, b""
                pause = min(0.05, pause * 1.5)
        finally:
            os.close(self.exit)

    def _leave(self) -> None:
        """The host is gone; so is everything here, in a moment."""
        self.warden.place.end(self.root, self.warden.judge)
        sys.exit(0)

    def _passed(self) -> str | None:
        """The limit that the item's processes together have passed."""
        limits, place = self.limits, self.warden.place
        since = judge.CLOCK.unpack_from(self.warden.page)[0]
        if limits["test"] and since and time.monotonic() - since > limits["test"]:
            return "test"
        if any(os.fstat(output).st_size > limits["output"] for output in self.outputs):
            return "output"
        pids = place.processes(self.root, self.warden.judge)
        usage = [place.usage(pid) for pid in pids]
        if sum(memory for memory, _ in usage) > limits["memory"]:
            return "memory"
        if sum(cpu for _, cpu in usage) > limits["cpu"]:
            return "cpu"
        return "processes" if len(pids) > limits["processes"] else None


def _occupy(control: int) -> int:
    """Move the control socket up and fill what is below `_FIRST_FREE`; the socket's new number."""
    moved = fcntl.fcntl(control, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
    os.close(control)
    quiet = os.open("/dev/null", os.O_RDWR)
    for fd in range(3, _FIRST_FREE):
        if fd != quiet:
            os.dup2(quiet, fd, inheritable=False)
    return moved


def main(fd: int) -> None:
    """Started by the host with the control socket as file descriptor `fd`."""
    control = socket.socket(fileno=_occupy(fd))
    message = wire.receive(control)
    if message is None:
        return
    settings = message[0]
    sys.path += settings["path"]
    for name in settings["preload"]:
        importlib.import_module(name)
    random.seed(0)
    place = box.Namespaces(settings["user"]) if settings["isolated"] else box.ProcessTree()
    try:
        if settings["isolated"]:
            linux.install_filter(seccomp.program())
        gc.collect()
        gc.freeze()
        gc.disable()
        warden = Warden(control, settings, place)
        host = warden.hire_judge()
        wire.send(control, {"ready": True}, [host])
        os.close(host)
        warden.serve()
    finally:
        place.close()
