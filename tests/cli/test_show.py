from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from guerdon.cli import show
from guerdon.errors import RecipeError


@dataclass
class Row:
    name: str
    value: float


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]):
    data = {
        "rows": [Row("é", math.nan)],
        "path": Path("a/b"),
        "array": np.array([1.0, np.inf]),
        3: np.int64(4),
    }
    show.print_json(data)
    out = capsys.readouterr().out
    assert json.loads(out) == {
        "rows": [{"name": "é", "value": None}],
        "path": "a/b",
        "array": [1.0, None],
        "3": 4,
    }


def test_table_in_a_pipe_is_not_cut_and_not_marked_up(capsys: pytest.CaptureFixture[str]):
    name = "runs/" + "very-long-name-" * 6
    show.print_table(("run", "accuracy"), [[name, "71.5 % [65.0, 77.3]"], ["[bold]", "–"]], title="both")
    out = capsys.readouterr().out
    assert name in out and "71.5 % [65.0, 77.3]" in out and "[bold]" in out and "\x1b" not in out


def test_progress_is_quiet_in_a_pipe(capsys: pytest.CaptureFixture[str]):
    with show.progress(3, "training") as bar:
        bar.advance(reward=0.5)
        bar.describe("still")
    assert capsys.readouterr() == ("", "")


def test_progress_shows_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with show.progress(3, "training", done=1) as bar:
        bar.advance(reward=0.5)
        bar.describe("almost")
        bar.advance()
    captured = capsys.readouterr()
    assert (
        captured.out == ""
        and "almost" in captured.err
        and "3/3" in captured.err
        and "reward 0.500" in captured.err
    )
    with show.progress(3, "training", quiet=True) as bar:
        bar.advance()
    assert capsys.readouterr().err == ""


def test_settings():
    assert show.parse_settings(["scale=batch", "eps=1e-6", "k=[1, 2]", "on=true", "out="]) == {
        "scale": "batch",
        "eps": 1e-6,
        "k": [1, 2],
        "on": True,
        "out": None,
    }
    with pytest.raises(RecipeError, match="'eps' is set twice"):
        show.parse_settings(["eps=1", "eps=2"])
    with pytest.raises(RecipeError, match="expected key=value"):
        show.parse_settings(["eps"])


def test_formats():
    assert (show.number(0.12345), show.number(math.nan), show.number(None)) == ("0.123", "–", "–")
    assert show.percent(0.715) == "71.5 %" and show.percent(0.715, 0.65, 0.773) == "71.5 % [65.0, 77.3]"
    assert (show.count(1234567), show.count(None)) == ("1 234 567", "–")
    assert [show.duration(s) for s in (8.44, 185, 7620, math.nan)] == [
        "8.4 s",
        "3 min 05 s",
        "2 h 07 min",
        "–",
    ]
