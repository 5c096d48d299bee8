"""Bad files: every failure names the file, the line or row, the field, and what was expected."""

# ruff: noqa: E501  the table of messages is easier to read one case a line

from __future__ import annotations

import gzip
import json
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guerdon.data import Ragged, Rollouts, Signal, iter_batches, read, write, write_batches
from guerdon.errors import DataError, GuerdonError

GOOD = {
    "completion": "ab cd",
    "tokens": [1, 2, 3],
    "logprobs": [-0.1, -0.2, -0.3],
    "steps": [1, 3],
    "turns": [3],
    "state": [7, 8],
    "signals": {"prm": {"level": "step", "values": [0.5, None]}},
}


def lines(*records) -> bytes:
    return b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in records)


def with_bad_17(tmp_path, bad):
    path = tmp_path / "rollouts.jsonl"
    path.write_bytes(lines(*[GOOD] * 16, bad, *[GOOD] * 3))
    return path


BAD_LINES = [
    (b'{"completion": "x"', "expected one JSON object, got broken JSON at character 19: Expecting ',' delimiter"),
    (b'{"completion": "x"} {}', "got broken JSON at character 20: Extra data"),
    (b"\x00" * 20, "got null bytes; the file was probably damaged"),
    (b'{"completion": "\xff"}', "expected UTF-8 text, got byte 0xff"),
    (b"[1]", "expected one JSON object, got a list of 1 starting with the number 1; a JSON array is not JSON Lines"),
    (b"3", "expected one JSON object, got the number 3"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"completion": ' + b"9" * 5000 + b"}", "expected one JSON object, got "),
    (GOOD | {"completion": 5}, "completion: expected text or a list of messages {role, content}, got the number 5"),
    (GOOD | {"completion": [{"content": "x"}]}, "completion: expected text or a list of messages"),
    (GOOD | {"tokens": "abc"}, "tokens: expected a list of integers of 32 bits, got text 'abc'"),
    (GOOD | {"tokens": [1, 2.5, 3]}, "tokens[1]: expected a list of integers of 32 bits, got the number 2.5"),
    (GOOD | {"tokens": [1, 2, 2**40]}, "tokens[2]: expected a list of integers of 32 bits, got the number"),
    (GOOD | {"tokens": [1, None, 3]}, "tokens[1]: expected a list of integers of 32 bits, got null"),
    (GOOD | {"logprobs": [1, "a", 3]}, "logprobs[1]: expected a list of numbers, got text 'a'"),
    (GOOD | {"logprobs": [0.1, 0.2]}, "logprobs: expected 3 values, one per token, got 2"),
    (GOOD | {"acted": [1, 2, 0]}, "acted: expected a list of 0 and 1, or false and true, got a list of 3"),
    (GOOD | {"acted": [1, 0]}, "acted: expected 3 values, one per token, got 2"),
    (GOOD | {"steps": [1, 2]}, "steps: [1, 2] do not partition the 3 tokens; expected end offsets rising strictly up to 3"),
    (GOOD | {"steps": [2, 1, 3]}, "steps: [2, 1, 3] do not partition the 3 tokens"),
    (GOOD | {"steps": [0, 3]}, "steps: [0, 3] do not partition the 3 tokens"),
    (GOOD | {"steps": []}, "steps: [] do not partition the 3 tokens"),
    (GOOD | {"steps": [1, 4]}, "steps: [1, 4] do not partition the 3 tokens"),
    (GOOD | {"turns": [2, 3]}, "turns: [2, 3] cut a step in two (steps: [1, 3]); expected every turn to end where a step ends"),
    (GOOD | {"partitions": {"step": [3]}}, "partitions.step: expected the name of a level that is not there already"),
    (GOOD | {"partitions": [1]}, "partitions: expected an object, got a list of 1"),
    (GOOD | {"state": [7]}, "state: expected 2 keys, one per step, got 1"),
    (GOOD | {"state": [7, 1.5]}, "state[1]: expected integers or texts, got the number 1.5"),
    (GOOD | {"signals": []}, "signals: expected an object, got an empty list"),
    (GOOD | {"signals": {"prm": 0.5}}, "signals.prm: expected {level: text, values: [...]}, got the number 0.5"),
    (GOOD | {"signals": {"prm": {"level": "step", "values": [0.5]}}}, "signals.prm: expected 2 values at level 'step', got 1"),
    (GOOD | {"signals": {"prm": {"level": "turn", "values": [1]}}}, "signals.prm: expected level 'step' as in the rows before, got 'turn'"),
    (GOOD | {"signals": {"prm": {"level": "step", "values": [1, "x"]}}}, "signals.prm.values[1]: expected a list of numbers, got text 'x'"),
    (GOOD | {"signals": {"new": {"level": "thought", "values": [1]}}}, "signals.new: expected one of the levels token, step, turn, rollout, group, got 'thought'"),
    (GOOD | {"signals": {"new": {"level": "step", "values": [1, 2], "causes": {"x": 1}}}}, "signals.new.causes: expected {position: text}"),
    (GOOD | {"id": "x"}, "has 'id' but the rows before have not; expected it in all rows or in none"),
    (GOOD | {"group": True}, "group: expected text or an integer, got true"),
    (GOOD | {"meta": [1]}, "meta: expected an object, got a list of 1"),
    (GOOD | {"truncated": "no"}, "truncated: expected true or false, got text 'no'"),
    ({k: v for k, v in GOOD.items() if k != "logprobs"}, "has no 'logprobs' but the rows before have; expected it in all rows or in none"),
    ({"completion": "x"}, "has no 'tokens' but the rows before have"),
    ({}, "has no 'completion' but the rows before have"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_line_17_is_named_and_can_be_skipped(tmp_path, bad, reason):
    path = with_bad_17(tmp_path, bad)
    with pytest.raises(DataError, match=re.escape("rollouts.jsonl line 17: ")) as error:
        read(path)
    assert reason in str(error.value)
    skipped = []
    assert len(read(path, skip_bad=True, skipped=skipped)) == 19
    assert len(skipped) == 1 and skipped[0][0] == 17 and reason in skipped[0][1]
    assert sum(map(len, iter_batches(path, rows=4, skip_bad=True, skipped=[]))) == 19


def test_skipping_without_a_collector_warns(tmp_path):
    with pytest.warns(UserWarning, match="1 skipped, first line 17: expected one JSON object"):
        read(with_bad_17(tmp_path, b"{"), skip_bad=True)


def test_the_first_failure_is_told(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(lines(GOOD, GOOD | {"steps": [1]}, b"{", GOOD))
    with pytest.raises(DataError, match="line 2: steps"):
        read(path)
    notes = []
    read(path, skip_bad=True, skipped=notes)
    assert sorted(number for number, _ in notes) == [2, 3]


def test_the_first_good_row_says_which_columns_there_are(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(lines({"completion": 5, "id": "x"}, {"completion": "a"}, {"completion": "b"}))
    notes = []
    assert read(path, skip_bad=True, skipped=notes).completion == ["a", "b"]
    assert [number for number, _ in notes] == [1]


def test_characters_are_counted_where_there_are_no_tokens(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(lines({"completion": "éa", "steps": [1, 3]}))
    with pytest.raises(DataError, match="do not partition the 2 characters"):
        read(path)


def test_groups_must_agree_on_their_signals(tmp_path):
    rows = [
        {"completion": "a", "group": "p", "signals": {"s": {"level": "group", "values": [v]}}}
        for v in (1, None, 2)
    ]
    path = tmp_path / "r.jsonl"
    path.write_bytes(lines(*rows))
    with pytest.raises(
        DataError, match=r"r\.jsonl line 1: signals.s is 1.0 but another row of the same group"
    ):
        read(path)


def test_other_partitions_must_nest(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(
        lines(GOOD, GOOD).replace(b'"turns": [3]', b'"turns": [3], "partitions": {"thought": [2, 3]}')
    )
    with pytest.raises(DataError, match=r"r\.jsonl line 1: "):
        read(path)


def test_cut_off_gzip(tmp_path):
    path = tmp_path / "r.jsonl.gz"
    noise = np.random.default_rng(0).integers(0, 1000, (400, 50)).tolist()
    path.write_bytes(gzip.compress(lines(*({"tokens": row} for row in noise)))[:-2000])
    with pytest.raises(
        DataError, match=r"line \d+: the compressed data ends in the middle; the file was cut off"
    ):
        read(path)
    notes = []
    found = read(path, skip_bad=True, skipped=notes)
    assert 0 < len(found) < 400 and found.tokens.to_lists() == noise[: len(found)]
    assert len(notes) == 1
    path.write_bytes(b'{"completion": "plain"}\n')
    with pytest.raises(DataError, match="line 1: expected gzip data"):
        read(path)


def test_files_that_are_not_there_or_empty(tmp_path):
    with pytest.raises(
        DataError, match=r"unknown kind of file '\.csv'; expected one of \.jsonl, \.jsonl\.gz, \.parquet"
    ):
        read(tmp_path / "r.csv")
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        iter_batches(tmp_path / "none.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path / "folder.jsonl")
    (tmp_path / "empty.jsonl").write_bytes(b"\n\n")
    with pytest.raises(DataError, match=r"empty\.jsonl holds no rollouts$"):
        read(tmp_path / "empty.jsonl")
    (tmp_path / "empty.parquet").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"empty\.parquet: cannot be read as Parquet, it may have been cut off"
    ):
        read(tmp_path / "empty.parquet")
    (tmp_path / "bad.jsonl").write_bytes(b"{\n{\n")
    with pytest.raises(DataError, match=r"holds no rollouts \(2 skipped, first line 1: "):
        read(tmp_path / "bad.jsonl", skip_bad=True)
    with pytest.raises(DataError, match="at least 1"):
        iter_batches(tmp_path / "bad.jsonl", rows=0)
    assert issubclass(DataError, GuerdonError)


def table(tmp_path, **columns):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_columns_of_other_names_or_types(tmp_path):
    with pytest.raises(
        DataError, match=r"expected a column 'completion' or 'tokens'; did you mean 'completions'"
    ):
        read(table(tmp_path, completions=["a"]))
    with pytest.raises(
        DataError, match=r"column 'tokens': expected lists of integers, got list<\w+: string>"
    ):
        read(table(tmp_path, tokens=[["a"]]))
    with pytest.raises(DataError, match=r"column 'tokens': expected lists of integers, got int64"):
        read(table(tmp_path, tokens=[1]))
    with pytest.raises(DataError, match=r"column 'signals': expected a struct"):
        read(table(tmp_path, completion=["a"], signals=[1.0]))
    with pytest.raises(DataError, match=r"column 'signals'\.s: expected a struct"):
        read(table(tmp_path, completion=["a"], signals=[{"s": 1.0}]))
    with pytest.raises(DataError, match=r"row 0: completion: expected text or a list of messages"):
        read(table(tmp_path, completion=[1]))


def test_parquet_rows_are_named_and_can_be_skipped(tmp_path):
    cases = {
        "logprobs: expected 2 values, one per token, got 1": {"logprobs": [[0.1], [0.1], [0.1]]},
        "tokens: expected integers of 32 bits in every place": {"tokens": [[1], [2], [2**40, 1]]},
        "tokens: expected integers of 32 bits in every place ": {"tokens": [[1], [2], [None, 1]]},
        "acted: expected booleans (or 0 and 1)": {"acted": [[0], [1], [1, 2]]},
        "steps: [1] do not partition the 2 tokens": {"steps": [[1], [1], [1]]},
        "has no 'id' but the rows before have": {"id": ["a", "b", None]},
        "meta: expected JSON text": {"meta": ["{}", None, "{"]},
        "signals.s: expected level 'rollout'": {
            "signals": [{"s": {"level": level, "values": [1.0]}} for level in ("rollout", "rollout", "group")]
        },
    }
    for reason, columns in cases.items():
        path = table(tmp_path, **{"tokens": [[1], [2], [3, 4]], **columns})
        with pytest.raises(DataError, match=re.escape(f"r.parquet row 2: {reason.strip()}")):
            read(path)
        notes = []
        assert len(read(path, skip_bad=True, skipped=notes)) == 2
        assert [row for row, _ in notes] == [2]


def test_parquet_of_other_programs(tmp_path):
    path = table(
        tmp_path,
        prompt=[[{"role": "user", "content": "hi"}]],
        tokens=pa.array([[1, 2]], pa.list_(pa.int64(), 2)),
        acted=pa.array([[1, 0]], pa.list_(pa.uint8())),
        logprobs=pa.array([[-0.5, None]], pa.list_(pa.float64())),
        steps=pa.array([[1, 2]], pa.large_list(pa.int32())),
        state=pa.array([["a", "b"]]),
        meta=[{"k": 1}],
        reference=["4"],
        score=[0.5],
        signals=[{"prm": {"level": "step", "values": [1, None]}}],
    )
    found = read(path)
    assert found.tokens.to_lists() == [[1, 2]] and found.tokens.values.dtype == np.int32
    assert found.acted.to_lists() == [[True, False]]
    assert found.prompt == [[{"role": "user", "content": "hi"}]] and found.reference == ["4"]
    assert found.meta == [{"k": 1, "score": 0.5}]
    assert np.array_equal(found.signals["prm"].values, [1.0, np.nan], equal_nan=True)


def test_damaged_parquet(tmp_path):
    path = tmp_path / "r.parquet"
    write(Rollouts(tokens=Ragged.from_lists([list(range(5000))], np.int32)), path)
    whole = path.read_bytes()
    for damage in (whole[:-100], whole[:100], whole[:200] + bytes(400) + whole[600:]):
        path.write_bytes(damage)
        with pytest.raises(DataError, match=r"r\.parquet: cannot be read as Parquet"):
            read(path)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_writing_is_all_or_nothing(tmp_path, suffix):
    path = tmp_path / f"r{suffix}"
    write(Rollouts(completion=["old"]), path)

    def broken():
        yield Rollouts(completion=["new"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_batches(path, broken())
    with pytest.raises(DataError, match="there are no rollouts to write"):
        write_batches(path, [])
    with pytest.raises(DataError, match="batch 1 has 'tokens' unlike the batches before"):
        tokens = Ragged.from_lists([[1]], np.int32)
        write_batches(path, [Rollouts(completion=["a"]), Rollouts(completion=["a"], tokens=tokens)])
    with pytest.raises(DataError, match="row 0: meta cannot be written as JSON"):
        write(Rollouts(completion=["a"], meta=[{"x": object()}]), path)
    assert read(path).completion == ["old"]
    assert os.listdir(tmp_path) == [path.name]


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    made = Rollouts(completion=["a"])
    with pytest.raises(DataError, match="does not exist; make it first"):
        write(made, tmp_path / "none" / "r.jsonl")
    with pytest.raises(DataError, match="unknown kind of file"):
        write(made, tmp_path / "r.txt")
    if os.path.exists("/dev/full"):
        from guerdon.data import jsonl

        writer = jsonl.Writer

        def full(path, zipped):
            path.symlink_to("/dev/full")
            return writer(path, zipped)

        monkeypatch.setattr(jsonl, "Writer", full)
        with pytest.raises(DataError, match="cannot be written: No space left on device"):
            write(made, tmp_path / "r.jsonl")
        assert os.listdir(tmp_path) == []


def test_signals_keep_one_level_over_batches(tmp_path):
    path = tmp_path / "r.jsonl"
    rows = [
        {"tokens": [1], "signals": {"s": {"level": level, "values": [1]}}} for level in ("token", "rollout")
    ]
    path.write_bytes(lines(*rows))
    with pytest.raises(
        DataError, match=r"line 2: signals\.s: expected level 'token' as in the rows before, got 'rollout'"
    ):
        list(iter_batches(path, rows=1))


def test_columns_seen_once_stay(tmp_path):
    path = tmp_path / "r.jsonl"
    first = {"completion": "a", "reference": 1, "signals": {"s": {"level": "rollout", "values": [1]}}}
    path.write_bytes(lines(first, {"completion": "b"}))
    one, two = iter_batches(path, rows=1)
    assert two.reference == [None] and np.isnan(two.signals["s"].values).all()
    assert len(Rollouts.concat([one, two])) == 2
    assert isinstance(one.signals["s"], Signal)
