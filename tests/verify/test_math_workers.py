"""Worker processes: killed on time, replaced, never leaked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from guerdon.verify.maths import workers

pytestmark = pytest.mark.skipif(not workers.available(), reason="math-verify is not installed")

SIMPLE = {"op": "equal", "gold": "\\int_0^1 x dx", "prediction": "1/2"}
POISON = {"op": "equal", "gold": "1", "prediction": "9^{9^{9^{9}}}"}


def alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def gone(pids, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def pool():
    pool = workers.Pool(1)
    yield pool
    pool.close()


def test_a_poisoned_item_costs_one_worker_and_the_rest_go_on(pool):
    assert pool.ask(SIMPLE, 30.0) == {"equal": True}
    (first,) = pool.processes()
    replies = [*pool.map([SIMPLE], 60.0), *pool.map([POISON], 1.0), *pool.map([SIMPLE], 60.0)]
    assert [r.get("cause") for r in replies] == [None, "timeout", None]
    assert replies[0]["equal"] and replies[2]["equal"]
    assert pool.restarts == 1
    assert gone([first]) and pool.processes() != [first]


def test_a_killed_worker_is_a_cause_and_is_replaced(pool):
    pool.ask(SIMPLE, 30.0)
    (pid,) = pool.processes()
    os.kill(pid, signal.SIGKILL)
    assert gone([pid])
    assert pool.ask(SIMPLE, 30.0)["cause"] == "worker died"
    assert pool.ask(SIMPLE, 30.0) == {"equal": True}


def test_close_leaves_nothing_behind(pool):
    pool.ask(SIMPLE, 30.0)
    pids = pool.processes()
    pool.close()
    assert pids and gone(pids, 2.0) and pool.processes() == []
    assert pool.ask(SIMPLE, 30.0) == {"equal": True}


def test_garbage_is_a_reply_not_a_crash(pool):
    replies = pool.map(
        [
            {"op": "equal", "gold": "\\int", "prediction": "\ud800"},
            {"op": "grade", "gold": "5", "prediction": "{" * 500},
            {"op": "grade", "gold": "5", "prediction": "so \\boxed{5}"},
        ],
        5.0,
    )
    assert [bool(r.get("equal")) for r in replies] == [False, False, True]
    assert pool.restarts == 0


PARENT = """
import sys, time
from guerdon.verify.maths import workers
pool = workers.shared_pool(1)
pool.ask({"op": "equal", "gold": "1", "prediction": "\\\\int_0^1 1 dx"}, 30.0)
print(*pool.processes(), flush=True)
sys.stdin.readline()
%s
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["exit", "kill", "busy"])
def test_workers_end_with_their_parent(how):
    ending = {
        "exit": "",
        "kill": "time.sleep(60)",
        "busy": 'pool.ask({"op": "equal", "gold": "1", "prediction": "9^{9^{9^{9}}}"}, 5.0)',
    }[how]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT % ending], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids and all(alive(pid) for pid in pids)
    parent.stdin.write("seen alive\n")  # only now may the parent come to its end
    parent.stdin.flush()
    if how != "exit":
        time.sleep(1.0)
        parent.send_signal(signal.SIGKILL)
    parent.wait(60)
    assert gone(pids, 90.0 if how == "busy" else 20.0)


@pytest.mark.slow
def test_a_forked_child_gets_its_own_workers():
    pool = workers.shared_pool(1)
    assert pool.ask(SIMPLE, 30.0) == {"equal": True}
    child = os.fork()
    if child == 0:
        other = workers.shared_pool(1)
        ok = other is not pool and other.ask(SIMPLE, 60.0) == {"equal": True}
        other.close()
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert pool.ask(SIMPLE, 30.0) == {"equal": True}
