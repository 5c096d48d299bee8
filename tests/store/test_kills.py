"""A run that is killed and resumed ends with the same bytes as one that was not.

Death is simulated at every single system call that writes: a forked child leaves with `os._exit` at the
k-th one (a write also half-way through), without any cleanup of ours running. Real SIGKILLs at random
moments come on top.
"""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from guerdon.errors import StoreError
from guerdon.store import Run, atomic

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
CONFIG = {"steps": 6, "seed": 3}
CALLS = ("write", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "ftruncate")


def toy_training(path: Path, steps: int = 6, every: int = 2, keep: int = 1) -> None:
    """A 'model' whose next state depends on the last one and on the step: any lost or doubled step shows."""
    run = Run.start(path, CONFIG, resume=True)
    latest = run.latest_checkpoint()
    state, done = 0.1, 0
    if latest is not None:
        done, folder = latest
        saved = json.loads((folder / "state.json").read_text())
        assert saved["done"] == done
        state = saved["state"]
    else:
        run.log(0, {"eval/pass@1": state})
    for step in range(done + 1, steps + 1):
        state = (state * 3.9 * (1 - state)) + 1e-9 * step
        run.log(step, {"reward/outcome": state, "policy/kl": float("nan"), "n": step})
        run.log(step, {"seconds": time.perf_counter()}, stream="timing")
        if step % every == 0:
            content = json.dumps({"state": state, "done": step})
            run.checkpoint(step, lambda folder, c=content: _fill(folder, c), keep=keep)
    run.finish()


def _fill(folder: Path, content: str) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "weights.bin").write_bytes(b"w" * 5000)
    (folder / "state.json").write_text(content)


