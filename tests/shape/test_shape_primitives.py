"""Pure functions of the shape room against hand-worked values and plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.context import Context
from guerdon.data import Ragged
from guerdon.errors import DataError, RecipeError
from guerdon.shape import along, gates, maps, references, schedules
from guerdon.shape.running import RunningMoments

FAST = settings(max_examples=50, deadline=None)
floats = st.floats(-50, 50)
rows = st.lists(st.lists(floats, max_size=6), min_size=1, max_size=6)


def ragged(lists):
    return Ragged.from_lists(lists, np.float64)


# -- along -------------------------------------------------------------------------------------------------


def test_delta_of_several_rollouts():
    r = ragged([[0.95, 0.9, 0.97, 0.6], [], [0.5], [0.4, 0.7]])
    drop, keep = along.delta(r.values, r.offsets), along.delta(r.values, r.offsets, "keep")
    np.testing.assert_allclose(drop, [0.05, -0.07, 0.97, 0, 0, 0.4, 0], atol=1e-12)
    np.testing.assert_allclose(keep, [0.05, -0.07, 0.37, 0.6, 0.5, -0.3, 0.7], atol=1e-12)


@FAST
@given(rows=rows)
def test_delta_telescopes_to_the_first_value(rows):
    r = ragged(rows)
    sums = [sum(d) for d in r.with_values(along.delta(r.values, r.offsets, "keep")).to_lists()]
    np.testing.assert_allclose(sums, [row[0] if row else 0.0 for row in rows], atol=1e-9)
    dropped = [sum(d) for d in r.with_values(along.delta(r.values, r.offsets)).to_lists()]
    np.testing.assert_allclose(dropped, [row[0] if len(row) > 1 else 0.0 for row in rows], atol=1e-9)
    assert (along.clip_delta(r.values, r.offsets, eta=50.0, last="keep").size) == r.total


@FAST
@given(rows=rows)
def test_suffix_max_scale_bounds_every_return(rows):
    r = ragged(rows)
    scaled = r.with_values(along.suffix_max_scale(r.values, r.offsets)).to_lists()
    assert all(abs(sum(row[k:])) <= 1.0 + 1e-9 for row in scaled for k in range(len(row)))


def test_discounted_total():
    r = ragged([[1.0, 2.0, 4.0], [], [3.0]])
    assert along.discounted_total(r.values, r.offsets, 0.5).tolist() == [3.0, 0.0, 3.0]
    assert along.discounted_total(r.values, r.offsets).tolist() == [7.0, 0.0, 3.0]


# -- maps --------------------------------------------------------------------------------------------------


@FAST
@given(x=st.floats(-700, 700))
def test_sigmoids_agree(x):
    assert maps.log_sigmoid(np.array(x)) <= 0
    assert math.exp(maps.log_sigmoid(np.array(x))) == pytest.approx(maps.sigmoid(np.array(x)), abs=1e-12)
    assert maps.sigmoid(np.array(x)) + maps.sigmoid(np.array(-x)) == pytest.approx(1.0)
    assert abs(maps.polynomial_sigmoid(np.array(x)) - maps.sigmoid(np.array(x))) < 0.05


def test_maps_keep_missing_values():
    x = np.array([np.nan, 1.0])
    for f in (
        maps.clip_above,
        maps.sigmoid,
        maps.log_sigmoid,
        maps.polynomial_sigmoid,
        lambda x: maps.hinge(x, 0.2),
        lambda x: maps.reciprocal_length(x, 10),
        lambda x: maps.over_limit(x, 3, 1),
        lambda x: maps.exponential_bonus(x, 0.1),
    ):
        assert np.isnan(f(x)).tolist() == [True, False]


def test_length_maps():
    assert maps.over_limit(np.array([300, 310.0]), 300, 0.01).tolist() == [0.0, pytest.approx(-0.1)]
    assert maps.reciprocal_length(np.array([0.0, 1000.0]), 1000).tolist() == [-4000.0, -1.0]
    assert maps.exponential_bonus(np.array([-1.0, 0.0]), 0.05).tolist() == [pytest.approx(0.0512711), 0.0]
    excess = maps.relative_excess(np.array([100, 80, 310, 9999.0]), 310.0)
    np.testing.assert_allclose(excess, [0.5967742, 0.6774194, 0, 1], atol=1e-7)


# -- gates -------------------------------------------------------------------------------------------------


def test_a_closed_gate_gives_zero_and_an_unknown_one_nothing():
    values, gate = np.array([np.nan, 2.0, 2.0, np.nan]), np.array([0.0, 0.0, np.nan, 1.0])
    np.testing.assert_array_equal(gates.gated(values, gate), [0, 0, np.nan, np.nan])


def test_priority_gates():
    top, middle = np.array([1.0, 1.0, 0.0, np.nan]), np.array([0.0, 1.0, 1.0, 1.0])
    found = gates.priority_gates([top, middle, middle], [0.5, 0.5])
    assert found[0].tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(found[1], [1, 1, 0, np.nan])
    np.testing.assert_array_equal(found[2], [0, 1, 0, np.nan])


def test_trust_is_of_the_group_and_of_present_values():
    labels = np.array([0, 0, 1, 1, 2, 2])
    judged = np.array([0.4, 0.9, 0.9, 0.4, 0.3, np.nan])
    outcome = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    np.testing.assert_allclose(gates.trust(judged, outcome, labels, 3), [math.exp(-0.5)] * 2 + [1] * 4)


def test_mixed_groups():
    values = np.array([1, 0.95, 1, 0, np.nan, np.nan, 0.1, 0.0])
    found = gates.mixed_groups(values, np.repeat(np.arange(4), 2), 4)
    assert found.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def test_z_scores_and_brevity_look_inside_only():
    length = np.array([1000, 2000, 3000, 50, 70.0])
    inside, labels = np.array([True, True, True, False, True]), np.array([0, 0, 0, 0, 1])
    assert gates.z_scores(length, inside, labels, 2).tolist() == [-1, 0, 1, 0, 0]
    assert gates.brevity(length, inside, labels, 2).tolist() == [1, 0.5, 0, 0, 0]
    near = gates.brevity(length, inside, labels, 2, "shortest")
    np.testing.assert_allclose(near, [1, 0.5, 1 / 3, 0, 1])


def test_surplus_and_pull():
    assert gates.surplus(0.75, 0.5) == 0.5 and gates.surplus(1.0, 0.5) == 1.0
    assert gates.surplus(0.4, 0.5) == 0.0 == gates.surplus(float("nan"), 0.5)
    assert gates.toward(np.array([2.0, -1.0]), np.array([1.0, -2.0]), 0.5).tolist() == [1.5, -1.5]


# -- references --------------------------------------------------------------------------------------------


@FAST
@given(
    rows=st.lists(st.lists(floats, min_size=1, max_size=6), min_size=1, max_size=6), q=st.floats(0.01, 0.99)
)
def test_quantiles_against_numpy(rows, q):
    refs = ragged([*rows, []])
    found = references.empirical_quantile(refs.values, refs.offsets, q)
    np.testing.assert_allclose(found[:-1], [np.quantile(row, q) for row in rows], atol=1e-9)
    assert np.isnan(found[-1])
    median = references.normal_quantile(refs.values, refs.offsets, 0.5)
    np.testing.assert_allclose(median[:-1], [np.mean(row) for row in rows], atol=1e-9)
    centred = references.mean_over(np.zeros(len(rows) + 1), refs.values, refs.offsets, lambda gap: gap)
    np.testing.assert_allclose(centred[:-1], [-np.mean(row) for row in rows], atol=1e-9)
    assert np.isnan(centred[-1])


def test_references_are_checked():
    found = references.ragged_references([1, [2.0, 3.0], {"rm": [4]}, None], "meta.ref_rewards", 1, "rm")
    assert found.to_lists() == [[1.0], [2.0], [4.0], []]
    with pytest.raises(DataError, match=r"row 1: `meta.ref_rewards`"):
        references.ragged_references([1, "high"], "meta.ref_rewards")


# -- statistics so far, schedules --------------------------------------------------------------------------


@FAST
@given(batches=st.lists(st.lists(floats, min_size=1, max_size=6), min_size=1, max_size=5))
def test_running_moments_against_numpy(batches):
    seen = RunningMoments()
    for batch in batches:
        seen.add(np.array([*batch, np.nan]))
    whole = np.concatenate(batches)
    assert seen.count == len(whole)
    assert seen.mean == pytest.approx(whole.mean(), abs=1e-9)
    assert seen.std == pytest.approx(whole.std(), abs=1e-6)
    assert (seen.low, seen.high) == (whole.min(), whole.max())
    again = RunningMoments()
    again.load_state_dict(seen.state_dict())
    assert again.state_dict() == seen.state_dict()


def test_nothing_seen_yet():
    seen = RunningMoments().add(np.array([np.nan]))
    assert seen.std == 0.0 and seen.state_dict()["low"] is None
    fresh = RunningMoments()
    fresh.load_state_dict(seen.state_dict())
    assert fresh.add(np.array([2.0])).state_dict() == RunningMoments().add(np.array([2.0])).state_dict()


def test_schedules():
    assert schedules.linear()(Context(progress=0.25)) == 0.75
    assert schedules.cosine()(Context(progress=0.5)) == pytest.approx(0.5)
    assert schedules.exponential(500)(Context(step=500)) == pytest.approx(math.exp(-1))
    named = schedules.schedule({"use": "linear", "start": 0.2, "end": 0.4}, "s")
    assert named(Context(progress=0.5)) == pytest.approx(0.3)
    for bad in (1.5, -0.1, True, "steep", None, {"use": "linear", "start": 2.0}):
        with pytest.raises(RecipeError):
            schedules.schedule(bad, "s")
    with pytest.raises(RecipeError, match=r"s must be a number in \[0, 1\], got 3"):
        schedules.schedule(lambda ctx: 3, "s")(Context())
    for horizon, step in ((0, 1), (-1, 1), (10, -1), (True, 1)):
        with pytest.raises(RecipeError):
            schedules.decay(step, horizon)
