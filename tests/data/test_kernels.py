"""Every kernel against plain Python on ragged rows with empty, one-part and missing entries."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from guerdon.data import kernels
from guerdon.errors import DataError

quick = settings(deadline=None, max_examples=60)
nan = np.nan
numbers = st.one_of(
    st.integers(-4, 4).map(float), st.floats(-100, 100, width=32).map(lambda x: x if abs(x) > 1e-3 else 0.0)
)
maybe = st.one_of(numbers, numbers, numbers, st.just(nan))
factors = st.sampled_from([0.0, 0.5, 0.9, 1.0])


def close(got, expected, **kwargs):
    assert_allclose(got, np.array(expected, dtype=np.float64), rtol=1e-9, atol=1e-9, **kwargs)


@st.composite
def segments(draw, entry=maybe):
    """(values, offsets) with empty and one-part segments."""
    lengths = draw(st.lists(st.integers(0, 6), max_size=8))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    n = int(offsets[-1])
    return np.array(draw(st.lists(entry, min_size=n, max_size=n)), dtype=np.float64), offsets


@st.composite
def labelled(draw, entry=maybe):
    """(values, labels, n_labels): uneven groups, unused labels, members of no group."""
    n, n_labels = draw(st.integers(0, 16)), draw(st.integers(1, 5))
    values = np.array(draw(st.lists(entry, min_size=n, max_size=n)), dtype=np.float64)
    labels = np.array(draw(st.lists(st.integers(-1, n_labels - 1), min_size=n, max_size=n)), dtype=np.int64)
    return values, labels, n_labels


def column(draw, n, entry):
    return np.array(draw(st.lists(entry, min_size=n, max_size=n)))


# -- segments --------------------------------------------------------------------------------------------


@quick
@given(segments(), st.sampled_from(kernels.HOW_REDUCE), st.booleans())
def test_reduce(data, how, skip_missing):
    close(kernels.segment_reduce(*data, how, skip_missing), oracles.reduce(*data, how, skip_missing))


@pytest.mark.parametrize(
    ("how", "strict", "lenient"),
    [
        ("sum", [6, 0, nan, nan, 4], [6, 0, nan, 5, 4]),
        ("mean", [2, nan, nan, nan, 4], [2, nan, nan, 2.5, 4]),
        ("min", [1, nan, nan, nan, 4], [1, nan, nan, 2, 4]),
        ("max", [3, nan, nan, nan, 4], [3, nan, nan, 3, 4]),
        ("last", [2, nan, nan, 3, 4], [2, nan, nan, 3, 4]),
        ("first", [1, nan, nan, nan, 4], [1, nan, nan, 2, 4]),
        ("prod", [6, 1, nan, nan, 4], [6, 1, nan, 6, 4]),
    ],
)
def test_reduce_by_hand(how, strict, lenient):
    values = np.array([1, 3, 2, nan, nan, 2, 3, 4])  # [1 3 2] [] [nan] [nan 2 3] [4]
    offsets = np.array([0, 3, 3, 4, 7, 8])
    assert_array_equal(kernels.segment_reduce(values, offsets, how), strict)
    assert_array_equal(kernels.segment_reduce(values, offsets, how, skip_missing=True), lenient)


@quick
@given(segments(), st.sampled_from(kernels.HOW_SPREAD))
def test_spread(data, how):
    values, offsets = kernels.segment_reduce(*data, "mean"), data[1]
    close(kernels.segment_spread(values, offsets, how), oracles.spread(values, offsets, how))


@quick
@given(segments(entry=numbers))
def test_share_and_last_conserve_the_sum(data):
    values, offsets = data
    total = kernels.segment_reduce(values, offsets)
    for how in ("share", "last", "first"):
        again = kernels.segment_reduce(kernels.segment_spread(total, offsets, how), offsets)
        close(again, total)


@quick
@given(segments(), st.sampled_from([1.0, -2.0, 0.0]), st.data())
def test_add(data, weight, more):
    _, offsets = data
    values = column(more.draw, len(offsets) - 1, maybe).astype(float)
    total = np.full(int(offsets[-1]), 7.0)
    kernels.segment_add(total, values, offsets, weight, first=True)
    wide = np.array(oracles.spread(values, offsets, "all"))
    close(total, weight * wide)
    start = data[0].copy()
    total = start.copy()
    kernels.segment_add(total, values, offsets, weight)
    expected = np.where(np.isnan(start), weight * wide, start + np.nan_to_num(weight * wide))
    close(total, expected)


@quick
@given(segments(), st.data())
def test_settle(data, more):
    values, mask = data[0], column(more.draw, len(data[0]), st.booleans()).astype(bool)
    everywhere, masked = values.copy(), values.copy()
    kernels.settle(everywhere)
    kernels.settle(masked, mask)
    assert_array_equal(everywhere, np.nan_to_num(values))
    assert_array_equal(masked, np.where(mask, np.nan_to_num(values), 0.0))


# -- scans -----------------------------------------------------------------------------------------------


@quick
@given(segments(), factors, st.booleans(), st.data())
def test_scan(data, decay, reverse, more):
    values, offsets = data
    mask = column(more.draw, len(values), st.booleans()).astype(bool)
    close(
        kernels.segment_scan(values, offsets, decay, reverse),
        oracles.scan(values, offsets, decay, reverse, [True] * len(values)),
    )
    close(
        kernels.segment_scan(values, offsets, decay, reverse, mask=mask),
        oracles.scan(values, offsets, decay, reverse, mask),
    )


def test_scan_by_hand():
    values, offsets = np.array([1.0, 2, 3, 4]), np.array([0, 3, 3, 4])
    assert_array_equal(kernels.segment_scan(values, offsets, 0.5), [2.75, 3.5, 3, 4])
    assert_array_equal(kernels.segment_scan(values, offsets, 0.5, reverse=False), [1, 2.5, 4.25, 4])
    mask = np.array([True, False, True, True])
    assert_array_equal(kernels.segment_scan(values, offsets, 0.5, mask=mask), [2.5, 0, 3, 4])


@quick
@given(segments(entry=numbers), factors, factors, st.data())
def test_gae(data, gamma, lam, more):
    rewards, offsets = data
    n = len(rewards)
    values = column(more.draw, n, numbers).astype(np.float32)
    mask = column(more.draw, n, st.booleans()).astype(bool)
    bootstrap = column(more.draw, len(offsets) - 1, numbers).astype(float)
    nothing = np.zeros(len(offsets) - 1)
    close(
        kernels.segment_gae(rewards, values, offsets, gamma, lam),
        oracles.gae(rewards, values, offsets, gamma, lam, [True] * n, nothing),
    )
    close(
        kernels.segment_gae(rewards, values, offsets, gamma, lam, mask, bootstrap),
        oracles.gae(rewards, values, offsets, gamma, lam, mask, bootstrap),
    )


@quick
@given(segments(entry=numbers), factors, st.data())
def test_gae_reduces_to_returns_and_to_temporal_differences(data, gamma, more):
    rewards, offsets = data
    values = column(more.draw, len(rewards), numbers).astype(float)
    returns = kernels.segment_scan(rewards, offsets, gamma)
    close(kernels.segment_gae(rewards, values, offsets, gamma, 1.0), returns - values)
    close(kernels.segment_gae(rewards, np.zeros(len(rewards)), offsets, gamma, 1.0), returns)
    after = np.append(values[1:], 0.0)
    after[offsets[1:][offsets[1:] > 0] - 1] = 0.0
    close(kernels.segment_gae(rewards, values, offsets, gamma, 0.0), rewards + gamma * after - values)


# -- labels ----------------------------------------------------------------------------------------------


@quick
@given(labelled(), st.data())
def test_moments(data, more):
    values, labels, n_labels = data
    weights = column(more.draw, len(values), st.sampled_from([0.0, 0.5, 1.0, 3.0])).astype(float)
    for w in (None, weights):
        got = kernels.label_moments(values, labels, n_labels, w)
        for mine, expected in zip(got, oracles.moments(values, labels, n_labels, w), strict=True):
            assert_allclose(mine, expected, rtol=1e-9, atol=1e-7)


@quick
@given(labelled(), st.sampled_from([0, 1, 2]))
def test_sum_mean_and_variance(data, ddof):
    values, labels, n_labels = data
    groups = oracles.members(values, labels, n_labels)
    close(kernels.label_sum(*data), [sum(g) for g in groups])
    close(kernels.label_mean(*data), [sum(g) / len(g) if g else nan for g in groups])
    expected = oracles.variance(values, labels, n_labels, ddof)
    assert_allclose(kernels.label_var(*data, ddof), expected, rtol=1e-9, atol=1e-7)


@quick
@given(labelled())
def test_leave_one_out(data):
    close(kernels.label_loo_mean(*data), oracles.loo_mean(data[0], data[1]))


@quick
@given(labelled(), st.booleans(), st.sampled_from(["average", "min", "first"]))
def test_rank(data, descending, ties):
    got = kernels.label_rank(*data, descending, ties)
    close(got, oracles.rank(data[0], data[1], descending, ties))


@quick
@given(labelled(), st.randoms(use_true_random=False))
def test_label_statistics_do_not_depend_on_the_order(data, random):
    values, labels, n_labels = data
    order = list(range(len(values)))
    random.shuffle(order)
    for mine, permuted in zip(
        kernels.label_moments(*data),
        kernels.label_moments(values[order], labels[order], n_labels),
        strict=True,
    ):
        assert_allclose(mine, permuted, rtol=1e-12, atol=1e-9)
    close(
        kernels.label_loo_mean(*data)[order], kernels.label_loo_mean(values[order], labels[order], n_labels)
    )
    close(kernels.label_rank(*data)[order], kernels.label_rank(values[order], labels[order], n_labels))


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e300, -7.7, 5e-324])
def test_equal_members_have_exactly_their_mean_and_no_deviation(value):
    values, labels = np.full(1001, value), np.zeros(1001, np.int64)
    count, mean, m2 = kernels.label_moments(values, labels, 1)
    assert (count[0], mean[0], m2[0]) == (1001, value, 0.0)
    assert (kernels.label_loo_mean(values, labels, 1) == value).all()
    assert kernels.masked_moments(values) == (value, 0.0, 1001)
    assert (kernels.whiten(values) == 0.0).all()


def test_a_large_common_offset_does_not_cost_the_variance():
    values = 1e9 + np.array([0.0, 1, 2, 3] * 5000)
    assert_allclose(kernels.label_var(values, np.zeros(20000, np.int64), 1, ddof=0), 1.25, rtol=1e-9)
    assert_allclose(kernels.masked_moments(values, ddof=0)[1], 1.25, rtol=1e-9)


# -- whitening -------------------------------------------------------------------------------------------


@quick
@given(segments(), st.data(), st.sampled_from([0, 1]), st.sampled_from([0.0, 1e-8]), st.booleans())
def test_whiten(data, more, ddof, eps, shift):
    values = data[0]
    mask = column(more.draw, len(values), st.booleans()).astype(bool)
    for m in (None, mask):
        keep = np.ones(len(values), bool) if m is None else mask
        got = kernels.whiten(values, m, ddof, eps, shift)
        expected = oracles.whiten(values, keep, ddof, eps, shift)
        assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
        zeroed = values.copy()
        assert kernels.whiten(zeroed, m, ddof, eps, shift, missing=0.0, out=zeroed) is zeroed
        close(zeroed, np.nan_to_num(got))


def test_whitening_over_many_blocks_equals_numpy():
    rng = np.random.default_rng(0)
    values, mask = rng.normal(3, 5, 100_001), rng.random(100_001) < 0.7
    values[rng.random(100_001) < 0.1] = nan
    kept = values[mask & ~np.isnan(values)]
    mean, variance, count = kernels.masked_moments(values, mask)
    assert_allclose([mean, variance, count], [kept.mean(), kept.var(ddof=1), len(kept)], rtol=1e-12)
    white = kernels.whiten(values, mask)
    assert_allclose(white[mask], (values[mask] - mean) / np.sqrt(variance + 1e-8), rtol=1e-12)
    assert (white[~mask] == 0).all()
    out = np.empty_like(values)
    assert_array_equal(kernels.whiten(values, mask, out=out), white)
    assert_array_equal(out, white)


def test_whitening_nothing_or_one_value():
    assert len(kernels.whiten(np.empty(0))) == 0
    assert kernels.masked_moments(np.empty(0))[2] == 0
    assert_array_equal(kernels.whiten(np.array([3.0])), [0.0])
    assert_array_equal(kernels.whiten(np.array([3.0, 5.0]), np.array([False, True])), [0.0, 0.0])
    assert_array_equal(kernels.whiten(np.array([3.0, 5.0]), np.zeros(2, bool)), [0.0, 0.0])
    assert np.isnan(kernels.masked_moments(np.array([nan, nan]))[0])


def test_whitening_refuses_infinite_values():
    with pytest.raises(DataError, match="infinite"):
        kernels.whiten(np.array([1.0, np.inf]))


# -- what may enter --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, np.int32, np.int64, np.uint8, np.bool_]
)
def test_number_types(dtype):
    values, offsets = np.array([1, 0, 1, 1]).astype(dtype), np.array([0, 1, 4], np.int32)
    assert_array_equal(kernels.segment_reduce(values, offsets), [1, 2])
    assert_array_equal(kernels.segment_scan(values, offsets), [1, 2, 2, 1])
    assert_array_equal(kernels.segment_gae(values, values, offsets), [0, 2, 1, 0])
    assert_array_equal(kernels.label_mean(values, np.array([0, 0, 1, 1]), 2), [0.5, 1])
    assert_allclose(kernels.whiten(values), (np.array([1, 0, 1, 1]) - 0.75) * 2)
    assert kernels.whiten(values).dtype == np.float64


def test_views_and_read_only_arrays():
    wide = np.arange(12, dtype=np.float64)
    every_other = wide[::2]
    frozen = every_other.copy()
    frozen.flags.writeable = False
    offsets = np.array([0, 0, 2, 5, 6])
    frozen_offsets = offsets.copy()
    frozen_offsets.flags.writeable = False
    mask = np.ones((6, 2), bool)[:, 0]
    for values in (every_other, frozen):
        for at in (offsets, frozen_offsets):
            assert_array_equal(kernels.segment_reduce(values, at), [0, 2, 18, 10])
            assert_array_equal(kernels.segment_scan(values, at, mask=mask), [2, 2, 18, 14, 8, 10])
            assert_array_equal(kernels.segment_spread(np.array([9.0, 1, 2, 3])[::1], at), [1, 1, 2, 2, 2, 3])
        assert_array_equal(kernels.label_mean(values, np.zeros(12, np.int64)[::2], 1), [5])
        assert abs(kernels.whiten(values, mask).sum()) < 1e-12
    assert_array_equal(wide, np.arange(12))


def test_more_threads_change_nothing():
    import numba

    rng = np.random.default_rng(1)
    values, labels = rng.normal(size=9_000_000), None
    offsets = np.arange(0, 9_000_001, 1000)
    before = numba.get_num_threads()
    results = []
    for threads in {1, before}:
        numba.set_num_threads(threads)
        scanned = kernels.segment_scan(values, offsets, 0.9)
        results.append((scanned, kernels.segment_reduce(values, offsets), kernels.whiten(scanned, labels)))
        assert numba.get_num_threads() == threads
    numba.set_num_threads(before)
    for one, other in zip(results[0], results[-1], strict=True):
        assert_array_equal(one, other)


FORKED = """
import os
import numpy as np
from guerdon.data import kernels

