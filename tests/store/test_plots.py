from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from guerdon.errors import StoreError
from guerdon.store import Run, compare_runs
from guerdon.store.plots import smooth

pytest.importorskip("matplotlib", reason="plots need matplotlib")
PNG = b"\x89PNG\r\n\x1a\n"


def make_run(path: Path, steps: int, offset: float = 0.0) -> Run:
    run = Run.create(path, {"steps": steps})
    for step in range(steps + 1):
        metrics = {"reward/outcome": step / 100, "reward/steps": math.nan, "reward/steps_missing": 3.0}
        metrics |= {
            "policy/entropy": 1.0,
            "rollout/length": 20.0,
            "policy/grad_norm": 1.0 if step != 3 else 90.0,
        }
        if step % 5 == 0:
            rate = 0.3 + offset + step / 100
            metrics |= {"eval/pass@1": rate, "eval/pass@1_low": rate - 0.05, "eval/pass@1_high": rate + 0.05}
        run.log(step, metrics)
    return run


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return imread(path)


def test_draw_writes_what_the_metrics_allow(tmp_path: Path):
    run = make_run(tmp_path / "run", 30)
    names = [path.name for path in run.plot()]
    assert names == [
        "reward.png",
        "accuracy.png",
        "entropy.png",
        "length.png",
        "grad_norm.png",
        "overview.png",
    ]
    for name in names:
        assert (run.path / "plots" / name).read_bytes().startswith(PNG)
    picture = pixels(run.path / "plots" / "accuracy.png")
    assert picture.std() > 0.01  # not blank
    assert run.plot() and Run.open(run.path).plot()  # again, and while only reading


def test_nothing_logged_nothing_drawn(tmp_path: Path):
    assert Run.create(tmp_path / "run", {}).plot() == []


def test_one_step_can_be_drawn(tmp_path: Path):
    run = Run.create(tmp_path / "run", {})
    run.log(0, {"reward/outcome": 0.5, "policy/grad_norm": 0.0})
    assert len(run.plot()) == 3


def test_compare_runs(tmp_path: Path):
    runs = [make_run(tmp_path / "a", 10), make_run(tmp_path / "b", 10, 0.1)]
    path = compare_runs(runs, "eval/pass@1", tmp_path / "both.png", title="two recipes")
    one = compare_runs({"first": runs[0]}, "eval/pass@1", tmp_path / "one.png", title="two recipes")
    assert path.read_bytes().startswith(PNG)
    assert not np.array_equal(pixels(path), pixels(one))
    with pytest.raises(StoreError, match=r"no run has logged 'eval/steps' \(runs: a, b\)"):
        compare_runs(runs, "eval/steps", tmp_path / "none.png")
    with pytest.raises(StoreError, match="none given"):
        compare_runs([], "eval/steps", tmp_path / "none.png")


def test_missing_matplotlib_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = make_run(tmp_path / "run", 2)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(StoreError, match=r"pip install 'guerdon\[lab\]'"):
        run.plot()


def test_smooth_by_hand():
    np.testing.assert_allclose(smooth(np.array([1.0, 2.0, 6.0, 3.0]), 3), [1.5, 3.0, 11 / 3, 4.5])
    np.testing.assert_allclose(smooth(np.array([1.0, 2.0]), 1), [1.0, 2.0])
    np.testing.assert_allclose(smooth(np.array([1.0, 2.0]), 9), [1.5, 1.5])
