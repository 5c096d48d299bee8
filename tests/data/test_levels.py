"""Signals moved up and down the levels, against plain Python over nested spans."""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from guerdon.data import Ragged, Rollouts, Signal
from guerdon.data import levels as lv
from guerdon.data.kernels import HOW_REDUCE, HOW_SPREAD
from guerdon.errors import DataError

quick = settings(deadline=None, max_examples=60)
nan = math.nan
LEVELS = ("token", "step", "turn", "rollout", "group")


@st.composite
def nested(draw):
    """Rollouts with steps inside turns, empty rollouts and uneven groups; and their spans as tuples."""
    shape = draw(
        st.lists(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), max_size=3), max_size=5)
    )
    group = draw(st.lists(st.integers(0, 2), min_size=len(shape), max_size=len(shape)))
    steps = [list(accumulate(n for turn in rollout for n in turn)) for rollout in shape]
    turns = [list(accumulate(map(sum, rollout))) for rollout in shape]
    lengths = [sum(map(sum, rollout)) for rollout in shape]
    rollouts = Rollouts(
        tokens=Ragged.from_lengths(np.zeros(sum(lengths), np.int32), lengths),
        group=np.array(group, np.int64),
        partitions={
            "turn": Ragged.from_lists(turns, dtype=np.int64),
            "step": Ragged.from_lists(steps, dtype=np.int64),
        },
    )
    return rollouts, units(steps, turns, lengths, group)


def units(steps, turns, lengths, group):
    """Level -> for every span the flat positions of its tokens, grouped rollouts side by side."""
    starts = [sum(lengths[:r]) for r in range(len(lengths) + 1)]

    def spans(ends):
        return [
            [starts[r] + t for t in range(a, b)]
            for r, row in enumerate(ends)
            for a, b in zip([0, *row], row, strict=False)
        ]

    whole = [list(range(starts[r], starts[r + 1])) for r in range(len(lengths))]
    return {
        "token": [[i] for i in range(starts[-1])],
        "step": spans(steps),
        "turn": spans(turns),
        "rollout": whole,
        "group": [[i for r, g in enumerate(group) if g == k for i in whole[r]] for k in sorted(set(group))],
    }


def parts_of(spans, fine, coarse):
    """For every coarse span the indices of the fine spans inside it."""
    inside = []
    for big in spans[coarse]:
        members = set(big)
        inside.append([k for k, small in enumerate(spans[fine]) if small and members.issuperset(small)])
    return inside


@quick
@given(nested(), st.sampled_from(HOW_REDUCE), st.booleans(), st.data())
def test_reduce(batch, how, skip_missing, data):
    rollouts, spans = batch
    fine = data.draw(st.sampled_from(LEVELS[:3]))
    coarse = data.draw(st.sampled_from(LEVELS[LEVELS.index(fine) + 1 :]))
    n = rollouts.count(fine)
    values = data.draw(st.lists(st.sampled_from([-1.5, 0.0, 1.0, 2.0, nan]), min_size=n, max_size=n))
    got = rollouts.reduce(Signal(values, fine, "x"), coarse, how, skip_missing)
    rows = parts_of(spans, fine, coarse)
    if coarse == "group":  # rollouts of a group in their order
        assert all(row == sorted(row) for row in rows)
    flat = [values[k] for row in rows for k in row]
    expected = oracles.reduce(flat, np.cumsum([0, *map(len, rows)]), how, skip_missing)
    assert (got.level, got.name, len(got)) == (coarse, "x", rollouts.count(coarse))
    assert_allclose(got.values, expected, rtol=1e-12)


@quick
@given(nested(), st.sampled_from(HOW_SPREAD), st.data())
def test_spread(batch, how, data):
    rollouts, spans = batch
    coarse = data.draw(st.sampled_from(LEVELS[1:4]))
    fine = data.draw(st.sampled_from(LEVELS[: LEVELS.index(coarse)]))
    n = rollouts.count(coarse)
    values = data.draw(st.lists(st.sampled_from([-1.5, 0.0, 1.0, nan]), min_size=n, max_size=n))
    got = rollouts.spread(Signal(values, coarse, "x"), fine, how)
    rows = parts_of(spans, fine, coarse)
    expected = oracles.spread(values, np.cumsum([0, *map(len, rows)]), how)
    assert (got.level, got.name) == (fine, "x")
    assert_allclose(got.values, expected, rtol=1e-12)


@quick
@given(nested(), st.data())
def test_group_signals_reach_every_rollout_of_the_group(batch, data):
    rollouts, _ = batch
    labels, n = rollouts.groups()
    values = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0, nan]), min_size=n, max_size=n)))
    signal = Signal(values, "group", "rate")
    assert_array_equal(rollouts.spread(signal, "rollout").values, values[labels])
    wide = rollouts.spread(signal, "token").values
    assert_array_equal(wide, np.repeat(values[labels], rollouts.lengths))


@quick
@given(nested())
def test_span_lengths(batch):
    rollouts, spans = batch
    for level in LEVELS[:4]:
        assert lv.span_lengths(rollouts, level).tolist() == [len(span) for span in spans[level]]


