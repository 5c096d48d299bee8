from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.errors import StoreError
from guerdon.store import Run
from guerdon.store.lines import Appender, read_lines
from guerdon.store.lock import is_locked

CONFIG = {"steps": 10, "engine": {"use": "lab"}, "optim": {"lr": 1e-5, "betas": (0.9, 0.95)}}


def note(folder: Path) -> None:
    (folder / "state").write_text("x")


def test_create_log_read(tmp_path: Path):
    run = Run.create(tmp_path / "a" / "run", CONFIG)
    run.log(0, {"eval/pass@1": np.float32(0.1)})
    run.log(1, {"reward/outcome": 0.1 + 0.2, "n": 3, "flag": True, "policy/kl": math.nan, "x": np.int64(7)})
    run.log(1, {"eval/pass@1": 0.5})
    run.log(1, {"seconds": 0.25}, stream="timing")
    raw = (run.path / "metrics.jsonl").read_text().splitlines()
    assert (
        raw[1]
        == '{"step": 1, "reward/outcome": 0.30000000000000004, "n": 3, "flag": 1, "policy/kl": null, "x": 7}'
    )
    table = Run.open(run.path).metrics()
    assert table["step"].tolist() == [0, 1]  # lines of one step are one row
    assert table["eval/pass@1"].tolist() == [float(np.float32(0.1)), 0.5]
    np.testing.assert_array_equal(table["reward/outcome"], [np.nan, 0.1 + 0.2])
    assert np.isnan(table["policy/kl"]).all()
    steps, values = run.series("reward/outcome")
    assert steps.tolist() == [1] and values.tolist() == [0.1 + 0.2]
    assert run.series("seconds", "timing")[1].tolist() == [0.25]
    with pytest.raises(StoreError, match="did you mean 'reward/outcome'"):
        run.series("reward/outcom")


def test_config_is_stored_plain(tmp_path: Path):
    run = Run.create(tmp_path / "run", CONFIG)
    assert run.config["optim"] == {"lr": 1e-5, "betas": [0.9, 0.95]}
    assert Run.open(tmp_path / "run").config == run.config


@pytest.mark.parametrize("value", ["text", [1, 2], np.zeros(2), object(), 1j])
def test_only_numbers_are_metrics(tmp_path: Path, value: object):
    run = Run.create(tmp_path / "run", CONFIG)
    with pytest.raises(StoreError, match="metric 'x' of step 1 must be one number"):
        run.log(1, {"x": value})
    with pytest.raises(StoreError, match="cannot be called 'step'"):
        run.log(1, {"step": 1})
    with pytest.raises(StoreError, match="did you mean 'timing'"):
        run.log(1, {}, stream="timng")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats() | st.integers(-(2**60), 2**60), min_size=1, max_size=8))
def test_numbers_come_back_with_the_same_bits(tmp_path_factory: pytest.TempPathFactory, values: list[float]):
    run = Run.create(tmp_path_factory.mktemp("runs") / "run", CONFIG)
    for step, value in enumerate(values):
        run.log(step, {"x": value})
    for (record, _), value in zip(read_lines(run.path / "metrics.jsonl"), values, strict=True):
        assert record["x"] == (value if math.isfinite(value) else None)
    run.close()


# -- beginning and ending ------------------------------------------------------------------------------


def test_an_existing_run_is_not_overwritten(tmp_path: Path):
    Run.create(tmp_path / "run", CONFIG).finish()
    with pytest.raises(
        StoreError, match=r"holds a run already; continue it with --resume or choose another --out"
    ):
        Run.create(tmp_path / "run", CONFIG)


def test_a_foreign_folder_is_not_touched(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"is not empty \(it holds 'thesis.tex'\)"):
        Run.create(tmp_path, CONFIG)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(StoreError, match="is a file"):
        Run.create(tmp_path / "thesis.tex", CONFIG)


def test_open_and_resume_need_a_run(tmp_path: Path):
    with pytest.raises(StoreError, match=r"no run in .*: config\.yaml is missing"):
        Run.open(tmp_path)
    with pytest.raises(StoreError, match=r"no run in .*: config\.yaml is missing"):
        Run.resume(tmp_path / "absent")
    run = Run.create(tmp_path / "run", CONFIG)
    run.close()
    (run.path / "config.yaml").write_text("steps: [1")
    with pytest.raises(StoreError, match=r"config\.yaml, line 1, column 10: not valid YAML"):
        Run.open(run.path)


def test_start_begins_or_continues(tmp_path: Path):
    run = Run.start(tmp_path / "run", CONFIG, resume=True)
    run.log(1, {"x": 1})
    run.checkpoint(1, note)
    run.close()
    again = Run.start(tmp_path / "run", CONFIG, resume=True)
    assert again.latest_checkpoint() == (1, again.path / "checkpoints" / "step_000001")
    assert again.status["resumed"] == 1 and again.status["started"] == run.status["started"]


