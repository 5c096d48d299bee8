from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

import guerdon
from guerdon.cli import forward, main
from guerdon.errors import DataError, StoreError
from guerdon.store import Run


def run(*arguments: str) -> int:
    """The exit code of a command in this process."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    code = ended.value.code
    return 0 if code is None else int(code)


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces the work of `train` by `body["do"]` and keeps what it was called with."""
    seen: dict[str, Any] = {"do": lambda: None}

    def train_command(**arguments: Any) -> Any:
        seen["arguments"] = arguments
        return seen["do"]()

    module = types.ModuleType("guerdon.cli.train")
    module.train_command = train_command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "guerdon.cli.train", module)
    monkeypatch.setattr(forward, "_debug", False)
    return seen


def raising(error: BaseException) -> Any:
    def do() -> None:
        raise error

    return do


# -- arguments reach the work ----------------------------------------------------------------------


def test_train_forwards_its_options(body: dict[str, Any]):
    assert run("train", "r.yaml", "--set", "a.b=1", "--set", "c=x", "--resume", "--out", "d", "--json") == 0
    assert body["arguments"] == {
        "recipe": Path("r.yaml"),
        "overrides": ["a.b=1", "c=x"],
        "resume": True,
        "out": Path("d"),
        "device": None,
        "json": True,
    }
    run("train", "r.yaml", "--device", "cpu")
    assert body["arguments"]["overrides"] == [] and body["arguments"]["device"] == "cpu"


def test_credit_and_quickstart_forward_theirs(monkeypatch: pytest.MonkeyPatch):
    seen: dict[str, Any] = {}
    for name in ("credit", "quickstart"):
        module = types.ModuleType(f"guerdon.cli.{name}")
        setattr(module, f"{name}_command", lambda name=name, **arguments: seen.update({name: arguments}))
        monkeypatch.setitem(sys.modules, f"guerdon.cli.{name}", module)
    assert (
        run(
            "credit",
            "in.jsonl",
            "--method",
            "grpo",
            "--set",
            "scale=batch",
            "--out",
            "o.parquet",
            "--skip-bad",
        )
        == 0
    )
    assert run("quickstart", "--out", "d", "--seed", "3", "--json") == 0
    assert seen["credit"] == {
        "source": Path("in.jsonl"),
        "method": "grpo",
        "settings": ["scale=batch"],
        "out": Path("o.parquet"),
        "json": False,
        "skip_bad": True,
    }
    assert seen["quickstart"] == {"out": Path("d"), "seed": 3, "json": True, "device": None}


# -- errors and exit codes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            DataError("rollouts.jsonl, line 17: [bold] expected"),
            2,
            "error: rollouts.jsonl, line 17: [bold] expected\n",
        ),
        (StoreError("disk full"), 2, "error: disk full\n"),
        (
            FileNotFoundError(2, "No such file or directory", "x.jsonl"),
            2,
            "error: x.jsonl: No such file or directory\n",
        ),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            2,
            "error: this needs the package 'torch'; install it with: pip install 'guerdon[lab]'\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_one_line(
    body: dict[str, Any], capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
):
    body["do"] = raising(error)
    assert run("train", "r.yaml") == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == message


def test_debug_shows_where_it_was_raised(
    body: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    body["do"] = raising(DataError("broken"))
    assert run("--debug", "train", "r.yaml") == 2
    assert "Traceback" in capsys.readouterr().err
    assert run("train", "r.yaml") == 2
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("GUERDON_DEBUG", "1")
    assert run("train", "r.yaml") == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("bug"), ModuleNotFoundError("x", name="x"), OSError(5, "I/O error")]
)
def test_bugs_are_not_hidden(body: dict[str, Any], error: Exception):
    body["do"] = raising(error)
    with pytest.raises(type(error)):
        main(["train", "r.yaml"])


def test_a_returned_number_is_the_exit_code(body: dict[str, Any]):
    body["do"] = lambda: 3
    assert run("train", "r.yaml") == 3


@pytest.mark.parametrize(
    "arguments",
    [("trane",), ("train",), ("quickstart", "--seed", "-1"), ("credit", "in.jsonl", "--out", "o"), ()],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]):
    assert run(*arguments) == 2


def test_version(capsys: pytest.CaptureFixture[str]):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"guerdon {guerdon.__version__}\n"


# -- guerdon runs ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, rate in (("plain", 0.5), ("steps", 0.625)):
        store = Run.create(tmp_path / name, {"steps": 4})
        store.log(
            4, {"reward/outcome": rate, "eval/pass@1": rate, "eval/pass@1_low": 0.4, "eval/pass@1_high": 0.7}
        )
        store.finish()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "metrics.jsonl").write_text("")
    return tmp_path


def test_runs_as_a_table(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run("runs", str(folder)) == 0
    out = capsys.readouterr().out
    assert re.search(r"plain +finished +4/4 +50\.0 % \[40\.0, 70\.0\] +0\.500", out)
    assert re.search(r"broken +broken", out) and "config.yaml is missing" in out


def test_runs_as_json(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run("runs", str(folder), "--json") == 0
    broken, plain, steps = json.loads(capsys.readouterr().out)
    assert (broken["state"], plain["name"], steps["accuracy"]) == ("broken", "plain", 0.625)
    assert plain["entropy"] is None and plain["rewards"] == {"outcome": 0.5}


def test_runs_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run("runs", str(tmp_path)) == 0
    assert "no runs under" in capsys.readouterr().err
    assert run("runs", str(tmp_path), "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run("runs", str(tmp_path / "absent")) == 2
    assert capsys.readouterr().err.startswith("error: no folder")


def test_runs_drawn(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    assert run("runs", str(folder), "--plot", "eval/pass@1") == 0
    assert (folder / "compare_eval_pass@1.png").stat().st_size > 1000
    assert run("runs", str(folder), "--plot", "eval/pass@1", "--out", str(tmp_path / "x.png")) == 0
    assert (tmp_path / "x.png").exists()
    assert run("runs", str(folder), "--out", "x.png") == 2


# -- the process -----------------------------------------------------------------------------------

_MAIN = "from guerdon.cli import main; main()"


def test_help_is_fast_and_light():
    code = (
        "import sys\n"
        "from guerdon.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numba', 'numpy', 'pyarrow', 'matplotlib', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        seconds.append(time.perf_counter() - begin)
        assert done.returncode == 0, done.stderr
        assert all(name in done.stdout for name in ("credit", "train", "quickstart", "runs"))
    assert min(seconds) < 0.8  # measured 0.15 s; the machine may be busy


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_reader_that_goes_away_is_no_error(folder: Path, flags: tuple[str, ...]):
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    child = subprocess.Popen(
        [sys.executable, "-c", _MAIN, "runs", str(folder), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    stderr = child.stderr.read()
    child.stderr.close()
    assert child.wait() == 141 and stderr == b""
