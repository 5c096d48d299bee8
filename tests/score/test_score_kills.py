"""A run that is killed and resumed writes what one that was not would have written.

Death is simulated at every system call that changes files: a forked child leaves with `os._exit` at the k-th
one (a write also half-way through). Real SIGKILLs at random moments, with workers, come on top.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from scored import REWARDS, by_path, completions, numbered, score, values, write_lines

import guerdon
from guerdon.errors import DataError, StoreError
from guerdon.score import job
from guerdon.score.pipeline import Pipeline

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
CALLS = ("write", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "ftruncate")


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
    """From now on the process ends at its `call`-th changing system call, before or half-way through it."""
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


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_death_at_every_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str):
    monkeypatch.setattr(Pipeline, "rows", lambda self: 5)
    monkeypatch.setattr(job, "_COMMIT_SECONDS", 0.0)
    monkeypatch.setattr("guerdon.score.sinks._BLOCK", 600)
    source = write_lines(tmp_path / "in.jsonl", [*numbered(18), {"broken": 1}, *numbered(7)])

    def run(out: Path) -> None:
        score(source, out, by_path("length"), by_path("exact"), workers=0, resume=True, skip_bad=True)

    whole = tmp_path / f"whole{suffix}"
    assert in_child(lambda: run(whole)) == 0
    for call in range(1, 1000):
        out = tmp_path / f"out{call}{suffix}"

        def doomed(out: Path = out, call: int = call) -> None:
            die_at(call)
            run(out)

        code = in_child(doomed)
        if out.exists():
            assert guerdon.read(out) == guerdon.read(whole), call
        if code == 0:
            break
        assert code == 9, call
        assert in_child(lambda out=out: run(out)) == 0, call
        assert guerdon.read(out) == guerdon.read(whole), call
        if suffix == ".jsonl":
            assert out.read_bytes() == whole.read_bytes(), call
        assert not out.with_name(out.name + ".unfinished").exists(), call
    assert call > 30  # the loop really went through all of them


def test_counts_survive_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Pipeline, "rows", lambda self: 5)
    monkeypatch.setattr(job, "_COMMIT_SECONDS", 0.0)
    source = write_lines(tmp_path / "in.jsonl", completions(*["1", "x", "1", "22"] * 10))
    out = tmp_path / "out.jsonl"

    def doomed() -> None:
        die_at(60)
        score(source, out, by_path("decorated"), workers=0)

    assert in_child(doomed) == 9
    report = score(source, out, by_path("decorated"), workers=0, resume=True)
    assert 0 < report.resumed < 40
    tally = report.tally.rewards["decorated"]
    assert (tally.records, tally.missing, sum(tally.causes.values())) == (40, 10, 10)
    assert tally.mean == pytest.approx((20 + 10 * 22) / 40)
    assert json.dumps(report.to_dict()["rewards"]["decorated"]["causes"]).count("10") == 1


def test_another_job_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Pipeline, "rows", lambda self: 64)
    source = write_lines(tmp_path / "in.jsonl", completions(*["1"] * 600, "x"))
    out = tmp_path / "out.jsonl"
    with pytest.raises(DataError, match="could not score"):
        score(source, out, by_path("strict"), workers=0)
    with pytest.raises(StoreError, match=r"holds another run .*rewards was .*; on_error was"):
        score(source, out, by_path("length"), workers=0, resume=True)
    with open(source, "a") as file:
        file.write("\n")
    with pytest.raises(StoreError, match=r"holds another run .*size was"):
        score(source, out, by_path("strict"), workers=0, resume=True)
    report = score(source, out, by_path("length"), workers=0)
    assert len(values(out, "length")) == 601
    assert "an unfinished run of 576 records was discarded" in report.notes[0]


_CHILD = """
import sys
from guerdon.score import Limits, Options, job, score_file
from guerdon.score.pipeline import Pipeline
job._COMMIT_SECONDS = 0.05
Pipeline.rows = lambda self: 64
print("ready", flush=True)
score_file({source!r}, {out!r}, [{reward!r}], options=Options(cache={cache!r}, resume=True, workers=2))
"""


@pytest.mark.parametrize(("suffix", "cached"), [(".jsonl", False), (".parquet", True)])
def test_sigkill_at_random_moments(tmp_path: Path, suffix: str, cached: bool):
    plain = write_lines(tmp_path / "plain.jsonl", numbered(4000))
    source = tmp_path / f"in{suffix}"
    guerdon.write(guerdon.read(plain), source)
    out, rng, kills = tmp_path / f"out{suffix}", random.Random(1), 0
    cache = str(tmp_path / "cache.sqlite") if cached else None
    program = _CHILD.format(source=str(source), out=str(out), reward=f"{REWARDS}:patient", cache=cache)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    while True:
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment)
        assert child.stdout is not None
        child.stdout.readline()
        if kills < 4:
            time.sleep(rng.uniform(0.4, 1.1))
            child.send_signal(signal.SIGKILL)
            kills += child.wait() == -signal.SIGKILL
        child.stdout.close()
        if child.wait() == 0:
            break
        assert not out.exists()
    assert kills >= 1
    expected = [float(len(record["completion"])) for record in numbered(4000)]
    assert values(out, "patient") == expected
    assert guerdon.read(out).id == guerdon.read(source).id
    assert sorted(p.name for p in tmp_path.iterdir() if "unfinished" in p.name) == []