def test_resume_refuses_another_recipe(tmp_path: Path):
    Run.create(tmp_path / "run", CONFIG).close()
    other = {**CONFIG, "optim": {"lr": 1e-4, "betas": [0.9, 0.95]}, "seed": 1}
    with pytest.raises(
        StoreError, match=r"optim\.lr: 1e-05 there, 0\.0001 now; seed: 'nothing' there, 1 now"
    ):
        Run.resume(tmp_path / "run", other)
    longer = Run.resume(tmp_path / "run", {**CONFIG, "steps": 20})
    assert Run.open(tmp_path / "run").config["steps"] == 20 and longer.status["steps"] == 20


def test_status_tells_how_it_ended(tmp_path: Path):
    run = Run.create(tmp_path / "run", CONFIG)
    assert run.status["state"] == "running" and run.status["steps"] == 10
    run.log(4, {"x": 1})
    run.finish("failed", "loss is NaN in rollouts 3, 4")
    status = Run.open(run.path).status
    assert (status["state"], status["reason"], status["step"]) == (
        "failed",
        "loss is NaN in rollouts 3, 4",
        4,
    )
    assert status["ended"] >= status["started"]
    with pytest.raises(StoreError, match="reading only"):
        run.log(5, {"x": 1})
    again = Run.resume(run.path)
    with pytest.raises(StoreError, match="did you mean 'finished'"):
        again.finish("finishd")
    again.close()
    assert Run.open(run.path).status["state"] == "killed"  # nobody holds the lock, nobody said why


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (ValueError("bad"), "failed", "ValueError: bad"),
    ],
)
def test_a_with_block_records_what_broke_it(tmp_path: Path, error: BaseException, state: str, reason: str):
    with pytest.raises(type(error)), Run.create(tmp_path / "run", CONFIG):
        raise error
    status = Run.open(tmp_path / "run").status
    assert (status["state"], status["reason"]) == (state, reason)


# -- the lock ------------------------------------------------------------------------------------------

_HOLDER = """
import sys, time
from guerdon.store import Run
run = Run.start(sys.argv[1], {"steps": 10}, resume=True)
print("held", flush=True)
time.sleep(60)
"""


def test_two_processes_cannot_train_in_one_folder(tmp_path: Path):
    path = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert Run.open(path).status["state"] == "running"
        with pytest.raises(StoreError, match=rf"being written by another process \({holder.pid} on .*--out"):
            Run.resume(path)
    finally:
        holder.kill()
        holder.communicate()
    assert Run.open(path).status["state"] == "killed"
    Run.resume(path).close()


def test_a_forked_worker_does_not_keep_the_lock(tmp_path: Path):
    run = Run.create(tmp_path / "run", CONFIG)
    read, write = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.write(write, b"x")
        time.sleep(30)
        os._exit(0)
    try:
        os.read(read, 1)
        assert is_locked(run.path)  # closing the worker's copy did not unlock ours
        run.close()
        assert not is_locked(run.path)
        Run.resume(run.path).close()
    finally:
        os.kill(worker, 9)
        os.waitpid(worker, 0)


# -- broken lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [b'{"step": 3, "x"', b"\0\0\0\0\n", b"\0\0", b'{"step": 3}'])
def test_a_broken_end_is_passed_over_and_cut_off(tmp_path: Path, tail: bytes):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "x": 1}\n{"step": 2, "x": 2}\n' + tail)
    assert [record["step"] for record, _ in read_lines(path)] == [1, 2]
    appender = Appender(path)
    appender.append({"step": 3, "x": 3})
    appender.close()
    assert path.read_bytes() == b'{"step": 1, "x": 1}\n{"step": 2, "x": 2}\n{"step": 3, "x": 3}\n'


@pytest.mark.parametrize("line", [b"", b"[]", b'{"x": 1}', b'{"step": true}', b"\xff\xfe"])
def test_a_broken_line_in_the_middle_is_named(tmp_path: Path, line: bytes):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(StoreError, match=r"metrics\.jsonl, line 2: expected a JSON object"):
        read_lines(path)


# -- checkpoints and rewinding -------------------------------------------------------------------------


