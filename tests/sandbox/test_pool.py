"""The pool: threads, crashes, forks, death of the parent; no process is ever left."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from guerdon.sandbox import Limits, Sandbox, why_not
from guerdon.sandbox.worker import WorkerLost
from sandbox.conftest import alive, descendants

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "isolated")
GOOD, TESTS = "def f(x): return x + 1", ["assert f(1) == 2"]


def gone(pids: list[int], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(alive, pids))


def test_many_threads_share_few_workers() -> None:
    others = set(descendants(os.getpid()))
    with Sandbox(workers=2) as pool, ThreadPoolExecutor(12) as threads:
        jobs = [GOOD if i % 3 else "def f(x): return 0" for i in range(60)]
        reports = list(threads.map(lambda program: pool.test(program, TESTS), jobs))
        assert [report.passed for report in reports] == [bool(i % 3) for i in range(60)]
        assert len([pid for pid in set(descendants(os.getpid())) - others if "bwrap" in command(pid)]) <= 2


def command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read()
    except OSError:
        return ""


def test_callers_wait_while_all_workers_are_busy() -> None:
    with Sandbox(workers=1, limits=Limits(wall=5)) as pool:
        slow = "import time\ndef f(x): time.sleep(.3); return x + 1"
        start = time.monotonic()
        with ThreadPoolExecutor(3) as threads:
            assert all(r.passed for r in threads.map(lambda _: pool.test(slow, TESTS), range(3)))
        assert time.monotonic() - start >= 0.9


def test_map_keeps_order_and_draws_as_it_goes() -> None:
    drawn: list[int] = []

    def programs() -> object:
        for i in range(40):
            drawn.append(i)
            yield i

    with Sandbox(workers=1) as pool:
        results = pool.map(
            lambda i: pool.test(f"def f(x): return {i}", ["assert f(0) % 2 == 0"]).passed, programs()
        )
        assert next(results) is True
        assert len(drawn) < 10
        assert list(results) == [bool(i % 2 == 0) for i in range(1, 40)]


@pytest.mark.parametrize("victim", [0, 1, 2], ids=["bubblewrap", "warden", "judge"])
def test_a_killed_worker_is_replaced_and_the_item_repeated(victim: int) -> None:
    others = set(descendants(os.getpid()))
    with Sandbox(workers=1) as pool:
        assert pool.test(GOOD, TESTS).passed
        workers = [pid for pid in descendants(os.getpid()) if pid not in others]
        assert len(workers) == 3
        os.kill(workers[victim], signal.SIGKILL)
        assert pool.test(GOOD, TESTS).passed
    assert gone(workers)


def test_an_item_that_loses_every_worker_is_an_error_not_a_verdict() -> None:
    others = set(descendants(os.getpid()))
    with Sandbox(workers=1, limits=Limits(wall=30)) as pool:
        pool.test(GOOD, TESTS)
        stop = threading.Event()

        def murder() -> None:  # wardens only: a judge that dies before its warden is a verdict
            while not stop.wait(0.05):
                for bubblewrap in set(descendants(os.getpid(), depth=1)) - others:
                    for warden in descendants(bubblewrap, depth=1):
                        with contextlib.suppress(OSError):
                            os.kill(warden, signal.SIGKILL)

        thread = threading.Thread(target=murder)
        thread.start()
        try:
            with pytest.raises(Exception, match="sandbox") as caught:
                pool.test("import time\ndef f(x): time.sleep(20)", TESTS)
            assert isinstance(caught.value, WorkerLost) or "isolate" in str(caught.value)
        finally:
            stop.set()
            thread.join()
        assert pool.test(GOOD, TESTS).passed


def test_close_leaves_no_process() -> None:
    before = set(descendants(os.getpid()))
    pool = Sandbox(workers=2)
    list(pool.map(lambda program: pool.test(program, TESTS), [GOOD] * 6))
    started = set(descendants(os.getpid())) - before
    assert started
    pool.close()
    assert gone(sorted(started))
    assert pool.test(GOOD, TESTS).passed
    pool.close()


def test_a_forked_child_has_workers_of_its_own() -> None:
    with Sandbox(workers=1) as pool:
        assert pool.test(GOOD, TESTS).passed
        child = os.fork()
        if child == 0:
            os._exit(0 if pool.test(GOOD, TESTS).passed else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert pool.test(GOOD, TESTS).passed


def test_a_pickled_sandbox_is_its_settings() -> None:
    with Sandbox(workers=1, limits=Limits(wall=1)) as pool:
        assert pool.test(GOOD, TESTS).passed
        with pickle.loads(pickle.dumps(pool)) as copy:
            assert copy.limits == pool.limits and copy.test(GOOD, TESTS).passed


def test_limits_above_the_worker_s_own_get_a_new_worker() -> None:
    program = "def f(x): return len(bytearray(x << 20))"
    with Sandbox(workers=1, limits=Limits(memory=64 << 20)) as pool:
        assert pool.test(program, ["f(100)"]).tests[0].status == "memory"
        assert pool.test(program, ["f(100)"], limits=Limits(memory=200 << 20)).passed
        assert pool.test(program, ["f(100)"], limits=Limits(memory=50 << 20)).tests[0].status == "memory"


PARENT = """\
import sys
from guerdon.sandbox import Limits, Sandbox
program = '''
import os, signal, time
for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(s, signal.SIG_IGN)
def f(x):
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            while True: pass
    print("busy", flush=True)
    while True: time.sleep(1)
'''
pool = Sandbox(workers=2, limits=Limits(wall=100, cpu=100), unsafe="unsafe" in sys.argv)
print("started", flush=True)
list(pool.map(lambda p: pool.test(p, ["f(1)"]), [program] * 2))
"""


def test_a_fork_that_outlives_the_parent_keeps_nothing_alive() -> None:
    source = (
        "import os, sys, time\nfrom guerdon.sandbox import Sandbox\npool = Sandbox(workers=1)\n"
        "assert pool.test('def f(x): return 2', ['assert f(1) == 2']).passed\n"
        "child = os.fork()\nif child == 0: time.sleep(60); os._exit(0)\n"
        "print(child, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        pids = [pid for pid in descendants(parent.pid) if pid != child]
        parent.kill()
        parent.wait()
        assert len(pids) == 3 and gone(pids) and alive(child)
        os.kill(child, signal.SIGKILL)


def test_nothing_is_left_for_others_to_reap_when_the_interpreter_ends() -> None:
    source = (
        "import os, sys\nfrom guerdon.sandbox import Sandbox\nfrom sandbox.conftest import descendants\n"
        "pool = Sandbox(workers=2)\n"
        "list(pool.map(lambda p: pool.test(p, ['assert f(1) == 2']), ['def f(x): return 2'] * 4))\n"
        "print(*descendants(os.getpid()))"
    )
    folder = os.path.dirname(os.path.dirname(__file__))
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, cwd=folder, check=True)
    pids = [int(pid) for pid in ran.stdout.split()]
    assert len(pids) == 6
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []


@pytest.mark.parametrize("mode", ["isolated", "unsafe"])
def test_nothing_survives_the_parent_s_death(mode: str) -> None:
    source = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(PARENT), mode]
    with subprocess.Popen(source, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        end = time.monotonic() + 60
        while (
            len(pids := descendants(parent.pid)) < (12 if mode == "isolated" else 10)
            and time.monotonic() < end
        ):
            time.sleep(0.05)
        assert len(pids) >= 10, [command(pid) for pid in pids]
        parent.kill()
        parent.wait()
        assert gone(pids)
