"""What is written comes back: any rollouts, any format, and the very records that were read."""

from __future__ import annotations

import gzip
import json
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guerdon.data import Ragged, Rollouts, Signal, iter_batches, read, write, write_batches
from guerdon.data.keys import stable_key

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
QUICK = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

text = st.text(max_size=12) | st.sampled_from(
    ["", "é", "💡 x", "a\nb", '"quoted" \\', "\x00", "\ud800 alone", "\u2028"]
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool"]), "content": text}),
    max_size=3,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
float32 = st.floats(width=32) | st.sampled_from([0.1, 1.0, -0.0, 1e-10, 123456789.0, np.inf, -np.inf, np.nan])
float64 = st.floats() | st.sampled_from([0.1, 1.0, 1e300, np.inf, np.nan])


def ends_of(draw, length: int, among: list[int] | None = None) -> list[int]:
    places = range(1, length) if among is None else among[:-1]
    if length == 0:
        return []
    inner = draw(st.sets(st.sampled_from(list(places)), max_size=4)) if len(places) else set()
    return [*sorted(inner), length]


def ragged(draw, lengths, values, dtype) -> Ragged:
    rows = [draw(st.lists(values, min_size=n, max_size=n)) for n in lengths]
    return Ragged.from_lists([np.array(row, dtype=dtype) for row in rows], dtype=dtype)


@st.composite
def rollouts(draw) -> Rollouts:
    n = draw(st.integers(1, 4))
    rows = lambda cells: draw(st.lists(cells, min_size=n, max_size=n))  # noqa: E731
    maybe = lambda cells: rows(cells) if draw(st.booleans()) else None  # noqa: E731
    new = {
        "id": maybe(text),
        "group": np.array(rows(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 1))),
        "prompt": maybe(text | messages),
        "reference": maybe(anything),
        "images": maybe(st.lists(text, max_size=2)),
        "meta": maybe(st.dictionaries(st.text(max_size=4), anything, max_size=3)),
        "truncated": np.array(rows(st.booleans())),
    }
    if draw(st.booleans()):
        lengths = rows(st.integers(0, 6))
        new["tokens"] = ragged(draw, lengths, st.integers(-(2**31), 2**31 - 1), np.int32)
        new["acted"] = ragged(draw, lengths, st.booleans(), bool)
        for name in ("logprobs", "ref_logprobs", "entropy", "values"):
            new[name] = ragged(draw, lengths, float32, np.float32) if draw(st.booleans()) else None
        if draw(st.booleans()):
            new["advantages"] = ragged(draw, lengths, float64, np.float64)
        new["completion"] = maybe(text | messages)
    else:
        new["completion"] = rows(text | messages)
        lengths = [len(Rollouts(completion=[c]).text(0)) for c in new["completion"]]
    levels = ["rollout", "group", *(["token"] if "tokens" in new else [])]
    if draw(st.booleans()):
        steps = [ends_of(draw, length) for length in lengths]
        new["partitions"] = {"step": Ragged.from_lists(steps, np.int64)}
        levels.append("step")
        n_steps = sum(map(len, steps))
        if draw(st.booleans()):
            keys = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n_steps, max_size=n_steps)
            new["state"], new["node"] = np.array(draw(keys), np.int64), np.array(draw(keys), np.int64)
        if draw(st.booleans()):
            turns = [ends_of(draw, length, ends) for length, ends in zip(lengths, steps, strict=True)]
            new["partitions"]["turn"] = Ragged.from_lists(turns, np.int64)
            new["partitions"]["thought"] = Ragged.from_lists(turns, np.int64)
            levels += ["turn", "thought"]
    made = Rollouts(**new)
    for name in draw(st.sets(st.sampled_from(["outcome", "prm", "größe"]))):
        level = draw(st.sampled_from(levels))
        count = made.count(level)
        values = draw(st.lists(float64, min_size=count, max_size=count))
        made = made.with_signal(Signal(np.array(values, float), level, name))
    return made


@QUICK
@given(rollouts(), st.sampled_from(SUFFIXES))
def test_rollouts_come_back(tmp_path, made, suffix):
    write(made, tmp_path / f"r{suffix}")
    assert read(tmp_path / f"r{suffix}") == made


@QUICK
@given(rollouts(), st.sampled_from(SUFFIXES), st.integers(1, 3))
def test_batches_come_back(tmp_path, made, suffix, size):
    path = tmp_path / f"r{suffix}"
    parts = [made.select(np.arange(i, min(i + size, len(made)))) for i in range(0, len(made), size)]
    assert write_batches(path, parts) == len(made)
    read_whole = read(path)
    batches = list(iter_batches(path, rows=size))
    assert [len(batch) for batch in batches] == [len(part) for part in parts]
    assert read_whole == made
    for batch, part in zip(batches, parts, strict=True):
        assert batch == part


