"""Worker processes: tasks in, answers out, and clocks that are read while they are written."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import pytest
from scored import by_path

from guerdon.data import Rollouts
from guerdon.errors import RecipeError
from guerdon.score.pool import Answer, Limits, Pool, Task
from guerdon.score.spec import make_spec
from guerdon.score.worker import CLOCK_SIZE, IDLE, SharedClock


@pytest.fixture
def pool():
    pools = []

    def make(*names: str, size: int = 1, **limits) -> Pool:
        pools.append(Pool([make_spec(name, by_path(name), {}) for name in names], size, Limits(**limits)))
        return pools[-1]

    yield make
    for each in pools:
        each.close()
        each.close()


def task(label: str, *texts: str, sizes: list[int] | None = None) -> Task:
    rollouts = Rollouts(completion=list(texts), reference=["a"] * len(texts))
    sizes = sizes or [1] * len(texts)
    return Task(label, rollouts, sizes, list(range(len(sizes))))


def answers(pool: Pool, n: int) -> dict[int, list]:
    """Cells by unit of the next `n` units."""
    found: dict[int, list] = {}
    while len(found) < n:
        answer = pool.answers.get(timeout=30)
        assert isinstance(answer, Answer), answer
        start = 0
        for unit, size in zip(answer.units, answer.sizes, strict=True):
            found[unit] = answer.cells[start : start + size]
            start += size
        assert len(answer.seconds) == len(answer.units)
    return found


def test_units_of_several_records(pool):
    workers = pool("exact", "length", size=2)
    workers.submit(task("exact", "a", "b", "a", sizes=[2, 1]))
    assert answers(workers, 2) == {0: [1.0, 0.0], 1: [1.0]}
    workers.submit(task("length", "abc"))
    assert answers(workers, 1) == {0: [3.0]}
    assert workers.killed == 0


def test_the_unit_at_fault_is_blamed_and_the_others_are_not(pool):
    workers = pool("hostile", item_seconds=0.3)
    workers.submit(task("hostile", "x", "hang", "y", "die", "z"))
    found = answers(workers, 5)
    assert found == {
        0: [1.0],
        1: ["timed out after 0.3 s"],
        2: [1.0],
        3: ["ended its process with exit code 3"],
        4: [1.0],
    }
    assert workers.killed == 2


def test_workers_start_when_there_is_work(pool):
    workers = pool("exact", size=2)
    time.sleep(0.1)
    assert not workers._workers
    assert workers.describe()["exact"].reads == ("completion", "reference")
    assert len(workers._workers) == 1


def test_a_worker_that_ends_while_it_waits_is_replaced(pool):
    workers = pool("exact")
    workers.submit(task("exact", "a"))
    answers(workers, 1)
    os.kill(workers._workers[0].process._process.pid, 9)
    time.sleep(0.3)
    workers.submit(task("exact", "a", "b"))
    assert answers(workers, 2) == {0: [1.0], 1: [0.0]}


def test_errors_reach_the_caller(pool):
    workers = pool("Nobody")
    with pytest.raises(RecipeError, match="there is no 'Nobody' in it"):
        workers.describe()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_clock_is_never_read_as_too_old():
    began = time.monotonic()
    with tempfile.TemporaryFile() as page:
        page.truncate(CLOCK_SIZE)
        clock = SharedClock(page.fileno())
        child = os.fork()
        if child == 0:
            unit, parent = 0, os.getppid()
            while os.getppid() == parent:
                for _ in range(1000):
                    clock.start(unit)
                    clock.stop()
                    unit += 1
            os._exit(0)
        try:
            seen: set[int] = set()
            reads = 0
            while reads < 100_000 or len(seen) <= 10:
                unit, seconds = clock.read()
                assert seconds <= time.monotonic() - began and unit >= IDLE
                seen.add(unit)
                reads += 1
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_nothing_is_left_behind(tmp_path: Path):
    before = set(os.listdir("/proc/self/fd")) if Path("/proc").exists() else set()
    for _ in range(3):
        workers = Pool([make_spec("exact", by_path("exact"), {})], 1)
        workers.submit(task("exact", "a"))
        answers(workers, 1)
        workers.close()
    if before:
        assert len(set(os.listdir("/proc/self/fd"))) <= len(before) + 2
