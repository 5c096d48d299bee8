"""`guerdon score` as people and scripts use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from scored import by_path, completions, numbered, read_lines, values, write_lines

from guerdon.cli import main, show


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GUERDON_CACHE", str(tmp_path / "cache"))


def run(*arguments: Any) -> int:
    """The exit code of `guerdon score ...` in this process."""
    with pytest.raises(SystemExit) as ended:
        main(["score", *map(str, arguments)])
    code = ended.value.code
    return 0 if code is None else int(code)


def test_a_table_with_causes_and_notes(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    source = write_lines(tmp_path / "in.jsonl", [*completions("1", "x", "", "x"), {"broken": 1}])
    out = tmp_path / "out.jsonl"
    code = run(source, "-r", by_path("decorated"), "--out", out, "--set", "on_error=nan", "--skip-bad")
    printed = capfd.readouterr()
    assert code == 0
    assert "in.jsonl: 4 records in" in printed.out and "decorated" in printed.out
    assert "ValueError: could not convert string to float: 'x'" in printed.out
    assert "skipped record 5: has no 'completion'" in printed.err
    assert values(out, "decorated") == [1, None, None, None]


def test_one_json_document(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    source = write_lines(tmp_path / "in.jsonl", completions("a", "print", "string"))
    out = tmp_path / "out.parquet"
    names = ("--reward", by_path("hostile"), "--reward", f"n={by_path('length')}")
    assert run(source, *names, "--set", "n.scale=10", "--out", out, "--json", "--workers", 1) == 0
    document = json.loads(capfd.readouterr().out)  # what a reward prints is not in it
    assert (document["records"], document["skipped"], document["workers_replaced"]) == (3, 0, 0)
    hostile, length = document["rewards"]["hostile"], document["rewards"]["n"]
    assert hostile["causes"] == {"returned str, expected a number": 1} and hostile["mean"] == 1.0
    assert (length["mean"], length["computed"], length["cached"]) == (40.0, 3, 0)
    assert set(length["seconds"]) == {"p50", "p95", "p99", "max"}
    assert run(source, *names, "--set", "n.scale=10", "--out", out, "--json", "--workers", 1) == 0
    again = json.loads(capfd.readouterr().out)["rewards"]
    assert (again["n"]["cached"], again["hostile"]["cached"]) == (3, 2)
    assert (tmp_path / "cache" / "verdicts.sqlite").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reward", "nonsense"], "unknown reward 'nonsense'"),
        (["--reward", "absent.py:f"], "no file absent.py"),
        (["--reward", by_path("exact"), "--set", "bogus=1"], "bogus: unknown field"),
        (["--reward", by_path("exact"), "--on", "mars"], "--on mars: expected one of local, ray"),
        (["--reward", by_path("strict")], "line 2: reward 'strict' could not score it: ValueError"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    source = write_lines(tmp_path / "in.jsonl", completions("1", "x"))
    assert run(source, *arguments, "--out", tmp_path / "out.jsonl") == 2
    errors = capfd.readouterr().err
    assert errors.startswith("error: ") and message in errors and errors.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


def test_ctrl_c_loses_nothing(tmp_path: Path):
    source = write_lines(tmp_path / "in.jsonl", numbered(3000))
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "guerdon", "score", str(source), "--reward", by_path("patient")]
    command += ["--out", str(out), "--workers", "1", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, start_new_session=True)
    state = tmp_path / "out.jsonl.unfinished" / "state.json"
    while not state.exists() and child.poll() is None:
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    _, errors = child.communicate(timeout=20)
    assert child.returncode == 130 and b"--resume" in errors and b"Traceback" not in errors
    assert not out.exists()
    done = json.loads(state.read_text())["tally"]["records"]
    assert 0 < done < 3000
    finished = subprocess.run([*command, "--resume", "--json"], capture_output=True, env=environment)
    assert finished.returncode == 0, finished.stderr
    document = json.loads(finished.stdout)
    assert document["resumed"] == done and document["records"] == 3000
    assert [record["id"] for record in read_lines(out)] == [f"r{i}" for i in range(3000)]


def test_a_bar_with_the_rate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    moves: list[Any] = []

    class Bar(show.ProgressBar):
        def advance(self, steps: int = 1, /, **numbers: float) -> None:
            moves.append((steps, *numbers))

    class Progress:
        def __init__(self, total: Any, name: str, quiet: bool) -> None:
            moves.append((total, name, quiet))

        def __enter__(self) -> Bar:
            return Bar()

        def __exit__(self, *_: object) -> None:
            moves.append("closed")

    monkeypatch.setattr(show, "progress", Progress)
    source = write_lines(tmp_path / "in.jsonl", completions(*"abcde"))
    assert run(source, "--reward", by_path("exact"), "--out", tmp_path / "out.jsonl", "--workers", 0) == 0
    assert moves == [(5, "in.jsonl", False), (5, "records/s"), "closed"]
