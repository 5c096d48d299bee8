"""Files in, files out: what is written, in every format, cached or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rewards_for_tests import Counting, Solved
from scored import REWARDS, by_path, causes, completions, numbered, read_lines, score, values, write_lines

import guerdon
from guerdon.errors import DataError, RecipeError, StoreError
from guerdon.score import Options, score_file

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


def convert(source: Path, target: Path) -> Path:
    guerdon.write(guerdon.read(source), target)
    return target


# -- formats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out_suffix", SUFFIXES)
@pytest.mark.parametrize("in_suffix", SUFFIXES)
def test_the_same_records_with_one_more_signal(tmp_path: Path, in_suffix: str, out_suffix: str):
    records = numbered(50, source="made up", meta={"level": [1, {"a": None}]}, truncated=True)
    plain = write_lines(tmp_path / "plain.jsonl", records)
    source = convert(plain, tmp_path / f"in{in_suffix}")
    out = tmp_path / f"out{out_suffix}"
    report = score(source, out, by_path("exact"), workers=0)
    expected = guerdon.read(plain).with_signal(
        guerdon.Signal(np.array([float(i % 3 != 0) for i in range(50)]), "rollout", "exact")
    )
    assert guerdon.read(out) == expected
    assert report.tally.rewards["exact"].mean == pytest.approx(33 / 50)
    assert [p.name for p in tmp_path.iterdir() if "unfinished" in p.name] == []
    if in_suffix == out_suffix == ".jsonl":
        # everything but the new signal is byte for byte what it was
        ends = ',"signals":{"exact":{"level":"rollout","values":[%s]}}}'
        for i, (before, after) in enumerate(zip(source.open(), out.open(), strict=True)):
            assert after.rstrip("\n") == before.rstrip("\n")[:-1] + ends % float(i % 3 != 0)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_signals_that_are_there_stay_and_are_replaced_by_name(tmp_path: Path, suffix: str):
    records = numbered(6)
    for i, record in enumerate(records):
        if i % 2:
            record["signals"] = {
                "old": {"level": "rollout", "values": [0.25]},
                "exact": {"level": "rollout", "values": [None], "causes": {"0": "before"}},
            }
    records[0]["signals"] = None
    source = convert(write_lines(tmp_path / "plain.jsonl", records), tmp_path / f"in{suffix}")
    if suffix == ".jsonl":
        shutil.copy(tmp_path / "plain.jsonl", source)
    score(source, tmp_path / f"out{suffix}", by_path("exact"), f"again={by_path('exact')}", workers=0)
    out = tmp_path / f"out{suffix}"
    right = [float(i % 3 != 0) for i in range(6)]
    assert values(out, "exact") == values(out, "again") == right
    assert values(out, "old") == [None, 0.25] * 3
    assert causes(out, "exact") == {}


def test_causes_and_policies_in_every_format(tmp_path: Path):
    source = write_lines(tmp_path / "in.jsonl", completions("1", "x", "3"))
    for suffix in SUFFIXES:
        out = tmp_path / f"out{suffix}"
        settings = {"decorated.on_error": "nan", "b.on_error": -1}
        report = score(
            convert(source, tmp_path / f"in{suffix}"),
            out,
            by_path("decorated"),
            f"b={by_path('decorated')}",
            f"c={by_path('decorated')}",
            settings=settings,
            workers=0,
        )
        assert values(out, "decorated") == [1, None, 3]
        assert values(out, "b") == [1, -1, 3]
        assert values(out, "c") == [1, 0, 3]  # the policy of the reward itself
        why = {1: "ValueError: could not convert string to float: 'x'"}
        assert causes(out, "decorated") == causes(out, "b") == causes(out, "c") == why
        assert report.tally.rewards["b"].missing == 1 and report.tally.rewards["b"].mean == 1.0


def test_steps_groups_parts_and_whole_files(tmp_path: Path):
    records = [
        {"group": "a", "completion": "abc", "steps": [1, 3], "reference": "abc"},
        {"group": "a", "completion": "ab", "steps": [2], "reference": "x"},
        {"group": "b", "completion": "fail", "steps": [2, 3, 4], "reference": "fail"},
        {"group": "c", "completion": "", "steps": [], "reference": ""},
    ]
    for suffix in SUFFIXES:
        source = convert(write_lines(tmp_path / "plain.jsonl", records), tmp_path / f"in{suffix}")
        out = tmp_path / f"out{suffix}"
        names = ("Steps", "Solved", "Centred", "Ranked", "Composed")
        score(source, out, *map(by_path, names), workers=1, parts=True)
        found = guerdon.read(out)
        assert found.signals["Steps"].level == "step"
        assert values(out, "Steps") == [None, 2, 2, 2, None, None]
        assert set(causes(out, "Steps").values()) == {"too short"}
        assert found.signals["Solved"].level == "group"
        assert sorted(values(out, "Solved"), key=str) == [1.0, 1.0, None]
        assert list(causes(out, "Solved").values()) == ["ValueError: a group that fails"]
        assert values(out, "Centred") == [0.5, -0.5, 0, 0]
        assert values(out, "Ranked") == [2, 1, 3, 0]
        assert values(out, "Composed") == [4, 3, 5, None]
        assert values(out, "Composed.length") == [3, 2, 4, 0]
        assert values(out, "Composed.given") == [1, 1, 1, None]
        assert causes(out, "Composed.given") == {3: "empty"}


def test_groups_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    records = [{"group": f"g{i // 7}", "completion": "x" * (i % 5), "reference": ""} for i in range(700)]
    source = write_lines(tmp_path / "in.jsonl", records)
    score(source, tmp_path / "whole.jsonl", by_path("Centred"), workers=0, gather=True)
    for size in (1, 5, 64):
        monkeypatch.setattr("guerdon.score.pipeline.Pipeline.rows", lambda self, size=size: size)
        for suffix in (".jsonl", ".parquet"):
            out = tmp_path / f"out{suffix}"
            score(convert(source, tmp_path / f"in{suffix}"), out, by_path("Centred"), workers=0)
            assert values(out, "Centred") == values(tmp_path / "whole.jsonl", "Centred")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_groups_that_lie_apart(tmp_path: Path, suffix: str):
    records = [{"group": "ab"[i % 2], "completion": "x" * i, "reference": ""} for i in range(4)]
    source = convert(write_lines(tmp_path / "plain.jsonl", records), tmp_path / f"in{suffix}")
    number = "line 3" if suffix == ".jsonl" else "row 2"
    with pytest.raises(
        DataError, match=rf"{number}: group 'a' comes back .* but Centred must see whole groups; sort"
    ):
        score(source, tmp_path / f"out{suffix}", by_path("Centred"), workers=0)
    report = score(source, tmp_path / f"out{suffix}", by_path("Centred"), workers=0, gather=True)
    assert values(tmp_path / f"out{suffix}", "Centred") == [-1, -1, 1, 1]
    assert "all 4 records were in memory at once" in report.notes[0]


def test_no_output_depends_on_chunks_or_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = write_lines(tmp_path / "in.jsonl", numbered(300) + completions("a", "b") * 0)
    names = [by_path(name) for name in ("exact", "lists", "length", "slow_but_together", "Keyed")]
    written = set()
    for workers, size in ((2, 512), (1, 64), (0, 7)):
        monkeypatch.setattr("guerdon.score.pipeline.Pipeline.rows", lambda self, size=size: size)
        score(source, tmp_path / "out.jsonl", *names, workers=workers)
        written.add((tmp_path / "out.jsonl").read_bytes())
    assert len(written) == 1


# -- work that is not done twice -------------------------------------------------------------------------------


def test_duplicates_are_scored_once(tmp_path: Path):
    marks = tmp_path / "marks"
    marks.mkdir()
    texts = ["a", "b", "a", "c"] * 500
    source = write_lines(tmp_path / "in.jsonl", completions(*texts))
    report = score(source, tmp_path / "out.jsonl", by_path("touch"), settings={"folder": str(marks)})
    assert len(list(marks.iterdir())) == 3
    tally = report.tally.rewards["touch"]
    assert (tally.records, tally.repeated, tally.cached) == (2000, 1997, 0)


def test_the_cache_knows_verdicts_by_content_and_code(tmp_path: Path):
    code = tmp_path / "own.py"
    code.write_text(REWARDS.read_text())
    cache = tmp_path / "cache.sqlite"
    first = write_lines(tmp_path / "first.jsonl", numbered(40))
    second = write_lines(tmp_path / "second.jsonl", [{**r, "id": "x", "prompt": "new"} for r in numbered(60)])

    def cached(source: Path, name: str = "exact", **more) -> int:
        report = score(source, tmp_path / "out.jsonl", f"s={code}:{name}", workers=1, cache=cache, **more)
        assert values(tmp_path / "out.jsonl", "s")[:2] == [0.0, 1.0]
        return report.tally.rewards["s"].cached

    assert cached(first) == 0
    assert cached(first) == 40
    assert cached(second) == 40  # neither id nor prompt is read
    assert cached(convert(second, tmp_path / "second.parquet")) == 60
    code.write_text(REWARDS.read_text() + "\n# edited\n")
    assert cached(first) == 0
    assert cached(first, name="lists") == 0


def test_what_failed_is_tried_again(tmp_path: Path):
    source = write_lines(tmp_path / "in.jsonl", completions("1", "x", "x"))
    for expected in (0, 1):
        report = score(source, tmp_path / "out.jsonl", by_path("decorated"), cache=tmp_path / "c.sqlite")
        tally = report.tally.rewards["decorated"]
        assert (tally.cached, tally.repeated, tally.missing) == (expected, 1, 2)


def test_cached_steps_groups_and_parts(tmp_path: Path):
    records = [
        {"group": f"g{i // 3}", "completion": "ab" * (i % 4), "steps": [2 * j + 2 for j in range(i % 4)]}
        for i in range(12)
    ]
    source = write_lines(tmp_path / "in.jsonl", [{**r, "reference": "ab"} for r in records])
    names = [by_path(name) for name in ("Steps", "Solved", "Centred", "Composed")]
    options = {"workers": 1, "cache": tmp_path / "c.sqlite", "parts": True}
    score(source, tmp_path / "one.jsonl", *names, **options)
    report = score(source, tmp_path / "two.jsonl", *names, **options)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert {label: tally.cached for label, tally in report.tally.rewards.items()} == {
        "Steps": 12,
        "Solved": 12,
        "Centred": 12,
        "Composed": 9,  # the empty ones have a missing part
    }


def test_a_cache_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = write_lines(tmp_path / "in.jsonl", completions("1"))
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="is damaged"):
        score(source, tmp_path / "out.jsonl", by_path("exact"), cache=broken)
    monkeypatch.setenv("GUERDON_CACHE", str(source / "below a file"))
    report = score(source, tmp_path / "out.jsonl", by_path("exact"), cache="", workers=0)
    assert report.notes[0].startswith("going on without a verdict cache")
    assert values(tmp_path / "out.jsonl", "exact") == [0.0]


# -- rewards that run here ---------------------------------------------------------------------------------


def test_rewards_as_objects_and_state(tmp_path: Path):
    source = write_lines(tmp_path / "in.jsonl", completions("a", "a", "b"))
    out = tmp_path / "out.jsonl"
    report = score_file(source, out, {"n": Counting(), "solved": Solved()}, options=Options(cache=None))
    assert values(out, "n") == [0, 1, 2]
    assert report.tally.rewards["n"].repeated == 0
    assert values(out, "solved") == [1, 1, 0]
    score(source, out, by_path("Counting"), workers=2)
    assert values(out, "Counting") == [0, 1, 2]


# -- input that is not as it should be -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"completion": 3}', "completion: expected text or a list of messages"),
        (b'{"completion": "a"', "expected one JSON object, got broken JSON at character 19"),
        (b"[1, 2]", "expected one JSON object, got a list of 2"),
        (b'{"completion": "a"}, {"completion": "b"}', "expected one JSON object, got broken JSON"),
        (b"\xff\xfe", "expected UTF-8 text"),
        (b'{"reference": "a"}', "has no 'completion' but the rows before have"),
        (b'{"completion": "a", "reference": "b", "steps": [1]}', "has 'steps' but the rows before have not"),
    ],
)
def test_broken_records(tmp_path: Path, bad: bytes, reason: str):
    good = [json.dumps(record).encode() for record in completions("a", "b", "a")]
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"\n".join([good[0], b"", good[1], bad, good[2]]))
    with pytest.raises(DataError) as theirs:
        guerdon.read(source)
    with pytest.raises(DataError) as ours:
        score(source, tmp_path / "out.jsonl", by_path("exact"), workers=0)
    advice = "; mend it, or leave out and count such records with --skip-bad"
    assert str(ours.value) == str(theirs.value) + advice
    assert f"line 4: {reason}" in str(ours.value)
    report = score(source, tmp_path / "out.jsonl", by_path("exact"), workers=0, skip_bad=True)
    assert values(tmp_path / "out.jsonl", "exact") == [1, 0, 1]
    assert report.tally.skipped == 1 and report.tally.examples[0][0] == 4
    assert reason in report.tally.examples[0][1]


def test_broken_rows_of_parquet(tmp_path: Path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"completion": ["a", None, "b"], "reference": ["a", "a", "a"], "other": [1, 2, 3]})
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(DataError, match="row 1: has no 'completion' but the rows before have"):
        score(tmp_path / "in.parquet", tmp_path / "out.parquet", by_path("exact"), workers=0)
    report = score(
        tmp_path / "in.parquet", tmp_path / "out.parquet", by_path("exact"), workers=0, skip_bad=True
    )
    assert report.tally.skipped == 1
    written = pq.read_table(tmp_path / "out.parquet")
    assert written["other"].to_pylist() == [1, 3]
    assert [signal["exact"]["values"] for signal in written["signals"].to_pylist()] == [[1.0], [0.0]]


def test_a_gzip_file_that_was_cut_off(tmp_path: Path):
    whole = write_lines(tmp_path / "whole.jsonl.gz", numbered(2000)).read_bytes()
    source = tmp_path / "in.jsonl.gz"
    source.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="the compressed data ends in the middle"):
        score(source, tmp_path / "out.jsonl", by_path("exact"), workers=0)
    report = score(source, tmp_path / "out.jsonl", by_path("exact"), workers=0, skip_bad=True)
    assert report.tally.skipped == 1 and 100 < report.tally.records < 2000


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("absent.jsonl", "o.jsonl", "absent.jsonl: no such file"),
        ("in.csv", "o.jsonl", "unknown kind of file"),
        ("in.jsonl", "o.txt", "unknown kind of file"),
        ("in.jsonl", "no/o.jsonl", "does not exist; make it first"),
        ("empty.jsonl", "o.jsonl", "holds no rollouts"),
        ("tokens.jsonl", "o.jsonl", "reward 'exact' reads text, but the records have no 'completion'"),
    ],
)
def test_files_that_cannot_be(tmp_path: Path, source: str, out: str, message: str):
    write_lines(tmp_path / "in.jsonl", completions("a"))
    write_lines(tmp_path / "in.csv", [])
    write_lines(tmp_path / "empty.jsonl", [])
    write_lines(tmp_path / "tokens.jsonl", [{"tokens": [1, 2]}])
    with pytest.raises(DataError, match=message):
        score(tmp_path / source, tmp_path / out, by_path("exact"), workers=0)
    assert not list(tmp_path.glob("*unfinished"))


def test_the_output_may_be_the_input(tmp_path: Path):
    for suffix in (".jsonl", ".parquet"):
        path = convert(write_lines(tmp_path / "plain.jsonl", numbered(9)), tmp_path / f"file{suffix}")
        score(path, path, by_path("exact"), workers=0)
        score(path, path, by_path("length"), workers=0)
        assert len(values(path, "exact")) == len(values(path, "length")) == 9


def test_plain_text_and_unknown_fields_reach_the_reward_as_a_reader_would_give_them(tmp_path: Path):
    records = [{"completion": [{"role": "assistant", "content": "é\u2028"}], "level": 3, "meta": {"a": 1}}]
    source = write_lines(tmp_path / "in.jsonl", records)
    score(source, tmp_path / "out.jsonl", by_path("needs_meta"), by_path("length"), workers=1)
    (record,) = read_lines(tmp_path / "out.jsonl")
    assert record["signals"]["needs_meta"]["values"] == [3.0]
    assert record["signals"]["length"]["values"] == [2.0]


def test_wrong_use_of_the_call(tmp_path: Path):
    source = write_lines(tmp_path / "in.jsonl", completions("a"))
    out = tmp_path / "out.jsonl"
    for rewards, settings, message in (
        ([], None, "no reward was named"),
        ({}, None, "no reward was named"),
        (["nonsense.reward"], None, "unknown reward 'nonsense.reward'"),
        ({"a": {"x": 1}}, None, "expected a field 'use'"),
        ({"a": by_path("exact")}, {"b": 1}, "settings go with rewards given as texts"),
        ([by_path("exact")], {"bogus": 1}, "bogus: unknown field"),
        ([by_path("exact")], {"on_error": "zero"}, "on_error must be 'nan', 'raise' or a number"),
    ):
        with pytest.raises(RecipeError, match=message):
            score_file(source, out, rewards, settings, Options(cache=None, workers=0))
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
