"""Chunks hold what readers of records read, whatever their size and wherever reading begins."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored import numbered, write_lines

import guerdon
from guerdon.data import Rollouts, io
from guerdon.errors import DataError
from guerdon.score.chunk import SeenGroups
from guerdon.score.jsonl_source import JsonlSource, parse_lines, to_columns
from guerdon.score.parquet_source import ParquetSource


def source_of(path: Path, **options):
    kind = ParquetSource if path.suffix == ".parquet" else JsonlSource
    return kind(path, **options)


def everything(chunks) -> Rollouts:
    return Rollouts.concat([chunk.rollouts(range(len(chunk)), None) for chunk in chunks])


def same(ours: Rollouts, theirs: Rollouts) -> bool:
    return ours.replace(meta=[dict(m) for m in ours.meta or []] or None) == theirs.replace(
        meta=[dict(m) for m in theirs.meta or []] or None
    )


RECORDS = [
    {
        "id": f"r{i}",
        "group": f"g{i // 3}",
        "prompt": [{"role": "user", "content": "é"}],
        "completion": "xy" * (1 + i % 4),
        "steps": list(range(2, 2 + 2 * (1 + i % 4), 2)),
        "level": i,
        "signals": {"s": {"level": "step", "values": [None] * (1 + i % 4)}},
    }
    for i in range(100)
]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
@pytest.mark.parametrize("records", [RECORDS, numbered(100)], ids=["rich", "plain"])
def test_chunks_hold_all_records_in_order(tmp_path: Path, suffix: str, records: list[dict]):
    path = tmp_path / f"in{suffix}"
    guerdon.write(guerdon.read(write_lines(tmp_path / "plain.jsonl", records)), path)
    expected = guerdon.read(path)
    for size in (1, 7, 1000):
        for options in ({}, {"whole_groups": True}, {"gather": True}):
            chunks = list(source_of(path, **options).chunks({}, lambda size=size: size))
            found = everything(chunks)
            assert [r for c in chunks for r in c.numbers] == list(
                range(100) if suffix == ".parquet" else range(1, 101)
            )
            assert found.id == expected.id and found.completion == expected.completion
            assert found.prompt == expected.prompt
            assert [dict(m) for m in found.meta or []] == [dict(m) for m in expected.meta or []]
            if records is RECORDS:
                assert found.partitions["step"] == expected.partitions["step"]
            if "gather" in options:
                assert len(chunks) == 1
            if "whole_groups" in options:
                groups = [
                    {r["group"] for r in records if r["id"] in c.rollouts(range(len(c)), None).id}
                    for c in chunks
                ]
                assert all(not a & b for a, b in pairwise(groups))


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_reading_begins_and_ends_where_it_is_told(tmp_path: Path, suffix: str):
    path = tmp_path / f"in{suffix}"
    guerdon.write(guerdon.read(write_lines(tmp_path / "plain.jsonl", numbered(50))), path)
    rng = random.Random(0)
    for whole_groups in (False, True):
        source = source_of(path, whole_groups=whole_groups)
        chunks = list(source.chunks({}, lambda: rng.randrange(1, 9)))
        for start, end in ((0, 3), (2, 5), (4, len(chunks) - 1)):
            after = json.loads(json.dumps(chunks[start].after))
            rest = list(source.chunks(after, lambda: 4, chunks[end].after))
            ids = [i for c in rest for i in c.column("prompt")]
            assert ids == [i for c in chunks[start + 1 : end + 1] for i in c.column("prompt")]
            labels = [label for c in chunks[: start + 1] for label in c.labels()]
            assert list(source.labels_until(after)) == labels
    ends = list(source_of(path).positions(20))
    assert [next(source_of(path).chunks(end, lambda: 1), None) is None for end in ends] == [
        False,
        False,
        True,
    ]


def test_a_group_longer_than_a_chunk(tmp_path: Path):
    records = [{"group": "g", "completion": "x"}] * 50 + [{"group": "h", "completion": "x"}]
    for suffix in (".jsonl", ".parquet"):
        path = tmp_path / f"in{suffix}"
        guerdon.write(guerdon.read(write_lines(tmp_path / "plain.jsonl", records)), path)
        assert [len(c) for c in source_of(path, whole_groups=True).chunks({}, lambda: 3)] == [50, 1]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_long_records_make_short_chunks(tmp_path: Path, suffix: str):
    path = tmp_path / f"in{suffix}"
    rng = random.Random(0)
    records = [{"group": f"g{i // 50}", "completion": rng.randbytes(100_000).hex()} for i in range(200)]
    guerdon.write(guerdon.read(write_lines(tmp_path / "plain.jsonl", records)), path)
    for options in ({}, {"whole_groups": True}):
        chunks = list(source_of(path, **options).chunks({}, lambda: 8192))
        sizes = [len(c) for c in chunks]
        assert sum(sizes) == 200 and max(sizes) <= 130
        assert [i for c in chunks for i in c.column("completion")] == [r["completion"] for r in records]


def test_records_without_group_end_anywhere(tmp_path: Path):
    path = write_lines(tmp_path / "in.jsonl", [{"completion": "x"}] * 10)
    chunks = list(JsonlSource(path, whole_groups=True).chunks({}, lambda: 4))
    assert [len(c) for c in chunks] == [4, 4, 2]
    assert chunks[0].group_units() == [[0], [1], [2], [3]]


def test_blank_lines_marks_and_line_ends(tmp_path: Path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"completion": "a"}\r\n\r\n  {"completion": "b"}  \n\n\n{"completion": "c"}'
    )
    for size in (1, 2, 10):
        chunks = list(JsonlSource(path).chunks({}, lambda size=size: size))
        assert [t for c in chunks for t in c.column("completion")] == ["a", "b", "c"]
        assert [n for c in chunks for n in c.numbers] == [1, 3, 6]
        assert [line for c in chunks for line in c.payload] == [
            b'{"completion": "a"}',
            b'{"completion": "b"}',
            b'{"completion": "c"}',
        ]


_line = st.sampled_from(
    [
        b"",
        b'{"completion": "a"}',
        b'{"completion": "a", "group": 1}',
        b'{"completion": null}',
        b'{"completion": ["a"]}',
        b'{"completion": "a", "signals": {"s": {"level": "rollout", "values": [1]}}}',
        b'{"completion": "a", "signals": {"s": {"level": "rollout", "values": [1, 2]}}}',
        b'{"completion": "a", "signals": {"s": {"level": "group", "values": [2]}}, "group": 1}',
        b'{"completion": "ab", "partitions": {"x": [1, 2], "y": [2]}}',
        b'{"completion": "ab", "partitions": {"x": [2], "y": [1, 2]}}',
        b'{"completion": "ab", "steps": [1, 2]}',
        b'{"completion": "ab", "steps": [1]}',
        b'{"tokens": [1, 2], "logprobs": [0, null]}',
        b'{"tokens": [1, 2], "logprobs": [0]}',
        b'{"tokens": [1.5]}',
        b'{"a": [{"b": 1}',
        b'{"c": 2}]}',
        b"[]",
        b"3",
        b'{"completion": "\xff"}',
        b'{"completion": "a", "meta": {"x": NaN}}',
        b'{"completion": "a"} x',
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_line, min_size=1, max_size=12), st.integers(1, 5))
def test_the_same_records_are_usable_as_for_readers(tmp_path_factory, lines: list[bytes], size: int):
    path = tmp_path_factory.mktemp("lines") / "in.jsonl"
    path.write_bytes(b"\n".join(lines))
    skipped: list[tuple[int, str]] = []
    try:
        theirs = [
            m for r in io.iter_batches(path, size, skip_bad=True, skipped=skipped) for m in range(len(r))
        ]
    except DataError:
        theirs = []
    chunks = list(JsonlSource(path, skip_bad=True).chunks({}, lambda: size))
    ours = [reason for c in chunks for reason in c.skipped]
    if size == 1 or len(lines) <= size:  # what a group's records agree on depends on who comes in one batch
        assert sum(len(c) for c in chunks) == len(theirs)
        assert ours == sorted(skipped)
    with_text = [c for c in chunks if len(c)]
    assert all(len(c.payload) == len(c) == len(c.numbers) for c in with_text)


def test_many_lines_at_once_mean_the_same_as_one_by_one():
    lines = [b'{"a": [{"b": 1}', b'{"c": 2}]}', b'{"a": 1}, {"b": 2}', b'{"x": 1}']
    records, bad = parse_lines(lines)
    assert records == [None, None, None, {"x": 1}] and sorted(bad) == [0, 1, 2]
    assert parse_lines([b"", b'{"x": 1}', b""])[0] == [None, {"x": 1}, None]
    assert parse_lines([]) == ([], {})


def test_the_fast_way_to_columns_and_the_thorough_one_agree():
    records = [{"id": str(i), "completion": "c", "reference": None, "x": i, "meta": {}} for i in range(5)]
    fast, _ = to_columns(records)
    slow, _ = to_columns([*records, {"completion": "c", "id": "5"}])
    assert list(fast.cells) == list(slow.cells)
    assert all(slow.cells[name][:5] == values for name, values in fast.cells.items())
    assert slow.extra["x"][:5] == fast.extra["x"]


def test_groups_that_ended_are_remembered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(SeenGroups, "_RECENT", 10)
    seen = SeenGroups()
    for i in range(100):
        assert f"g{i}" not in seen and i not in seen
        seen.add(f"g{i}")
        seen.add(i)
    assert all(f"g{i}" in seen and i in seen for i in range(100)) and 100 not in seen
