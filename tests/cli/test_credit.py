"""`guerdon credit` as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import guerdon as gd
from guerdon import registry
from guerdon.cli import main

RECORDS = [
    {"id": f"r{i}", "group": g, "tokens": [1] * n, "acted": [1] * n, "values": [0.5] * n, "note": "kept"}
    | {
        "signals": {
            "outcome": {"level": "rollout", "values": [r]},
            "baseline": {"level": "rollout", "values": [0.25]},
            "reward": {"level": "token", "values": [0.0] * (n - 1) + [r or 0.0]},
        }
    }
    for i, (g, n, r) in enumerate(
        [("a", 3, 1.0), ("a", 2, 0.0), ("b", 1, 1.0), ("b", 4, None), ("b", 2, 0.5)]
    )
]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return path


def run(*arguments):
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code or 0
    return 0


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_same_records_with_advantages(source, tmp_path, capsys, suffix):
    out = tmp_path / f"out{suffix}"
    assert run("credit", source, "--method", "grpo", "--out", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rollouts"] == 5 and told["sources"]["outcome"]["missing"] == 1
    got = gd.read(out)
    half = 0.5 / (np.sqrt(0.5) + 1e-6)
    np.testing.assert_allclose(got.advantages[0], [half] * 3)
    np.testing.assert_allclose(got.advantages[3], [0.0] * 4)  # a missing reward teaches nothing
    assert got.meta[0]["note"] == "kept" and got.id == [r["id"] for r in RECORDS]


@pytest.mark.parametrize(
    "method",
    [m for m in registry.names("credit") if m not in ("levels", "outcome_and_steps")],
)
def test_every_method_runs(source, tmp_path, method, capsys):
    out = tmp_path / "out.jsonl"
    assert run("credit", source, "--method", method, "--out", out) == 0
    advantages = [json.loads(line)["advantages"] for line in out.read_text().splitlines()]
    assert [len(a) for a in advantages] == [3, 2, 1, 4, 2] and np.isfinite(np.concatenate(advantages)).all()
    assert method in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments,told",
    [
        (["--method", "grpoo"], r"unknown credit 'grpoo'; did you mean 'grpo'"),
        (["--method", "grpo", "--set", "scal=batch"], r"scal: unknown field; did you mean 'scale'"),
        (["--method", "grpo", "--set", "scale=bach"], r"scale must be one of group, batch, none"),
        (["--method", "gae", "--set", "lam=2"], r"lam must be a number in \[0, 1\]"),
        (["--method", "outcome_and_steps"], r"needs the signal 'steps'"),
    ],
)
def test_what_is_wrong_is_told(source, tmp_path, capsys, arguments, told):
    out = tmp_path / "out.jsonl"
    assert run("credit", source, "--out", out, *arguments) == 2
    error = " ".join(capsys.readouterr().err.split())
    import re

    assert re.search(told, error), error
    assert not out.exists()


def test_a_broken_line_is_named_and_can_be_skipped(source, tmp_path, capsys):
    lines = source.read_text().splitlines()
    lines[1] = lines[1][:-5]
    source.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out.jsonl"
    assert run("credit", source, "--method", "grpo", "--out", out) == 2
    assert "line 2" in capsys.readouterr().err and not out.exists()
    assert run("credit", source, "--method", "grpo", "--out", out, "--skip-bad", "--json") == 0
    assert [bad["line"] for bad in json.loads(capsys.readouterr().out)["skipped"]] == [2]
    assert len(out.read_text().splitlines()) == 4


def test_an_empty_file_is_refused(tmp_path, capsys):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert run("credit", empty, "--method", "grpo", "--out", tmp_path / "o.jsonl") == 2
    assert "no rollouts" in capsys.readouterr().err


def test_text_without_tokens_gets_one_value_per_step(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    step = {"level": "step", "values": [1.0, 0.0]}
    outcome = [{"outcome": {"level": "rollout", "values": [r]}, "steps": step} for r in (1.0, 0.0)]
    records = [{"group": 1, "completion": "ab", "steps": [1, 2], "signals": signals} for signals in outcome]
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert run("credit", source, "--method", "outcome_and_steps", "--out", out) == 0
    assert gd.read(out).signals["advantage"].level == "step"
