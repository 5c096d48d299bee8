"""Rollouts: columns that agree, selection and concatenation of every column, errors that name both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from guerdon.data import Ragged, Rollouts, Signal
from guerdon.data.rollouts import ROW_COLUMNS, STEP_COLUMNS, TOKEN_COLUMNS
from guerdon.errors import DataError

quick = settings(deadline=None, max_examples=50)
nan = np.nan


def full(lengths=(3, 0, 1, 2), group=(7, 3, 7, 3), seed=0):
    """Rollouts with every column filled; lengths are in tokens."""
    rng = np.random.default_rng(seed)
    n, total = len(lengths), sum(lengths)
    steps = [range(1, length + 1) for length in lengths]
    turns = [[length] if length else [] for length in lengths]

    def ragged(values):
        return Ragged.from_lengths(values, lengths)

    rate = dict.fromkeys(sorted(set(group)), 0.0) | {g: g / 10 for g in group}
    return Rollouts(
        id=[f"r{seed}.{i}" for i in range(n)],
        group=np.array(group),
        prompt=[f"p{g}" for g in group],
        completion=["ab" * length for length in lengths],
        reference=[{"answer": i} for i in range(n)],
        meta=[{"source": seed, "i": i} for i in range(n)],
        images=[np.full((1, 2), i) for i in range(n)],
        truncated=np.arange(n) % 2 == 0,
        tokens=ragged(rng.integers(0, 50, total)),
        acted=ragged(rng.random(total) < 0.5),
        **{
            name: ragged(rng.normal(size=total)) for name in ("logprobs", "ref_logprobs", "entropy", "values")
        },
        advantages=ragged(rng.normal(size=total)),
        partitions={"step": Ragged.from_lists(steps, np.int64), "turn": Ragged.from_lists(turns, np.int64)},
        state=rng.integers(-(2**63), 2**63 - 1, total),
        node=np.arange(total),
        signals={
            "outcome": Signal(rng.normal(size=n), "rollout", "outcome"),
            "prm": Signal(np.where(rng.random(total) < 0.3, nan, 1.0), "step", "prm"),
            "kl": Signal(rng.normal(size=total), "token", "kl"),
            "turns": Signal(rng.normal(size=sum(x > 0 for x in lengths)), "turn", "turns"),
            "rate": Signal(list(rate.values()), "group", "rate"),
        },
    )


def row(r, i):
    """Everything known about one rollout, as plain Python."""
    out = {name: getattr(r, name)[i] for name in ROW_COLUMNS if name != "images"}
    out["images"] = r.images[i].tolist()
    out |= {name: getattr(r, name)[i].tolist() for name in TOKEN_COLUMNS}
    out |= {name: ends[i].tolist() for name, ends in r.partitions.items()}
    out |= {"group": int(r.group[i]), "truncated": bool(r.truncated[i])}
    for name in STEP_COLUMNS:
        out[name] = Ragged(getattr(r, name), r.offsets("step"))[i].tolist()
    for name, signal in r.signals.items():
        if signal.level == "group":
            out[f"signal {name}"] = signal.values[r.groups()[0][i]]
        else:
            out[f"signal {name}"] = str(Ragged(signal.values, r.offsets(signal.level))[i].tolist())
    return out


# -- columns ---------------------------------------------------------------------------------------------


def test_defaults():
    r = Rollouts(tokens=Ragged.from_lists([[1, 2], []]))
    assert_array_equal(r.group, [0, 1])
    assert_array_equal(r.truncated, [False, False])
    assert r.acted == Ragged.from_lists([[True, True], []], bool)
    assert r.all_acted
    assert (r.completion, r.logprobs, r.state, dict(r.partitions), r.signals) == (None, None, None, {}, {})
    assert r.levels == ("token", "rollout", "group")
    assert repr(r) == "Rollouts(2 in 2 groups; 2 tokens; signals: none)"


def test_types():
    r = full()
    assert {name: getattr(r, name).values.dtype for name in TOKEN_COLUMNS} == TOKEN_COLUMNS
    assert (r.group.dtype, r.state.dtype, r.truncated.dtype) == (np.int64, np.int64, np.bool_)
    assert r.partitions["step"].values.dtype == np.int64


def test_groups_are_numbered_by_their_sorted_names():
    r = Rollouts(completion=["a"] * 5, group=[2**62, -5, 2**62, 0, -(2**63)])
    labels, n = r.groups()
    assert_array_equal(labels, [3, 1, 3, 2, 0])
    assert (n, labels.dtype, r.count("group")) == (4, np.int64, 4)


def test_keys_may_use_all_64_bits():
    keys = np.array([2**64 - 1, 2**63, 0], np.uint64)
    r = Rollouts(completion=["abc"], partitions={"step": Ragged.from_lists([[1, 2, 3]])}, state=keys)
    assert_array_equal(r.state.view(np.uint64), keys)


def test_text_of_messages():
    messages = [
        {"role": "assistant", "content": "one"},
        {"role": "tool", "content": None},
        {"role": "assistant", "content": [{"type": "image"}, {"type": "text", "text": "two"}, "three"]},
        {"role": "assistant"},
    ]
    r = Rollouts(completion=["plain", messages, []])
    assert [r.text(i) for i in range(3)] == ["plain", "one\n\ntwo\nthree\n", ""]
    assert_array_equal(r.lengths, [5, 15, 0])


def test_an_empty_batch():
    for r in (
        Rollouts(completion=[]),
        Rollouts(tokens=Ragged.from_lists([], np.int32)),
        full().select([]),
    ):
        assert (len(r), r.count("rollout"), r.count("group")) == (0, 0, 0)
        assert len(r.select([])) == 0
        assert len(Rollouts.concat([r, r])) == 0
        assert len(r.reduce(Signal([], "rollout"), "group")) == 0
        assert "0 in 0 groups" in repr(r)


def test_equality():
    assert full() == full()
    assert full() != full(seed=1)
    assert full() != full().select([0, 1, 2])
    assert full() != full().replace(images=[None] * 4)
    assert full() != "rollouts"
    with pytest.raises(TypeError):
        hash(full())


# -- new rollouts from old -------------------------------------------------------------------------------


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.data())
def test_selection_takes_every_column(lengths, data):
    n = len(lengths)
    group = data.draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n))
    r = full(lengths, group)
    picked = data.draw(st.lists(st.integers(-n, n - 1), max_size=6))
    selected = r.select(picked).validate()
    assert [row(selected, i) for i in range(len(picked))] == [row(r, i % n) for i in picked]
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    assert r.select(mask) == r.select(np.flatnonzero(mask))


@quick
@given(st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=3), st.data())
def test_concatenation_takes_every_column(parts, data):
    def one(k, lengths):
        group = data.draw(st.lists(st.integers(-1, 2), min_size=len(lengths), max_size=len(lengths)))
        return full(lengths, group, seed=k)

    batches = [one(k, lengths) for k, lengths in enumerate(parts)]
    whole = Rollouts.concat(batches).validate()
    assert [row(whole, i) for i in range(len(whole))] == [row(r, i) for r in batches for i in range(len(r))]


@quick
@given(st.permutations(range(4)), st.integers(0, 4))
def test_selecting_and_concatenating_are_inverse(order, cut):
    r = full()
    assert Rollouts.concat([r.select(order[:cut]), r.select(order[cut:])]) == r.select(order)


def test_concatenation_of_text():
    a = Rollouts(completion=["a"], group=[1], signals={"o": Signal([1.0], "rollout", "o")})
    b = Rollouts(completion=["b"], group=[1], signals={"o": Signal([nan], "rollout", "o")})
    whole = Rollouts.concat([a, b])
    assert whole.completion == ["a", "b"]
    assert whole.groups()[1] == 1
    assert_array_equal(whole.signals["o"].values, [1, nan])


def test_group_signals_meet_in_concatenation():
    def part(group, value):
        return Rollouts(completion=["a"], group=[group], signals={"rate": Signal([value], "group", "rate")})

    whole = Rollouts.concat([part(5, 0.5), part(2, 0.2), part(5, nan), part(2, 0.2)])
    assert_array_equal(whole.signals["rate"].values, [0.2, 0.5])
    with pytest.raises(DataError, match="'rate': group 5 has another value in part 1"):
        Rollouts.concat([part(5, 0.5), part(5, 0.6)])


def test_replace_merges_signals_and_partitions():
    r = full()
    more = r.replace(
        signals={"new": Signal(np.ones(4), "rollout", "new")},
        partitions={"block": Ragged.from_lists([[1, 3], [], [1], [2]])},
    )
    assert list(more.signals) == [*r.signals, "new"]
    assert set(more.partitions) == {"step", "turn", "block"}
    assert "new" not in r.signals
    assert r.with_signal(Signal(np.zeros(4), "rollout", "outcome")).signals["outcome"].values.sum() == 0


def test_token_columns_are_kept_without_a_copy_where_the_type_fits():
    tokens = np.array([1, 2, 3], np.int32)
    assert Rollouts(tokens=Ragged.from_lengths(tokens, [2, 1])).tokens.values is tokens


# -- what is refused -------------------------------------------------------------------------------------

TOKENS = Ragged.from_lists([[1, 2, 3], [4]], np.int32)
STEPS = Ragged.from_lists([[1, 3], [1]])


def ends(*lists):
    return Ragged.from_lists(lists, np.int64)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "need `completion` or `tokens`"),
        ({"completion": "one text"}, "'completion' must be a list"),
        ({"completion": ["a"], "prompt": "p"}, "'prompt' must be a list"),
        ({"completion": ["a", "b"], "prompt": ["p"]}, "'prompt' has 1 rows, expected 2"),
        ({"completion": ["a", "b"], "truncated": [True]}, "'truncated' has 1 rows, expected 2"),
        ({"tokens": TOKENS, "completion": ["a"]}, "'completion' has 1 rows, expected 2"),
        ({"tokens": TOKENS, "group": [1]}, "has 2 rows, expected 1 as in 'group'"),
        ({"tokens": TOKENS, "group": ["p1", "p2"]}, "'group' must be one flat array of 64-bit integers"),
        ({"tokens": TOKENS, "group": [0.5, 0.7]}, "'group' must be one flat array"),
        ({"tokens": TOKENS, "group": [nan, 1]}, "'group' must be one flat array"),
        ({"tokens": TOKENS, "group": [2**64, 1]}, "'group' must be one flat array"),
        ({"tokens": TOKENS, "group": [[1], [2]]}, "'group' must be one flat array"),
        ({"tokens": [[1, 2], [3]]}, "'tokens' must be Ragged, not list"),
        ({"tokens": TOKENS, "logprobs": np.ones(4)}, "'logprobs' must be Ragged, not ndarray"),
        (
            {"tokens": TOKENS, "logprobs": ends([1, 2], [3])},
            "row 0: column 'logprobs' has 2 values for 3 tokens",
        ),
        (
            {"tokens": TOKENS, "values": ends([1, 2, 3], [])},
            "row 1: column 'values' has 0 values for 1 tokens",
        ),
        ({"tokens": TOKENS, "acted": ends([1, 2, 3])}, "'acted' has 1 rows, expected 2"),
        ({"completion": ["a"], "entropy": ends([1])}, "'entropy' holds one value per token, but there is no"),
        ({"tokens": TOKENS, "partitions": {"step": [[3], [1]]}}, "'step' must be Ragged"),
        ({"tokens": TOKENS, "partitions": {"step": ends([3])}}, "'step' has 1 rows, expected 2"),
        (
            {"tokens": TOKENS, "partitions": {"step": ends([2], [1])}},
            r"row 0: step offsets \[2\] do not .* 3 tokens",
        ),
        ({"tokens": TOKENS, "partitions": {"step": ends([3], [0, 1])}}, r"row 1: step offsets \[0, 1\]"),
        (
            {"tokens": TOKENS, "partitions": {"step": ends([2, 2, 3], [1])}},
            r"row 0: step offsets \[2, 2, 3\]",
        ),
        ({"tokens": TOKENS, "partitions": {"step": ends([3], [])}}, r"row 1: step offsets \[\]"),
        ({"tokens": TOKENS, "partitions": {"step": ends([3, 1], [1])}}, "row 0: step offsets"),
        ({"tokens": TOKENS, "partitions": {"step": ends([-1, 3], [1])}}, "row 0: step offsets"),
        ({"tokens": ends([], [1]), "partitions": {"step": ends([1], [1])}}, "row 0: step .* its 0 tokens"),
        ({"completion": ["ab"], "partitions": {"step": ends([3])}}, "row 0: step .* its 2 characters"),
        (
            {"tokens": TOKENS, "partitions": {"step": ends([1, 3], [1]), "turn": ends([2, 3], [1])}},
            "row 0: turn ends at 2, inside a step",
        ),
        (
            {"tokens": TOKENS, "partitions": {"step": ends([3], [1]), "turn": ends([2, 3], [1])}},
            "row 0: turn ends at 2, inside a step",
        ),
        ({"tokens": TOKENS, "partitions": {"token": ends([3], [1])}}, "cannot be named 'token'"),
        ({"tokens": TOKENS, "state": [1, 2]}, "'state' holds one key per step, but there is no"),
        (
            {"tokens": TOKENS, "partitions": {"step": STEPS}, "state": [1, 2]},
            "'state' has 2 keys for 3 steps",
        ),
        (
            {"tokens": TOKENS, "partitions": {"step": STEPS}, "node": ["a", "b", "c"]},
            "'node' must be one flat",
        ),
        (
            {"tokens": TOKENS, "signals": {"o": Signal([1.0], "rollout", "o")}},
            "'o' has 1 values at level 'rollout'",
        ),
        ({"tokens": TOKENS, "signals": {"o": Signal([1.0], "step", "o")}}, "no 'step' spans"),
        ({"tokens": TOKENS, "signals": {"o": np.ones(2)}}, "'o' must be a Signal"),
    ],
)
def test_what_does_not_agree(columns, message):
    with pytest.raises(DataError, match=message):
        Rollouts(**columns)


def test_long_offsets_are_shortened_in_messages():
    with pytest.raises(DataError, match=r"\[1, 2, .* 12, '\.\.\.'\]"):
        Rollouts(completion=["a" * 30], partitions={"step": ends(list(range(1, 30)))})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "at least one part"),
        ([full(), Rollouts(tokens=TOKENS)], "'id' is missing in part 1"),
        (
            [Rollouts(tokens=TOKENS, partitions={"step": STEPS}), Rollouts(tokens=TOKENS)],
            "partition 'step' is not in every part .part 1",
        ),
        (
            [Rollouts(completion=["a"]), Rollouts(completion=["b"], prompt=["p"])],
            "'prompt' is missing in part 0",
        ),
        ([Rollouts(completion=["a"]), Rollouts(tokens=TOKENS)], "'completion' is missing in part 1"),
        (
            [
                Rollouts(completion=["a"], signals={"o": Signal([1.0], "rollout", "o")}),
                Rollouts(completion=["a"], signals={"o": Signal([1.0], "group", "o")}),
            ],
            "'o' is at level 'rollout' in part 0",
        ),
        (
            [
                Rollouts(completion=["a"], signals={"o": Signal([1.0], "rollout", "o")}),
                Rollouts(completion=["a"]),
            ],
            "signal 'o' is not in every part",
        ),
    ],
)
def test_parts_that_cannot_be_joined(parts, message):
    with pytest.raises(DataError, match=message):
        Rollouts.concat(parts)


@pytest.mark.parametrize("completion", [None, 5, [5], [["x"]]])
def test_completions_that_are_not_text(completion):
    with pytest.raises(DataError, match="row 1: completion must be text or chat messages"):
        Rollouts(completion=["a", completion]).text(1)


def test_no_text_and_no_name():
    with pytest.raises(DataError, match="decode them"):
        Rollouts(tokens=TOKENS).text(0)
    with pytest.raises(DataError, match="carried under its name"):
        Rollouts(tokens=TOKENS).with_signal(Signal([1.0, 2.0], "rollout"))
    with pytest.raises(DataError, match="row 2 selected from 2"):
        Rollouts(tokens=TOKENS).select([2])
