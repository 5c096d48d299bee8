"""Rewards that misbehave: each costs its own verdict and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from scored import by_path, causes, completions, score, values, write_lines

from guerdon.errors import DataError, RecipeError

nan = None


def test_every_bad_habit_costs_its_own_verdict_only(tmp_path: Path):
    habits = [
        "raise",
        "exit",
        "string",
        "nan",
        "hang",
        "sleep",
        "die",
        "kill",
        "eat",
        "child",
        "orphan",
        "print",
    ]
    texts = [text for i, habit in enumerate(habits) for text in (f"good {i}", habit)]
    source = write_lines(tmp_path / "in.jsonl", completions(*texts))
    report = score(
        source, tmp_path / "out.jsonl", by_path("hostile"), item_seconds=2.0, memory=1 << 27, give_up=0
    )
    out = tmp_path / "out.jsonl"
    assert values(out, "hostile") == [1.0, nan] * 11 + [1.0, 1.0]
    why = {texts[row]: cause for row, cause in causes(out, "hostile").items()}
    assert why == {
        "raise": "ValueError: no such thing",
        "exit": "SystemExit: 3",
        "string": "returned str, expected a number",
        "nan": "returned NaN",
        "hang": "timed out after 2 s",
        "sleep": "timed out after 2 s",
        "die": "ended its process with exit code 3",
        "kill": "ended its process by SIGKILL (out of memory?)",
        "eat": why["eat"],
        "child": "timed out after 2 s",
        "orphan": "ended its process with exit code 4",
    }
    assert why["eat"].startswith(("MemoryError", "_ArrayMemoryError", "used more than 0.134 GB"))
    tally = report.tally.rewards["hostile"]
    assert (tally.records, tally.missing, sum(tally.causes.values())) == (24, 11, 11)
    assert report.replaced >= 5


def test_what_a_killed_reward_started_dies_with_it(tmp_path: Path):
    source = write_lines(tmp_path / "in.jsonl", completions("child"))
    before = _processes_of_ours()
    score(source, tmp_path / "out.jsonl", by_path("hostile"), item_seconds=0.3)
    deadline = time.monotonic() + 5.0
    while _processes_of_ours() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _processes_of_ours() - before


def _processes_of_ours() -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"guerdon.score.worker" in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def test_a_reward_that_never_returns_is_given_up(tmp_path: Path):
    source = write_lines(tmp_path / "in.jsonl", completions(*(f"c{i}" for i in range(500))))
    began = time.monotonic()
    report = score(source, tmp_path / "out.jsonl", by_path("never"), item_seconds=0.2, give_up=3)
    assert time.monotonic() - began < 30
    tally = report.tally.rewards["never"]
    assert tally.missing == tally.records == 500
    tried = tally.causes.pop("timed out after 0.2 s")
    assert 3 <= tried <= 4
    ((cause, count),) = tally.causes.items()
    assert cause.startswith("not tried: the 3 before it all failed, the last one timed out after 0.2 s")
    assert tried + count == 500
    assert values(tmp_path / "out.jsonl", "never") == [nan] * 500


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        ("die", "ended its process with exit code 3"),
        ("hang", "timed out after 0.4 s"),
        ("raise", "ValueError: one of many"),
    ],
)
def test_one_bad_record_does_not_spoil_its_batch(tmp_path: Path, bad: str, cause: str):
    source = write_lines(tmp_path / "in.jsonl", completions("a", "b", bad, "c", "d"))
    out = tmp_path / "out.jsonl"
    score(source, out, by_path("hostile_lists"), item_seconds=0.4, batch_seconds=0.8)
    assert values(out, "hostile_lists") == [1.0, 1.0, nan, 1.0, 1.0]
    assert causes(out, "hostile_lists") == {2: cause}


def test_a_batch_of_the_wrong_length(tmp_path: Path):
    source = write_lines(tmp_path / "in.jsonl", completions("a", "short", "b"))
    report = score(source, tmp_path / "out.jsonl", by_path("hostile_lists"))
    assert values(tmp_path / "out.jsonl", "hostile_lists") == [nan] * 3
    assert report.tally.rewards["hostile_lists"].causes == {"wrong length: 1 values for 3 samples": 3}


def test_all_records_failing_is_a_run_that_finishes(tmp_path: Path):
    source = write_lines(tmp_path / "in.jsonl", completions("a", "b"))
    report = score(source, tmp_path / "out.jsonl", by_path("needs_meta"))
    assert report.tally.rewards["needs_meta"].causes == {"KeyError: 'level'": 2}
    assert values(tmp_path / "out.jsonl", "needs_meta") == [nan, nan]


# -- code that cannot be imported ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(completion:\n", r"importing .*bad\.py failed \(line 1\): SyntaxError"),
        ("import nonsense_module\n", r"importing .*bad\.py failed \(line 1\): ModuleNotFoundError"),
        ("\n\n1 / 0\n", r"importing .*bad\.py failed \(line 3\): ZeroDivisionError"),
        ("import os\nos._exit(9)\n", r"importing .*bad\.py:f ended its process with exit code 9"),
        ("raise SystemExit('no')\n", r"importing .*bad\.py failed \(line 1\): SystemExit: no"),
        ("def ff(completion): return 1\n", r"there is no 'f' in it; did you mean 'ff'"),
        ("f = 3\n", r"expected a function or a reward, got int"),
        ("def f(completion, k): return 1\n", r"asks for k"),
        ("def f(): return 1\n", r"expected a reward \(name, version, callable\), got int"),
    ],
)
def test_code_that_is_no_reward(tmp_path: Path, code: str, message: str):
    source = write_lines(tmp_path / "in.jsonl", completions("a"))
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(RecipeError, match=message):
        score(source, tmp_path / "out.jsonl", f"{tmp_path / 'bad.py'}:f", workers=1)
    assert sorted(os.listdir(tmp_path)) == ["bad.py", "in.jsonl"] or "__pycache__" in os.listdir(tmp_path)


def test_the_policy_raise_names_the_record_and_keeps_what_came_before(tmp_path: Path):
    source = write_lines(tmp_path / "in.jsonl", completions(*["1"] * 600, "x", "2"))
    with pytest.raises(
        DataError, match=r"in\.jsonl line 601: reward 'strict' could not score it: ValueError"
    ):
        score(source, tmp_path / "out.jsonl", by_path("strict"))
    assert not (tmp_path / "out.jsonl").exists()
    report = score(
        source,
        tmp_path / "out.jsonl",
        by_path("strict"),
        settings={"on_error": "nan"},
    )
    assert values(tmp_path / "out.jsonl", "strict")[599:] == [1.0, nan, 2.0]
    assert "was discarded" in report.notes[0]