def everywhere(records: list[dict], tmp_path) -> list[list[dict]]:
    """The records after every way through the formats."""
    start = tmp_path / "start.jsonl"
    start.write_text("".join(json.dumps(record) + "\n" for record in records))
    found = []
    for ways in ([".jsonl"], [".jsonl.gz"], [".parquet"], [".parquet", ".parquet", ".jsonl", ".parquet"]):
        path = start
        for number, suffix in enumerate(ways):
            write(read(path), target := tmp_path / f"{number}{suffix}")
            path = target
        write(read(path), end := tmp_path / "end.jsonl")
        found.append([json.loads(line) for line in end.read_text().splitlines()])
    return found


FULL = {
    "id": "r1", "group": "p17", "prompt": [{"role": "user", "content": "1+1?"}], "completion": "é = 2",
    "reference": {"answer": [2]}, "images": ["a.png"], "meta": {"source": "x"}, "truncated": True,
    "tokens": [5, 6, 7], "acted": [1, 0, 1], "logprobs": [-0.1, None, -2.5],
    "ref_logprobs": [-0.25, 0.0, -3.0], "entropy": [0.5, 0.5, 0.5], "values": [0.1, 0.2, 0.3],
    "steps": [2, 3], "turns": [3], "partitions": {"thought": [2, 3]}, "state": ["s0", 4], "node": [1, 2],
    "signals": {
        "outcome": {"level": "rollout", "values": [1.0]},
        "prm": {"level": "step", "values": [None, 0.2]},
    },
    "advantages": [0.5, 0.0, -0.5], "difficulty": 3, "tags": ["a"], "nothing": None,
}  # fmt: skip


def test_every_field_is_written_back(tmp_path):
    other = json.loads(json.dumps(FULL)) | {"id": "r2", "completion": "", "tags": [], "nothing": 1.5}
    for name in ("tokens", "acted", "logprobs", "ref_logprobs", "entropy", "values", "advantages"):
        other[name] = []
    other |= {"steps": [], "turns": [], "partitions": {"thought": []}, "state": [], "node": []}
    other["signals"]["outcome"]["values"], other["signals"]["prm"]["values"] = [None], []
    for found in everywhere([FULL, other], tmp_path):
        assert found == [FULL, other]


A, B, C = {"completion": "a"}, {"completion": "b"}, {"completion": "c"}
LATE_SIGNAL = {"level": "group", "values": [0.5], "causes": {"0": "timeout"}}


@pytest.mark.parametrize(
    "records",
    [
        [A, B],
        [A | {"truncated": False}, B | {"truncated": True}, C],
        [{"tokens": [1], "group": 0}, {"tokens": [], "group": 1}],
        [{"tokens": [1, 2], "acted": [1, 1]}, {"tokens": [1, 2], "acted": [1, 0]}, {"tokens": [1]}],
        [A | {"reference": None}, A, B | {"reference": 2}],
        [A | {"meta": {}}, B, C | {"meta": {"x": 1}}],
        [A | {"id": 3}, B | {"id": "3"}],
        [A | {"group": 3}, B | {"group": "3"}, C | {"group": 2**80}],
        [A | {"k": 1, "meta": {"k": 2}}, B | {"meta": {"k": 3}}],
        [A | {"steps": [1], "state": ["x"]}, {"completion": "", "steps": [], "state": []}],
        [
            A | {"signals": {"s": {"level": "rollout", "values": [None]}}},
            B,
            C | {"signals": {"t": LATE_SIGNAL}},
        ],
    ],
)
def test_what_was_not_there_is_not_written(tmp_path, records):
    for found in everywhere(records, tmp_path):
        assert found == records


def test_fields_arrive_where_they_belong(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(FULL))
    made = read(path)
    assert made.group.tolist() == [stable_key("p17")]
    assert made.meta == [{"source": "x", "difficulty": 3, "tags": ["a"], "nothing": None}]
    assert made.state.tolist() == [stable_key("s0"), 4]
    assert made.truncated.tolist() == [True]
    assert made.acted[0].tolist() == [True, False, True]
    assert np.isnan(made.logprobs[0][1])
    assert made.tokens.values.dtype == np.int32 and made.logprobs.values.dtype == np.float32
    assert made.levels == ("token", "step", "thought", "turn", "rollout", "group")
    assert made.signals["prm"].level == "step" and np.isnan(made.signals["prm"].values[0])


def test_columns_are_writable_in_every_format(tmp_path):
    made = Rollouts(tokens=Ragged.from_lists([[1, 2], [3]], np.int32))
    for suffix in SUFFIXES:
        write(made, tmp_path / f"r{suffix}")
        found = read(tmp_path / f"r{suffix}")
        found.tokens.values[0] = 9
        found.acted.values[0] = False


def test_changes_win_over_what_was_read(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(
        '{"group": "a", "completion": "x", "level": 1}\n{"group": "b", "completion": "y", "level": 2}\n'
    )
    made = read(path)
    made.meta[0]["level"] = 7
    made = made.replace(group=np.array([5, made.group[1]]), truncated=np.array([False, True]))
    write(made.select([1, 0]), path)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"group": "b", "completion": "y", "truncated": True, "level": 2},
        {"group": 5, "completion": "x", "level": 7},
    ]