ones, offsets = np.ones(9_000_000), np.arange(0, 9_000_001, 1000)
assert kernels.segment_reduce(ones, offsets)[0] == 1000
child = os.fork()
if child == 0:
    os._exit(0 if kernels.segment_scan(ones[:10], np.array([0, 4, 10]))[0] == 4 else 1)
raise SystemExit(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_worker_may_use_kernels_its_parent_used():
    """OpenMP ends such a process; work of ordinary size must not need OpenMP."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "call",
    [
        lambda: kernels.segment_reduce(np.ones(3), np.array([0, 4])),
        lambda: kernels.segment_reduce(np.ones(3), np.array([1, 3])),
        lambda: kernels.segment_reduce(np.ones(3), np.array([0, 3, 2, 3])),
        lambda: kernels.segment_reduce(np.ones((3, 1)), np.array([0, 3])),
        lambda: kernels.segment_reduce(np.ones(3), np.array([0, 3]), "median"),
        lambda: kernels.segment_spread(np.ones(2), np.array([0, 3])),
        lambda: kernels.segment_spread(np.ones(1), np.array([0, 3]), "each"),
        lambda: kernels.segment_add(np.ones(2), np.ones(1), np.array([0, 3])),
        lambda: kernels.settle(np.ones(2), np.ones(3, bool)),
        lambda: kernels.segment_scan(np.ones(3), np.array([0, 3]), mask=np.ones(2, bool)),
        lambda: kernels.segment_gae(np.ones(3), np.ones(2), np.array([0, 3])),
        lambda: kernels.segment_gae(np.ones(3), np.ones(3), np.array([0, 3]), bootstrap=np.ones(2)),
        lambda: kernels.label_moments(np.ones(3), np.zeros(2, np.int64), 1),
        lambda: kernels.label_moments(np.ones(2), np.array([0, 1]), 1),
        lambda: kernels.label_moments(np.ones(2), np.array([0, 0]), 1, np.ones(3)),
        lambda: kernels.label_rank(np.ones(2), np.array([0, 0]), 1, ties="dense"),
        lambda: kernels.label_rank(np.ones(2), np.array([0, 5]), 1),
        lambda: kernels.whiten(np.ones(2), np.ones(3, bool)),
    ],
)
def test_what_does_not_fit_is_refused_before_compiled_code_reads_it(call):
    with pytest.raises(DataError):
        call()
