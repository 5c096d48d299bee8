"""The judge: holds the tests, calls the candidate, decides.

One judge serves many items, one after the other, so that its interpreter stays warm. The tests are the
user's; of the candidate it sees plain data only. It asks to be replaced as soon as an item leaves a trace in
it.
"""

from __future__ import annotations

import builtins
import functools
import mmap
import os
import random
import resource
import signal
import socket
import struct
import sys
import threading
import time
import types
import warnings
from typing import Any

from . import names, probes
from .connection import Connection, PlayerGone, Unsendable
from .player import FILE, TEXT
from .wire import Channel, receive, send

CLOCK = struct.Struct("<d")
"""The shared page: when the test now running began (monotonic seconds), 0 where none is."""
TAIL = 1000
"""Bytes of the program's output kept with each test."""
_PACKET, _HOLD = 8, 0.005
"""Verdicts go out every so many, and before a test that begins so many seconds after the last packet."""
_GROWTH = 256 << 10  # kilobytes
_compile = functools.lru_cache(maxsize=128)(probes.compile_tests)
_UNCOMPILED = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)


class Stop(BaseException):
    """The first failure has been seen and no more was asked for."""


class Item:
    """One candidate and its tests."""

    def __init__(
        self, body: dict[str, Any], connection: Connection, output: int, host: socket.socket, page: mmap.mmap
    ) -> None:
        self.body, self.connection, self.output, self.host, self.page = body, connection, output, host, page
        self.written = 0
        self.entries: list[dict[str, Any]] = []
        self.sent = time.monotonic()

    def report(self, entry: dict[str, Any]) -> None:
        """Tell the host, with the next packet."""
        self.entries.append(entry)
        if len(self.entries) >= _PACKET:
            self.flush(0.0)

    def flush(self, older: float) -> None:
        """Send what is waiting, if the last packet left more than `older` seconds ago."""
        now = time.monotonic()
        if self.entries and now - self.sent >= older:
            send(self.host, self.entries)
            self.entries, self.sent = [], now

    def run(self) -> None:
        """Compile everything, load the program, run the tests; every outcome is reported as it is known."""
        try:
            compiled = [_compile(test, bool(self.body["split"])) for test in self.body["tests"]]
            setup = _compile(self.body["setup"], False)[0]
        except _UNCOMPILED as error:
            self.report({"invalid": f"the tests do not compile: {type(error).__name__}: {error}"[:TEXT]})
            return
        if any(lines for _, lines in compiled):
            self.report({"asserts": [lines for _, lines in compiled]})
        try:
            namespace = self._namespace(setup, [code for code, _ in compiled])
        except PlayerGone:
            self.report({"gone": self.connection.gone})
            return
        if namespace is None:
            return
        for number, (code, lines) in enumerate(compiled):
            self.flush(_HOLD)
            passed = self._test(number, code, lines, dict(namespace))
            if self.connection.gone:
                return
            if self.body["stop"] and not passed:
                break
        self.report({"finished": True})

    def _namespace(self, setup: types.CodeType, codes: list[types.CodeType]) -> dict[str, Any] | None:
        """What the tests see: names of their setup, of modules and of the program; None where one fails."""
        entries = list(self.body["entry"] or ())
        namespace: dict[str, Any] = {"__name__": names.TESTS}
        try:
            exec(setup, namespace)
        except BaseException as error:
            self.report({"invalid": _text(error, self.body["setup"])})
            return None
        wanted = set(entries)
        if not entries:
            wanted = names.looked_up(codes) - namespace.keys()
            namespace |= (modules := names.modules(self.body["tests"], wanted))
            wanted -= modules.keys()
        if names.defines_class(setup):
            wanted |= names.shared(namespace)
        found = self._load(sorted(wanted))
        if found is None:
            return None
        for (
            name
        ) in wanted:  # in place: functions of the setup see it too, and no stub stands in for the missing
            namespace.pop(name, None)
        namespace |= found
        sys.modules["solution"] = _Solution("solution")
        vars(sys.modules["solution"]).update(found)
        return namespace

    def _load(self, wanted: list[str]) -> dict[str, Any] | None:
        """The program, run by the other side: what it calls by the names wanted; None where it fails.

        It is compiled here, where the compiler is warm, and never run here. A program that has brought a
        judge down is compiled over there.
        """
        program = self.body["program"]
        try:
            if not self.body["careful"]:
                program = compile(program, FILE, "exec", dont_inherit=True)
            return self.connection.load(program, wanted)
        except PlayerGone:
            raise
        except BaseException as error:
            self.report({"load": _text(error, ""), "memory": isinstance(error, MemoryError)})
            return None

    def _test(self, number: int, code: types.CodeType, lines: list[int], namespace: dict[str, Any]) -> bool:
        started = time.monotonic()
        CLOCK.pack_into(self.page, 0, started)
        watch = _Asserts(self, number, lines, started) if lines else None
        namespace[probes.PROBE] = watch
        try:
            exec(code, namespace)
            outcome: BaseException | None = None
        except BaseException as error:
            outcome = error
        CLOCK.pack_into(self.page, 0, 0.0)
        if self.connection.gone:
            part = watch.current if watch else None
            self.report({"gone": self.connection.gone, "test": number, "assert": part})
            return False
        if watch is not None:
            watch.settle(outcome)
            return outcome is None and watch.failed == 0
        self.verdict(number, None, outcome, started)
        return outcome is None

    def verdict(self, test: int, part: int | None, error: BaseException | None, started: float) -> None:
        """Report one verdict, with what the program printed since the last one."""
        entry: dict[str, Any] = {"test": test, "status": _status(error)}
        entry["seconds"] = time.monotonic() - started
        if part is not None:
            entry["assert"] = part
        if error is not None:
            entry["text"] = _text(error, self.body["tests"][test])
        size = os.fstat(self.output).st_size
        if size > self.written:
            at = max(self.written, size - TAIL)
            entry["stdout"] = os.pread(self.output, size - at, at).decode("utf-8", "replace")
            self.written = size
        if size > self.body["output"]:
            entry |= {"status": "output", "text": f"limit passed: {self.body['output']} bytes of output"}
        self.report(entry)