def in_child(body: Callable[[], None]) -> int:
    """Run `body` in a forked child; its exit status, 0 where it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            body()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(call: int) -> None:
    """From now on the process ends at its `call`-th writing system call, before or half-way through it."""
    count = 0

    def guard(name: str, real: Callable) -> Callable:
        def replaced(*args, **kwargs):
            nonlocal count
            count += 1
            if count == call:
                if name == "write" and args[0] > 2:
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os._exit(9)
            return real(*args, **kwargs)

        return replaced

    for name in CALLS:
        setattr(os, name, guard(name, getattr(os, name)))


def check_invariants(path: Path) -> None:
    """What must hold right after any kill."""
    if not (path / "config.yaml").exists():
        return
    run = Run.open(path)
    assert run.config == CONFIG
    assert run.status["state"] in ("killed", "finished")
    steps = run.metrics()["step"].tolist()
    assert steps == list(range(len(steps)))  # no step lost, none twice
    for step in run.checkpoints.steps():
        folder = run.checkpoints.path(step)
        assert (folder / "deep" / "weights.bin").stat().st_size == 5000
        assert json.loads((folder / "state.json").read_text())["done"] == step
        assert step <= steps[-1]


@pytest.fixture
def expected(tmp_path: Path) -> bytes:
    assert in_child(lambda: toy_training(tmp_path / "whole")) == 0
    return (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_death_at_every_system_call(tmp_path: Path, expected: bytes):
    for call in range(1, 1000):
        path = tmp_path / f"run{call}"

        def doomed(path: Path = path, call: int = call) -> None:
            die_at(call)
            toy_training(path)

        code = in_child(doomed)
        check_invariants(path)
        if code == 0:
            break
        assert code == 9, call
        assert in_child(lambda path=path: toy_training(path)) == 0, call
        assert (path / "metrics.jsonl").read_bytes() == expected, call
        run = Run.open(path)
        assert run.status["state"] == "finished"
        assert run.checkpoints.steps() in ([6], [4, 6])  # [4, 6]: killed between writing one and pruning
        assert not list(path.rglob(f"{atomic.TEMPORARY}*")), call
    assert call > 60  # the loop really went through all of them


def test_death_again_and_again_while_resuming(tmp_path: Path, expected: bytes):
    rng = random.Random(0)
    for attempt in range(12):
        path = tmp_path / f"run{attempt}"
        for _ in range(200):
            call = rng.randrange(1, 40)

            def doomed(path: Path = path, call: int = call) -> None:
                die_at(call)
                toy_training(path)

            if in_child(doomed) == 0:
                break
            check_invariants(path)
        else:
            assert in_child(lambda path=path: toy_training(path)) == 0
        assert (path / "metrics.jsonl").read_bytes() == expected


_CHILD = """
import sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from test_kills import toy_training
print("ready", flush=True)
toy_training(Path({path!r}), steps=400, every=7, keep=2)
"""


def test_sigkill_at_random_moments(tmp_path: Path):
    assert in_child(lambda: toy_training(tmp_path / "whole", steps=400, every=7)) == 0
    expected = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    path, rng, kills = tmp_path / "run", random.Random(1), 0
    program = _CHILD.format(tests=str(Path(__file__).parent), path=str(path))
    while True:
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        if kills < 6:
            time.sleep(rng.uniform(0.0, 0.12))
            child.send_signal(signal.SIGKILL)
            kills += child.wait() == -signal.SIGKILL
        child.stdout.close()
        if child.wait() == 0:
            break
        check_invariants(path)
    assert kills >= 1
    assert (path / "metrics.jsonl").read_bytes() == expected


# -- a full disk ---------------------------------------------------------------------------------------


def fill_disk_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int) -> None:
    """The `call`-th use of os.<name> and all later ones find no room; half of a write still fits."""
    real, count = getattr(os, name), 0

    def replaced(*args, **kwargs):
        nonlocal count
        count += 1
        if count < call:
            return real(*args, **kwargs)
        if name == "write" and count == call:
            return real(args[0], bytes(args[1])[: len(args[1]) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, name, replaced)


@pytest.mark.parametrize("name", ["write", "fsync"])
@pytest.mark.parametrize("call", [1, 3, 8])
def test_full_disk_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int
):
    path = tmp_path / "run"
    run = Run.create(path, CONFIG)
    logged = 0
    with (
        monkeypatch.context() as patch,
        pytest.raises(StoreError, match=r"disk full while writing step \d+ of"),
    ):
        fill_disk_at(patch, name, call)
        for step in range(1, 20):
            run.log(step, {"reward/outcome": 0.1 * step})
            logged = step
    assert logged == call - 1
    lines = (path / "metrics.jsonl").read_bytes()
    assert lines.count(b"\n") == logged and (lines.endswith(b"\n") or not lines)
    run.log(logged + 1, {"reward/outcome": 1.0})  # there is room again: the same run goes on
    assert Run.open(path).metrics()["step"].tolist() == list(range(1, logged + 2))


def test_full_disk_during_a_checkpoint_keeps_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = Run.create(tmp_path / "run", CONFIG)
    run.checkpoint(2, lambda folder: _fill(folder, "{}"), keep=1)
    for name in ("fsync", "mkdir", "replace"):
        with monkeypatch.context() as patch, pytest.raises(StoreError) as caught:
            fill_disk_at(patch, name, 1)
            run.checkpoint(4, lambda folder: _fill(folder, "{}"), keep=1)
        message = str(caught.value)
        assert "the checkpoint of step 4" in message and "nothing written before was lost" in message
        assert caught.value.errno == errno.ENOSPC
        assert run.checkpoints.steps() == [2]
        assert not list((tmp_path / "run").rglob(f"{atomic.TEMPORARY}*"))


def test_libraries_that_report_a_full_disk_in_their_own_words(tmp_path: Path):
    class SafetensorError(Exception): ...

    def write(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    run = Run.create(tmp_path / "run", CONFIG)
    with pytest.raises(StoreError, match="disk full while writing the checkpoint of step 1"):
        run.checkpoint(1, write)
    assert run.latest_checkpoint() is None and not list((tmp_path / "run" / "checkpoints").iterdir())


def test_other_errors_of_a_checkpoint_pass_through(tmp_path: Path):
    def write(folder: Path) -> None:
        raise ZeroDivisionError

    run = Run.create(tmp_path / "run", CONFIG)
    with pytest.raises(ZeroDivisionError):
        run.checkpoint(1, write)
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_a_real_limit_of_the_system(tmp_path: Path):
    """RLIMIT_FSIZE lets the kernel itself refuse bytes beyond 2000 per file."""
    path = tmp_path / "run"

    def limited() -> None:
        run = Run.create(path, CONFIG)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        with pytest.raises(StoreError, match="disk full while writing the checkpoint"):
            run.checkpoint(1, lambda folder: _fill(folder, "{}"))
        with pytest.raises(StoreError, match=r"disk full while writing step \d+ of metrics"):
            for step in range(2, 1000):
                run.log(step, {"reward/outcome": step / 7})

    assert in_child(limited) == 0
    content = (path / "metrics.jsonl").read_bytes()
    assert content.endswith(b"\n") and 1900 < len(content) <= 2000
    assert not list(path.rglob(f"{atomic.TEMPORARY}*")) and Run.open(path).latest_checkpoint() is None
