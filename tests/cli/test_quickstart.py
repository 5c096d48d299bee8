"""The quickstart end to end, shrunk to seconds: what it prints, stores and refuses."""

from __future__ import annotations

import importlib
import json

import pytest

from guerdon.cli import main
from guerdon.learn.statistics import Estimate
from guerdon.store import Run

quickstart = importlib.import_module("guerdon.cli.quickstart")


def run(*arguments):
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code or 0
    return 0


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(quickstart, "MODEL", {"layers": 1, "dim": 16, "heads": 2, "context": 64})
    for name, value in {"WARM_STEPS": 4, "WARM_CHECK": 2, "RL_STEPS": 2, "TEST_PROBLEMS": 10}.items():
        monkeypatch.setattr(quickstart, name, value)


@pytest.mark.slow
def test_quickstart(short, tmp_path, capsys):
    out = tmp_path / "q"
    assert run("quickstart", "--out", out, "--seed", 1, "--device", "cpu", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [r["name"] for r in told["runs"]] == ["outcome", "outcome+steps"] and told["verdict"]
    for row in told["runs"]:
        assert {"mean", "low", "high"} <= set(row["eval/pass@1/before"]) and row["tokens"] > 0
        assert Run.open(row["run"]).status["state"] == "finished"
    assert (out / "comparison.png").stat().st_size > 1000 and (out / "summary.json").exists()
    assert run("quickstart", "--out", out) == 2
    assert str(out) in capsys.readouterr().err.replace("\n", "")


@pytest.mark.slow
def test_recipe_of_the_quickstart_can_be_trained_on(short, tmp_path, capsys):
    out = tmp_path / "q"
    assert run("quickstart", "--out", out, "--device", "cpu") == 0
    assert "outcome+steps" in capsys.readouterr().out
    recipe = out / "outcome" / "config.yaml"
    again = (
        "train",
        recipe,
        "--set",
        "steps=3",
        "--set",
        "eval.problems=5",
        "--out",
        tmp_path / "r",
        "--json",
    )
    assert run(*again) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 3
    assert run(*again) == 2
    assert "--resume" in capsys.readouterr().err
    assert run(*again, "--resume", "--set", "steps=4") == 0
    assert json.loads(capsys.readouterr().out)["step"] == 4


@pytest.mark.parametrize(
    "low,high,words",
    [(0.01, 0.05, "steps too won"), (-0.05, -0.01, "outcome only won"), (-0.01, 0.03, "no clear winner")],
)
def test_the_verdict_is_honest(low, high, words):
    assert words in quickstart.verdict(Estimate((low + high) / 2, low, high))
