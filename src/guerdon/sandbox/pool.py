"""The sandbox as its users see it: a pool of pre-forked, isolated processes."""

from __future__ import annotations

import functools
import os
import queue
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from guerdon.errors import RecipeError
from guerdon.sandbox.errors import SandboxError
from guerdon.sandbox.launch import PRELOAD, Settings
from guerdon.sandbox.limits import Limits
from guerdon.sandbox.reporting import Outcome, joined, shortened
from guerdon.sandbox.verdicts import Execution, Report, TestVerdict, ending
from guerdon.sandbox.worker import Worker, WorkerLost

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_RETRIES = 1
"""How often an item whose sandbox is lost is given to another one."""
_UNDER_WAY, _AHEAD = 4, 256
"""Items per worker that `map` has under way, and results that it holds for a slow one before them."""


class Sandbox:
    """Killable, isolated execution of untrusted code; safe to share between threads.

    Each worker is a long-lived, pre-imported Python process inside bubblewrap (own user, PID, network, IPC,
    UTS and mount namespaces, no capabilities, a system-call filter, a read-only root that holds Python and
    little else). It forks one child per candidate into a PID namespace of its own, so that ending the
    candidate ends everything it started. A candidate waits while all workers are busy; a worker that dies is
    replaced.

    Args:
        workers: candidates at once; default: two per CPU core this process may use, so that candidates which
            wait or hang do not keep the others from the cores.
        limits: what one candidate may use; every call may give its own.
        packages: installed distributions that candidates (and tests) may import beside the standard library.
        preload: modules imported before candidates are forked.
        system: show the machine's own programs (/usr, /bin), for `command`.
        unsafe: run without isolation, where bubblewrap is not to be had: limits and killing only. Never by
            default.

    Raises:
        RecipeError: a parameter that makes no sense.
    """

    def __init__(
        self,
        workers: int | None = None,
        limits: Limits | None = None,
        packages: Sequence[str] = (),
        preload: Sequence[str] | None = None,
        system: bool = False,
        unsafe: bool = False,
    ) -> None:
        if workers is not None and workers < 1:
            raise RecipeError(f"sandbox.workers must be at least 1, got {workers}")
        self.workers = workers or 2 * len(os.sched_getaffinity(0))
        self.limits = limits or Limits()
        names = PRELOAD if preload is None else tuple(preload)
        self.settings = Settings(tuple(packages), names, system, unsafe)
        if unsafe:
            warnings.warn(
                "unsafe=True: untrusted code runs with your rights; it can read your files, use your network "
                "and kill your processes. Install bubblewrap for isolation.",
                stacklevel=2,
            )
        self._reset()

    def _reset(self) -> None:
        self._owner = os.getpid()
        self._slots: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(self.workers):
            self._slots.put(None)
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def _own(self) -> None:
        """After a fork the workers and threads are the parent's: begin anew."""
        if self._owner != os.getpid():
            self._reset()

    def __getstate__(self) -> dict[str, Any]:
        return {"workers": self.workers, "limits": self.limits, "settings": self.settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all idle workers; a later call starts new ones."""
        self._own()
        taken = 0
        try:
            while True:
                worker = self._slots.get_nowait()
                taken += 1
                _discard(worker)
        except queue.Empty:
            for _ in range(taken):
                self._slots.put(None)

    def _with_worker(self, limits: Limits, use: Callable[[Worker], _Out]) -> _Out:
        """Lend a worker, waiting for one where all are busy; a lost one is replaced and the item repeated."""
        self._own()
        for attempt in range(_RETRIES + 1):
            worker = self._slots.get()
            try:
                if worker is not None and not limits.within(worker.limits):
                    worker.close()
                    worker = None
                worker = worker or Worker(self.settings, limits)
                return use(worker)
            except WorkerLost:
                _discard(worker)
                worker = None
                if attempt == _RETRIES:
                    raise
            except BaseException:  # the worker may be in the middle of the item
                _discard(worker)
                worker = None
                raise
            finally:
                self._slots.put(worker)
        raise SandboxError("no worker")  # unreachable: the last attempt returns or raises

    def test(
        self,
        program: str,
        tests: Sequence[str],
        setup: str = "",
        entry: str | Sequence[str] | None = None,
        split: bool = False,
        stop: bool = False,
        names: Sequence[str] | None = None,
        limits: Limits | None = None,
        seen: Callable[[TestVerdict], None] | None = None,
    ) -> Report:
        """Test a program whose functions the tests call.

        The program runs in one process, the tests in another that the program cannot reach: every call of a
        function of the program crosses over, arguments and results as plain data. What the program prints,
        raises, exits with or changes in its own interpreter is never a verdict.

        Args:
            program: Python source of the candidate; its module is called `solution`, not `__main__`.
            tests: Python sources, each one test: passed where it runs without an exception.
            setup: trusted source run before the tests, in their process; its names win over the program's.
                Where it defines a class, the program must contain it too, and the program's class and objects
                are used: what their methods say is the program's word.
            entry: the names taken from the program. None: every name that the tests use, that `setup` does
                not define and that is no builtin's or module's.
            split: every assert statement of a test that holds several becomes a verdict of its own.
            stop: end at the first failure; what follows is "not run".
            names: names of the tests in the report; default "0", "1", ...
            seen: called with verdicts as they come in, from the calling thread.

        Returns:
            One verdict per test (or assert statement). A test during which the program hangs or dies fails,
            and the tests after it get a new process while there is time left of `limits.wall`.

        Raises:
            SandboxError: no isolation here, or the sandbox failed twice for its own reasons.
        """
        labels = list(names) if names is not None else [str(number) for number in range(len(tests))]
        if len(labels) != len(tests):
            raise RecipeError(f"{len(labels)} names for {len(tests)} tests")
        own = limits or self.limits
        taken = [entry] if isinstance(entry, str) else list(entry or ())
        body: dict[str, Any] = {"program": program, "setup": setup, "entry": taken, "split": split}
        body |= {"stop": stop, "output": own.output}
        done: list[Report] = []
        first, deadline = 0, time.monotonic() + own.wall
        while True:
            part = {**body, "tests": list(tests[first:])}
            outcome = self._judge(part, labels[first:], own, seen)
            report = outcome.build()
            if outcome.interrupted is None or stop:
                return joined([*done, report])
            cut = 1 + max(i for i, test in enumerate(report.tests) if test.status != "not run")
            if split or cut >= len(report.tests) or time.monotonic() >= deadline:
                return joined([*done, report])
            done.append(shortened(report, cut))
            first, own = first + cut, own.with_(wall=max(0.01, deadline - time.monotonic()))

    def _judge(
        self, body: dict[str, Any], labels: list[str], limits: Limits, seen: Callable[..., None] | None
    ) -> Outcome:
        def show(entry: dict[str, Any]) -> None:
            if seen is not None and "status" in entry:
                texts = entry.get("text", ""), entry.get("stdout", "")
                seen(TestVerdict(labels[entry["test"]], entry["status"], *texts, entry["seconds"]))

        sent, watch = vars(limits), show if seen else None
        for careful in (False, True):  # what brings a judge down may be from outside, or in the program
            part = {**body, "careful": careful}
            use = functools.partial(Worker.tests, body=part, limits=sent, seen=watch)
            entries, report = self._with_worker(limits, use)
            outcome = Outcome(labels, entries, {**report, "stop": body["stop"]}, sent)
            if not outcome.collapsed:
                break
        return outcome

    def python(
        self,
        program: str,
        stdin: str = "",
        arguments: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ) -> Execution:
        """Run a Python program as `python main.py ARGUMENTS` would, in an empty scratch directory.

        Args:
            files: relative path -> text, written into the scratch directory first.

        Raises:
            SandboxError: see `test`.
        """
        body = _script(program, list(arguments), files, environment)
        return self._run("python", body, stdin, limits)

    def command(
        self,
        command: Sequence[str],
        stdin: str = "",
        files: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ) -> Execution:
        """Run any command; needs `system=True` for the machine's own programs. See `python`."""
        return self._run("command", _script("", list(command), files, environment), stdin, limits)

    def _run(self, kind: str, body: dict[str, Any], stdin: str, limits: Limits | None) -> Execution:
        limits = limits or self.limits
        own, data = vars(limits), stdin.encode("utf-8", "surrogateescape")
        report, out, err = self._with_worker(limits, lambda worker: worker.script(kind, body, data, own))
        finished = report["reason"] is None and report["status"] & 127 == 0
        status, text = ("finished", "") if finished else ending(report, own)
        code = report["status"] >> 8 if finished else None
        texts = (out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))
        return Execution(status, code, *texts, text, report["wall"], report["cpu"], report["memory"])

    def map(self, function: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
        """`function` of every item, in order, on as many threads as there are workers.

        Items are drawn as they are finished: at most four per worker are under way, and the results that wait
        for a slow one before them are bounded too.
        """
        self._own()
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.workers, "guerdon-sandbox-client")
        waiting: deque[Future[_Out]] = deque()
        free = threading.Semaphore(_UNDER_WAY * self.workers)
        try:
            for item in items:
                free.acquire()
                future = self._threads.submit(function, item)
                future.add_done_callback(lambda _: free.release())
                waiting.append(future)
                while waiting and (waiting[0].done() or len(waiting) >= _AHEAD * self.workers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _discard(worker: Worker | None) -> None:
    if worker is not None:
        worker.close()


def _script(
    program: str, command: list[str], files: Mapping[str, str] | None, environment: Mapping[str, str] | None
) -> dict[str, Any]:
    for name in files or {}:
        if name.startswith("/") or ".." in name.split("/"):
            raise RecipeError(f"files: {name!r} must be a path inside the scratch directory")
    return {
        "program": program,
        "command": command,
        "files": dict(files or {}),
        "environment": dict(environment or {}),
    }


@functools.cache
def why_not(unsafe: bool = False) -> str:
    """Why untrusted code cannot be run on this machine; "" where it can. Tried once per process."""
    try:
        Worker(Settings(preload=(), unsafe=unsafe), Limits()).close()
    except SandboxError as error:
        return str(error)
    return ""