def test_checkpoints_keep_the_newest_and_the_pinned(tmp_path: Path):
    run = Run.create(tmp_path / "run", CONFIG)
    for step in (1, 2, 3, 4, 5):
        run.log(step, {"x": step})
        run.checkpoint(step, note, keep=2, pin="best" if step == 2 else None)
    assert run.checkpoints.steps() == [2, 4, 5]
    assert run.pinned_checkpoint("best") == (2, run.path / "checkpoints" / "step_000002")
    assert run.pinned_checkpoint("final") is None
    run.checkpoint(5, lambda folder: pytest.fail("the same step is the same state"), pin="final")
    run.checkpoints.pin(4, "best")
    run.checkpoint(6, note, keep=1)
    assert run.checkpoints.steps() == [4, 5, 6] and run.status["step"] == 6
    with pytest.raises(StoreError, match="no checkpoint of step 9"):
        run.checkpoints.pin(9, "final")
    with pytest.raises(StoreError, match="keep=0"):
        run.checkpoint(7, note, keep=0)


def test_nothing_is_logged_behind_a_checkpoint(tmp_path: Path):
    run = Run.create(tmp_path / "run", CONFIG)
    run.log(1, {"x": 1})
    run.checkpoint(1, note)
    with pytest.raises(StoreError, match="log a step before its checkpoint"):
        run.log(1, {"y": 1})
    with pytest.raises(StoreError, match="save them before"):
        run.save_rollouts(1, None)  # type: ignore[arg-type]
    run.log(1, {"seconds": 1}, stream="timing")
    run.log(2, {"x": 2})


def test_rewind_drops_what_came_after(tmp_path: Path):
    run = Run.create(tmp_path / "run", CONFIG)
    for step in range(6):
        run.log(step, {"x": step})
        run.log(step, {"seconds": step}, stream="timing")
        path = run.rollouts_path(step)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        run.checkpoint(step, note, keep=9, pin="final" if step == 5 else None)
    run.rewind(3)
    assert run.checkpoints.steps() == [0, 1, 2, 3] and run.pinned_checkpoint("final") is None
    assert run.metrics()["step"].tolist() == run.metrics("timing")["step"].tolist() == [0, 1, 2, 3]
    assert sorted(p.name for p in (run.path / "rollouts").iterdir())[-1] == "step_000003.parquet"
    run.log(4, {"x": 40})
    assert run.metrics()["x"].tolist() == [0, 1, 2, 3, 40]
    run.rewind(None)
    assert run.metrics()["step"].size == 0 and run.latest_checkpoint() is None
    assert not list((run.path / "rollouts").iterdir())
    run.log(0, {"x": 0})


def test_resume_before_the_first_checkpoint_starts_again(tmp_path: Path):
    run = Run.create(tmp_path / "run", CONFIG)
    run.log(0, {"eval/pass@1": 0.1})
    run.log(1, {"x": 1})
    run.close()
    again = Run.resume(run.path)
    assert again.latest_checkpoint() is None and again.metrics()["step"].size == 0
    again.log(0, {"eval/pass@1": 0.1})


def test_reading_never_writes(tmp_path: Path):
    Run.create(tmp_path / "run", CONFIG).close()
    run = Run.open(tmp_path / "run")
    for refused in (
        lambda: run.log(1, {}),
        lambda: run.checkpoint(1, note),
        lambda: run.rewind(None),
        lambda: run.finish(),
        lambda: run.save_rollouts(1, None),  # type: ignore[arg-type, return-value]
    ):
        with pytest.raises(StoreError, match="open for reading only"):
            refused()


def test_a_broken_status_is_named_and_replaced_on_resume(tmp_path: Path):
    run = Run.create(tmp_path / "run", CONFIG)
    run.close()
    (run.path / "status.json").write_text("{")
    with pytest.raises(StoreError, match=r"status\.json is broken"):
        _ = Run.open(run.path).status
    assert Run.resume(run.path).status["state"] == "running"


def test_saved_rollouts_come_back(tmp_path: Path):
    io = pytest.importorskip("guerdon.data.io", reason="rollout files are not there yet")
    from guerdon.data.ragged import Ragged
    from guerdon.data.rollouts import Rollouts

    rollouts = Rollouts(completion=["a", "bc"], tokens=Ragged.from_lists([[1], [2, 3]], np.int32))
    run = Run.create(tmp_path / "run", CONFIG)
    path = run.save_rollouts(10, rollouts)
    assert path == run.path / "rollouts" / "step_000010.parquet"
    assert io.read(path).tokens == rollouts.tokens
    assert [p.name for p in path.parent.iterdir()] == ["step_000010.parquet"]


def test_a_log_line_is_cheap(tmp_path: Path):
    run = Run.create(tmp_path / "run", CONFIG)
    begin = time.perf_counter()
    for step in range(100):
        run.log(step, {f"metric/{i}": 1 / (i + 1) for i in range(20)})
    assert (time.perf_counter() - begin) / 100 < 0.05
    assert json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])["metric/2"] == 1 / 3
