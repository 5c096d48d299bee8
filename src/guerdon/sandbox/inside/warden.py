"""The warden: long-lived, pre-imported, forks one candidate after the other and ends each of them.

It talks to the host over `control` and never reads what belongs to a candidate, so that a forked child's
memory holds nothing of another one.
"""

from __future__ import annotations

import fcntl
import functools
import gc
import importlib
import json
import mmap
import os
import random
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from . import box, judge, linux, script, seccomp, wire
from .player import Player, warm

_FIRST_FREE = 16
"""File descriptors below this are kept occupied, so that received ones never lie where a child's must go."""
_TARGETS: dict[str | None, tuple[int, ...]] = {
    None: (),
    "tests": (3, 4, 1),
    "python": (3, 0, 1, 2),
    "command": (3, 0, 1, 2),
}
"""File descriptors of a child, in the order in which the host sends them."""
_GRACE = 0.5
"""Seconds the judge has to notice that the candidate is gone."""


class Warden:
    """One sandbox: at most one item at a time."""

    def __init__(
        self,
        control: socket.socket,
        host: int,
        settings: dict[str, Any],
        place: box.Namespaces | box.ProcessTree,
    ) -> None:
        self.control, self.settings, self.place = control, settings, place
        self.page = mmap.mmap(-1, mmap.PAGESIZE)
        alone = settings["isolated"] and (settings["user"] is not None or box.counts_per_namespace())
        self.own = 3 if alone else 0
        self.judge = self.judged = self.done = -1
        self.quiet, self.errors = os.open("/dev/null", os.O_RDWR), os.dup(2)
        self.idle, self.poll = select.poll(), select.poll()
        self.idle.register(control.fileno(), select.POLLIN)
        self.poll.register(control.fileno(), 0)  # told of a hang-up only
        for poll in (self.idle, self.poll):  # a fork of the host's may keep the socket open after its death
            poll.register(host, select.POLLIN)
        self.player = Player(wire.Channel(3, 4, 1 << 31))

    def hire_judge(self) -> int:
        """Start a judge; returns the host's end of its socket."""
        host, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        done_read, done_write = os.pipe()
        self.page.madvise(mmap.MADV_DOFORK)
        self.judge = os.fork()
        if self.judge == 0:
            try:
                self.place.enter(False)
                os.closerange(3, _FIRST_FREE)
                self.control.close()
                host.close()
                quiet = os.open("/dev/null", os.O_RDWR)
                for fd in (0, 1, 2):
                    os.dup2(quiet, fd)
                judge.serve(ours, done_write, self.page, self.settings["answer"])
            finally:
                os._exit(0)
        self.page.madvise(mmap.MADV_DONTFORK)  # the judge's clock is not the candidates' to set
        ours.close()
        os.close(done_write)
        self.done, self.judged = done_read, 0
        self.poll.register(done_read, select.POLLIN)
        return host.detach()

    def dismiss_judge(self) -> None:
        """End the judge."""
        os.killpg(self.judge, signal.SIGKILL)
        os.waitpid(self.judge, 0)
        self.poll.unregister(self.done)
        os.close(self.done)

    def serve(self) -> None:
        """Items until the host hangs up."""
        while (message := self._next()) is not None:
            order, fds = message
            self.place.refresh(order["limits"]["scratch"], order["limits"]["scratch_files"])
            self._lay(order["kind"], fds)
            lower = order["limits"] != self.settings["limits"]
            started = time.monotonic()
            root = self.place.fork()
            if root == 0:
                self._become_candidate(order, lower)
            reason, said = self._watch(order, root, started)
            status, used = self.place.end(root, self.judge)
            self._lay(None, ())
            replace = not self._judge_is_ready(said) if order["kind"] == "tests" else self._judge_has_died()
            report = {"reason": reason, "status": status, "wall": time.monotonic() - started}
            report |= {"cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss * 1024}
            self._answer(report, replace)

    def _next(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next item; None once the host is gone."""
        if all(fd == self.control.fileno() for fd, _ in self.idle.poll()):
            return wire.receive(self.control, parse=_order)
        return None

    def _lay(self, kind: str | None, fds: Sequence[int]) -> None:
        """Put a child's file descriptors in place before it is forked, or (None) take them away at its end.

        Whatever is done between the two costs copied pages: in the child, or here because of it.
        """
        for fd, target in zip(fds, _TARGETS[kind], strict=True):
            os.dup2(fd, target)
        if kind == "tests":
            os.dup2(1, 2)
        if kind is None:
            for target in (0, 1, 3, 4):
                os.dup2(self.quiet, target)
            os.dup2(self.errors, 2)
        wire.close_all(fds)

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

    def _judge_has_died(self) -> bool:
        """Whether the judge has ended without being asked to."""
        return bool(select.select([self.done], [], [], 0)[0])

    def _become_candidate(self, order: dict[str, Any], lower: bool) -> None:
        """In the child; never returns."""
        code = 1
        try:
            os.setsid()
            os.closerange(5, 4096)
            self.place.enter(order["kind"] == "command")
            if lower:
                box.limit(order["limits"], self.place.base[0], self.own)
            if order["kind"] == "tests":
                self.player.play()
            code = script.run(order["kind"], 3)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _watch(self, order: dict[str, Any], root: int, started: float) -> tuple[str | None, bytes]:
        """Wait until the item is over: the limit that was passed, if any; what the judge said, if it did."""
        limits, tests = order["limits"], order["kind"] == "tests"
        ended, pause, deadline = os.pidfd_open(root), 0.01, started + limits["wall"]
        self.poll.register(ended, select.POLLIN)
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return "wall", b""
                for fd, _ in self.poll.poll(max(1, min(left, pause) * 1000)):
                    if fd == self.done and tests:
                        said = os.read(fd, 1)
                        return (None if said else "judge"), said
                    if fd == ended:
                        return ("exit" if tests else None), b""
                    if fd != self.done:  # the host is gone
                        self.place.end(root, self.judge)
                        sys.exit(0)
                reason = self._passed(limits, root, tests)
                if reason:
                    return reason, b""
                pause = min(0.05, pause * 1.5)
        finally:
            self.poll.unregister(ended)
            os.close(ended)

    def _passed(self, limits: dict[str, Any], root: int, tests: bool) -> str | None:
        """The limit that the item's processes together have passed."""
        since = judge.CLOCK.unpack_from(self.page)[0]
        if tests and limits["test"] and since and time.monotonic() - since > limits["test"]:
            return "test"
        if any(os.fstat(output).st_size > limits["output"] for output in (1, 2)):
            return "output"
        pids = self.place.processes(root, self.judge)
        usage = [self.place.usage(pid) for pid in pids]
        if sum(memory for memory, _ in usage) > limits["memory"]:
            return "memory"
        if sum(cpu for _, cpu in usage) > limits["cpu"]:
            return "cpu"
        return "processes" if len(pids) > limits["processes"] else None


@functools.lru_cache(maxsize=16)
def _order(text: bytes) -> dict[str, Any]:
    """What to do next; mostly the same as before."""
    return json.loads(text)


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
    settings, (host,) = message
    os.environ.pop("LD_BIND_NOW", None)  # it was meant for this process
    sys.path += settings["path"]
    for name in settings["preload"]:
        importlib.import_module(name)
    random.seed(0)
    place = box.Namespaces(settings["user"]) if settings["isolated"] else box.ProcessTree()
    try:
        if settings["isolated"]:
            linux.install_filter(seccomp.program())
        sys.set_int_max_str_digits(0)
        warden = Warden(control, host, settings, place)
        warm()
        linux.rehearse()
        box.limit(settings["limits"], place.base[0], warden.own)
        gc.collect()
        gc.freeze()
        judged = warden.hire_judge()
        wire.send(control, {"ready": True}, [judged])
        os.close(judged)
        warden.serve()
    finally:
        place.close()