def two():
    """Two rollouts: steps [2, 3] in one turn; steps [1] [3] in two turns."""
    return Rollouts(
        tokens=Ragged.from_lists([[0] * 3, [0] * 3], np.int32),
        group=np.array([4, 4]),
        partitions={"turn": Ragged.from_lists([[3], [1, 3]]), "step": Ragged.from_lists([[2, 3], [1, 3]])},
    )


def test_by_hand():
    r = two()
    token = Signal([1.0, 2, 3, 4, 5, 6], "token", "x")
    assert r.levels == LEVELS
    assert_array_equal(r.reduce(token, "step").values, [3, 3, 4, 11])
    assert_array_equal(r.reduce(token, "turn", "mean").values, [2, 4, 5.5])
    assert_array_equal(r.reduce(token, "group", "mean").values, [3.5])
    step = Signal([1.0, 2, 3, 4], "step", "s")
    assert_array_equal(r.reduce(step, "turn", "max").values, [2, 3, 4])
    assert_array_equal(r.spread(step, "token", "share").values, [0.5, 0.5, 2, 3, 2, 2])
    assert_array_equal(r.spread(Signal([1.0, 2, 3], "turn"), "step", "last").values, [0, 1, 2, 3])
    assert r.reduce(step, "step") is step
    assert r.spread(step, "step") is step


def test_a_group_is_reduced_over_its_parts_whatever_rollouts_they_are_in():
    """An empty rollout has no part, so it is not a missing one."""
    r = Rollouts(tokens=Ragged.from_lists([[], [1, 1], [1]], np.int32), group=np.array([0, 0, 0]))
    token = Signal([2.0, 4.0, 9.0], "token")
    for how, expected in {
        "mean": 5,
        "min": 2,
        "max": 9,
        "first": 2,
        "last": 9,
        "sum": 15,
        "prod": 72,
    }.items():
        assert_array_equal(r.reduce(token, "group", how).values, [expected])


def test_text_counts_characters_and_its_finest_level_is_its_finest_partition():
    r = Rollouts(completion=["ab\ncd", "", "x"], partitions={"step": Ragged.from_lists([[3, 5], [], [1]])})
    assert r.levels == ("step", "rollout", "group")
    assert_array_equal(r.reduce(Signal([1.0, 2, 3], "step"), "rollout").values, [3, 0, 3])
    assert_array_equal(lv.span_lengths(r, "step"), [3, 2, 1])
    assert_array_equal(lv.span_lengths(r, "rollout"), [5, 0, 1])
    with pytest.raises(DataError, match="no 'token' spans"):
        r.spread(Signal([1.0, 2, 3], "rollout"), "token")


def test_partitions_that_tie_can_be_moved_between_in_both_directions():
    """Whether they coincide depends on the batch; a recipe that names both must work on every batch."""
    r = Rollouts(
        completion=["abc", "de"],
        partitions={"phase": Ragged.from_lists([[3], [2]]), "thought": Ragged.from_lists([[3], [2]])},
    )
    signal = Signal([1.0, 2.0], "thought")
    assert_array_equal(r.reduce(signal, "phase").values, [1, 2])
    assert_array_equal(r.reduce(Signal([1.0, 2.0], "phase"), "thought").values, [1, 2])
    assert_array_equal(r.spread(Signal([1.0, 2.0], "phase"), "thought").values, [1, 2])
    same = Ragged.from_lists([[3], [2]])
    assert Rollouts(completion=["abc", "de"], partitions={"turn": same, "step": same}).levels[:2] == (
        "step",
        "turn",
    )


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (lambda r: r.reduce(Signal([1.0, 2, 3], "turn"), "step"), "'step' is not coarser than 'turn'"),
        (lambda r: r.reduce(Signal([1.0, 2], "rollout"), "token"), "'token' is not coarser than 'rollout'"),
        (lambda r: r.spread(Signal([1.0, 2], "rollout"), "group"), "'rollout' is not coarser than 'group'"),
        (lambda r: r.spread(Signal([1.0, 2, 3, 4], "step"), "turn"), "'step' is not coarser than 'turn'"),
        (
            lambda r: r.reduce(Signal([1.0, 2, 3, 4], "step"), "phase"),
            "no 'phase' spans .levels: token, step",
        ),
        (lambda r: r.reduce(Signal([1.0], "phase"), "rollout"), "no 'phase' spans"),
        (
            lambda r: r.reduce(Signal([1.0], "step", "prm"), "turn"),
            "'prm' has 1 values at level 'step'.* 4 such",
        ),
        (lambda r: r.reduce(Signal([1.0, 2, 3, 4], "step"), "turn", "median"), "unknown how='median'"),
        (lambda r: r.spread(Signal([1.0, 2], "rollout"), "step", "each"), "unknown how='each'"),
        (lambda r: r.spread(Signal([1.0], "group"), "token", "last"), "how='all' only"),
        (lambda r: r.reduce(np.ones(4), "turn"), "must be a Signal"),
    ],
)
def test_what_is_refused(move, message):
    with pytest.raises(DataError, match=message):
        move(two())
