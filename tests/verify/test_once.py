"""One computation for all who ask at the same time."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from guerdon.verify.once import Once


def test_threads_that_ask_together_compute_once():
    once, ran, gate = Once(4), [], threading.Event()

    def compute():
        ran.append(1)
        gate.wait(30)
        return "found"

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(once.get, "k", compute, lambda r: True) for _ in range(4)]
        gate.set()
        assert [a.result(30) for a in asked] == ["found"] * 4
    assert len(ran) == 1


def test_what_raises_or_is_not_kept_is_computed_again():
    once, ran = Once(4), []

    def broken():
        ran.append(1)
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            once.get("k", broken, lambda r: True)
    assert len(ran) == 2
    assert once.get("k", lambda: 1, lambda r: False) == 1
    assert once.get("k", lambda: 2, lambda r: True) == 2
    assert once.get("k", lambda: 3, lambda r: True) == 2


def test_those_who_waited_for_a_failure_try_themselves():
    once, gate, first = Once(4), threading.Event(), threading.Lock()

    def compute():
        if first.acquire(blocking=False):
            gate.wait(30)
            raise ValueError("the first one fails")
        return "found"

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(once.get, "k", compute, lambda r: True) for _ in range(3)]
        gate.set()
        outcomes = sorted(str(a.exception(30) or a.result()) for a in asked)
    assert outcomes == ["found", "found", "the first one fails"]


def test_the_oldest_leave_and_a_copy_starts_empty():
    once = Once(2)
    for key in "abc":
        once.get(key, lambda key=key: key, lambda r: True)
    assert once.get("a", lambda: "again", lambda r: True) == "again"
    assert once.get("c", lambda: "again", lambda r: True) == "c"
    assert pickle.loads(pickle.dumps(once)).get("c", lambda: "again", lambda r: True) == "again"