def test_origin_survives_copies_and_processes(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"group": "a", "completion": "x"}\n')
    made = read(path)
    for meta in (made.meta[0] | {"k": 1}, made.meta[0].copy(), pickle.loads(pickle.dumps(made.meta[0]))):
        write(made.replace(meta=[meta]), path)
        assert json.loads(path.read_text())["group"] == "a"
    write(made.replace(meta=[{**made.meta[0]}]), path)
    assert json.loads(path.read_text())["group"] == stable_key("a")


def test_missing_signals_are_nan_with_the_right_number_of_spans(tmp_path):
    path = tmp_path / "r.jsonl"
    rows = [
        {"tokens": [1, 2], "steps": [1, 2]},
        {"tokens": [3], "steps": [1], "signals": {"prm": {"level": "step", "values": [0.5]}}},
        {"tokens": [], "steps": []},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert np.array_equal(read(path).signals["prm"].values, [np.nan, np.nan, 0.5], equal_nan=True)


def test_group_signals_are_one_value_per_group(tmp_path):
    path = tmp_path / "r.parquet"
    signal = Signal(np.array([0.25, 0.75]), "group", "rate", {1: "few samples"})
    write(Rollouts(completion=["a", "b", "c"], group=[9, 4, 9]).with_signal(signal), path)
    found = read(path).signals["rate"]
    assert found.values.tolist() == [0.25, 0.75] and dict(found.causes) == {1: "few samples"}


def test_batches_know_their_place(tmp_path):
    for suffix in SUFFIXES:
        path = tmp_path / f"r{suffix}"
        start = tmp_path / "start.jsonl"
        start.write_text("".join(f'{{"completion": "{i}"}}\n' for i in range(5)))
        write_batches(path, iter_batches(start, rows=2))
        assert [batch.group.tolist() for batch in iter_batches(path, rows=2)] == [[0, 1], [2, 3], [4]]


def test_later_batches_may_widen_a_parquet_file(tmp_path):
    parts = [
        Rollouts(completion=["a"], group=[0], reference=["x"]),
        Rollouts(completion=[[{"role": "assistant", "content": "b"}]], group=[1], reference=[{"k": 1}]),
        Rollouts(completion=["c"], group=[2], meta=[{"m": 1}]).with_signal(
            Signal([np.nan], "rollout", "s", {0: "timeout"})
        ),
    ]
    write_batches(tmp_path / "r.parquet", iter(parts))
    write_batches(tmp_path / "r.jsonl", iter(parts))
    found = read(tmp_path / "r.parquet")
    assert found == read(tmp_path / "r.jsonl")
    assert found.completion == ["a", [{"role": "assistant", "content": "b"}], "c"]
    assert found.reference == ["x", {"k": 1}, None]
    assert found.signals["s"].causes == {2: "timeout"}


def test_the_file_being_read_may_be_rewritten(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("".join(f'{{"completion": "{i}"}}\n' for i in range(9)))
    write_batches(
        path, (b.with_signal(Signal(b.group * 1.0, "rollout", "s")) for b in iter_batches(path, rows=4))
    )
    assert read(path).signals["s"].values.tolist() == list(range(9))


def test_numbers_are_short_and_typed(tmp_path):
    path = tmp_path / "r.jsonl"
    values = np.array([0.1, 1.0, 1e-10, np.nan, np.inf, -np.inf, 2e20], np.float32)
    tokens = Ragged.from_lists([list(range(7))], np.int32)
    write(Rollouts(tokens=tokens, values=tokens.with_values(values)), path)
    assert '"values":[0.1,1.0,1e-10,null,1e999,-1e999,2e+20]' in path.read_text()
    assert np.array_equal(read(path).values.values, values, equal_nan=True)


def test_random_float32_survive_json(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**32, 50_000, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    tokens = Ragged.from_lengths(np.zeros(len(values), np.int32), [len(values)])
    write(Rollouts(tokens=tokens, values=tokens.with_values(values)), tmp_path / "r.jsonl")
    assert np.array_equal(read(tmp_path / "r.jsonl").values.values, values, equal_nan=True)


def test_bytes_and_byte_order_marks_and_line_ends(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"completion": "a"}\r\n\r\n  \n{"completion": "b"}')
    assert read(path).completion == ["a", "b"]


def test_images_may_be_bytes_in_parquet(tmp_path):
    made = Rollouts(completion=["a", "b"], images=[[b"\x89PNG"], []])
    write(made, tmp_path / "r.parquet")
    assert read(tmp_path / "r.parquet").images == [[b"\x89PNG"], []]


def test_gzip_is_deterministic(tmp_path):
    made = Rollouts(completion=["a"])
    write(made, tmp_path / "a.jsonl.gz")
    write(made, tmp_path / "b.jsonl.gz")
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).startswith(b'{"group":0,"completion":"a"')


def test_no_rollouts_can_be_written_but_not_read(tmp_path):
    for suffix in SUFFIXES:
        write(Rollouts(completion=["a"]).select([]), tmp_path / f"r{suffix}")
        with pytest.raises(ValueError, match="holds no rollouts"):
            read(tmp_path / f"r{suffix}")