class _Asserts:
    """Verdicts on the assert statements of one split test: passed if it ran and never failed."""

    def __init__(self, item: Item, test: int, lines: list[int], started: float) -> None:
        self.item, self.test, self.started = item, test, started
        self.states: list[bool | None] = [None] * len(lines)
        self.failed = 0
        self.current: int | None = None

    def __call__(self, part: int, error: BaseException | None) -> None:
        if error is None and self.states[part] is not None:
            return
        if isinstance(error, PlayerGone | Stop):
            self.current = part
            raise error
        if error is None or self.states[part] is not False:
            self.states[part] = error is None
            self.failed += error is not None
            self.item.verdict(self.test, part, error, self.started)
        if error is not None and self.item.body["stop"]:
            raise Stop

    def settle(self, outcome: BaseException | None) -> None:
        """The test is over: what ended it between two asserts is the verdict on the asserts not reached."""
        if outcome is None or isinstance(outcome, Stop):
            return
        self.failed += 1
        self.item.verdict(self.test, None, outcome, self.started)


class _Solution(types.ModuleType):
    """`import solution`, for tests written against a file."""


def _status(error: BaseException | None) -> str:
    if error is None:
        return "passed"
    remote = hasattr(error, "remote")
    if isinstance(error, MemoryError) and remote:
        return "memory"
    if isinstance(error, AssertionError) and not remote:
        return "failed"
    broken = isinstance(error, Unsendable | ImportError | SyntaxError) and not remote
    return "invalid" if broken else "error"


def _text(error: BaseException, source: str) -> str:
    """`ValueError: what | line 3: the source line`."""
    line, trace = getattr(error, "remote_line", 0), error.__traceback__
    while trace is not None and not hasattr(error, "remote"):
        if trace.tb_frame.f_code.co_filename == probes.FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    lines = source.splitlines()
    where = f" | line {line}" if line else ""
    if where and not hasattr(error, "remote") and line <= len(lines):
        where += f": {lines[line - 1].strip()}"
    try:
        text = str(error)
    except Exception as second:
        text = f"<{type(second).__name__} while making the exception's text>"
    return f"{type(error).__name__}: {text[:TEXT]}{where}"[: 2 * TEXT]


_BUILTINS = vars(builtins)
_SNAPSHOT: dict[str, Any] = {}
_RECURSION = sys.getrecursionlimit()
_SIZE = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _is_clean() -> bool:
    """Whether an item has left this interpreter as it found it."""
    try:
        os.waitpid(-1, os.WNOHANG)
        return False
    except ChildProcessError:
        pass
    return (
        _SNAPSHOT == _BUILTINS
        and threading.active_count() == 1
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
        and sys.getrecursionlimit() == _RECURSION
        and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < _SIZE + _GROWTH
    )


def serve(host: socket.socket, done: int, page: mmap.mmap, limit: int) -> None:
    """Judge items until the host hangs up. After each, one byte on `done`: b"0", or b"1" to be replaced."""
    os.setsid()
    _SNAPSHOT.update(_BUILTINS)
    sys.set_int_max_str_digits(0)
    warnings.simplefilter("ignore")
    while (message := receive(host)) is not None:
        body, (read_fd, write_fd, output) = message
        random.seed(0)
        connection = Connection(Channel(read_fd, write_fd, limit))
        try:
            item = Item(body, connection, output, host, page)
            item.run()
            item.flush(0.0)
        finally:
            CLOCK.pack_into(page, 0, 0.0)
            connection.close()
            os.close(output)
            sys.modules.pop("solution", None)
        os.write(done, b"0" if _is_clean() else b"1")
