"""Kernels, baselines, sources and stages that compositions are made of, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from guerdon import credit
from guerdon.context import Context
from guerdon.credit.potentials import differences, gains
from guerdon.credit.reweighting import largest_suffix_sum, min_form, softmin_form
from guerdon.data import Ragged, Rollouts, Signal, kernels
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build

nan = np.nan
quick = settings(deadline=None, max_examples=40)


def rollouts(lengths=(2, 1, 3), group=(0, 0, 1), acted=None, **signals):
    """One-token steps."""
    ends = [list(range(1, n + 1)) for n in lengths]
    return Rollouts(
        tokens=Ragged.from_lists(ends, np.int32),
        acted=None if acted is None else Ragged.from_lengths(np.array(acted, bool), lengths),
        group=np.array(group),
        partitions={"step": Ragged.from_lists(ends, np.int64)},
        signals={
            k: Signal(v, "rollout" if len(v) == len(lengths) else "step", k) for k, v in signals.items()
        },
    )


# -- kernels -------------------------------------------------------------------------------------------------


@quick
@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([-(2**62), 0, 1, 2**62])), max_size=60))
def test_pairs_get_one_label_each(pairs):
    first = np.array([a for a, _ in pairs], np.int64)
    second = np.array([b for _, b in pairs], np.int64)
    labels, n = kernels.pair_labels(first, second)
    seen: dict[tuple[int, int], int] = {}
    expected = [seen.setdefault(pair, len(seen)) for pair in pairs]
    assert labels.tolist() == expected and n == len(seen)
    assert kernels.first_positions(labels).tolist() == [expected.index(k) for k in range(n)]


def test_pairs_of_different_length_are_refused():
    with pytest.raises(DataError, match="do not pair up"):
        kernels.pair_labels(np.zeros(2), np.zeros(3))


@quick
@given(st.lists(st.lists(st.booleans(), max_size=5), min_size=1, max_size=6))
def test_what_masks_say_about_segments(rows):
    ragged = Ragged.from_lists(rows, bool)
    assert kernels.segment_count(ragged.values, ragged.offsets).tolist() == [sum(row) for row in rows]
    expected = []
    for row, begin in zip(rows, ragged.offsets[:-1].tolist(), strict=True):
        chosen = [k for k, x in enumerate(row) if x] or [len(row) - 1]
        expected.append(begin + chosen[-1] if row else -1)
    assert kernels.segment_last(ragged.values, ragged.offsets).tolist() == expected


@quick
@given(
    st.lists(st.lists(st.tuples(st.sampled_from([1.0, 2.0, nan]), st.booleans()), max_size=4), min_size=1),
    st.sampled_from(["sum", "mean", "min", "max", "prod"]),
    st.booleans(),
)
def test_a_masked_reduce_is_one_over_what_counts(rows, how, skip):
    ragged = Ragged.from_lists([[x for x, _ in row] for row in rows])
    mask = np.array([m for row in rows for _, m in row], bool)
    kept = Ragged.from_lists([[x for x, m in row if m] for row in rows])
    got = kernels.segment_reduce(ragged.values, ragged.offsets, how, skip, mask=mask)
    assert_array_equal(got, kernels.segment_reduce(kept.values, kept.offsets, how, skip))
    with pytest.raises(DataError, match="takes no mask"):
        kernels.segment_reduce(ragged.values, ragged.offsets, "last", mask=mask)


# -- potentials and reweighting --------------------


def test_differences_and_gains():
    phi, offsets = np.array([0.1, 0.3, 0.3, 0.6, 0.5]), np.array([0, 4, 4, 5])
    assert_allclose(differences(phi, offsets), [nan, 0.2, 0, 0.3, nan])
    assert_allclose(differences(phi, offsets, np.array([0.0, 9.0, 0.2])), [0.1, 0.2, 0, 0.3, 0.3])
    assert_allclose(gains(phi, offsets), [0.2, 0, 0.3, nan, nan])


def test_minima_over_what_counts():
    r, offsets = np.array([0.9, -0.5, 0.8, nan, 0.4]), np.array([0, 3, 5])
    assert_allclose(min_form(r, offsets), [0.0, -1.3, 0.8, nan, 0.4])
    counted = np.array([True, False, True, False, True])
    assert_allclose(min_form(r, offsets, counted), [0, 0, 0.8, 0, 0.4])
    soft = softmin_form(r, offsets, 0.1, counted)
    weight = np.exp(-np.array([0.9, 0.8]) / 0.1)
    weight /= weight.sum()
    assert_allclose(soft, [0.9 * weight[0], 0, 0.8 * weight[1], 0, 0.4])


def test_largest_suffix_sum_leaves_missing_sums_out():
    values, offsets = np.array([5.0, nan, -2.0, 1.0, 1.0]), np.array([0, 3, 5])
    assert largest_suffix_sum(values, offsets) == 2.0
    assert largest_suffix_sum(values, offsets, np.array([True, False, True, True, True])) == 3.0
    assert largest_suffix_sum(np.full(2, nan), np.array([0, 2])) == 0.0


# -- units, singletons, running means --------------------


def test_units_of_statistics():
    batch = rollouts(lengths=(1, 3), group=(0, 0), outcome=[4.0, 0.0])
    mean = {"span": 2.0, "row": 1.0, "token": 1.0}
    for unit, m in mean.items():
        got = credit.Credit([credit.Level("outcome", baseline=credit.Mean(unit=unit))])(batch)
        assert_allclose(got.values, [4 - m, -m, -m, -m])
    with pytest.raises(RecipeError, match="unit must be one of span, token, row, node"):
        credit.Mean(unit="sample")
    with pytest.raises(DataError, match='needs per-step tree nodes: column "node"'):
        credit.Credit([credit.Level("outcome", baseline=credit.Mean(unit="node"))])(batch)


def test_eps_may_stand_inside_the_root():
    batch = rollouts(lengths=(1, 1), group=(0, 0), outcome=[1.0, 0.0])
    level = credit.Level("outcome", baseline=credit.MeanStd(ddof=0, eps=0.75, eps_place="var"))
    assert_allclose(credit.Credit([level])(batch).values, [0.5, -0.5])


def test_a_running_mean_goes_on_where_it_was():
    batch = rollouts(lengths=(1, 1), group=(0, 1), outcome=[1.0, 3.0])
    moving = credit.Credit([credit.Level("outcome", baseline=credit.MovingMean(0.5))])
    assert moving(batch).values.tolist() == [-1, 1]
    higher = batch.replace(signals={"outcome": Signal([5.0, nan], "rollout")})
    assert moving(higher).values.tolist() == [3, 0]
    other = credit.Credit([credit.Level("outcome", baseline=credit.MovingMean(0.5))])
    other.load_state_dict(moving.state_dict())
    assert other(batch).values.tolist() == moving(batch).values.tolist() == [1 - 3.5, 3 - 3.5]
    assert credit.grpo().state_dict() == {}
    with pytest.raises(RecipeError, match=r"decay must be a number in \[0, 1\]"):
        credit.MovingMean(1.5)


# -- compositions in recipes --------------------


def written(*levels, **more):
    return build("credit", {"use": "levels", "levels": list(levels), **more})


def test_systems_can_be_written_out():
    steps = [0.5, 0.2, 0.1, 0.3, 0.9, 0.4]
    batch = rollouts(prm=steps, outcome=[1.0, 0.0, 1.0])
    pure = written(
        {
            "source": "prm",
            "backup": {"use": "softmin", "temperature": 0.1},
            "baseline": "token_loo",
            "then": "reward_to_go",
        },
        {"source": "outcome", "baseline": "loo"},
    )
    assert_allclose(pure(batch).values, credit.pure()(batch).values)
    pav = written(
        {
            "source": {"use": "differences", "potential": "prm", "level": "step"},
            "then": ["fill", "reward_to_go"],
            "weight": 2.0,
        }
    )
    assert_allclose(pav(batch).values, [-0.6, -0.6, 0, 0.2, 0.2, -1.0])


def test_mixing_before_and_after_normalising_differ():
    batch = rollouts(lengths=(1, 1), group=(0, 0), a=[1.0, 0.0], b=[0.0, 10.0])
    before = written(
        {
            "source": {"use": "mixed", "level": "rollout", "parts": [["a", 1], ["b", 0.5]]},
            "baseline": "mean_std",
        }
    )
    after = written(
        {"source": "a", "baseline": "mean_std"}, {"source": "b", "baseline": "mean_std", "weight": 0.5}
    )
    half = np.sqrt(0.5)
    assert_allclose(before(batch).values, [-half, half], atol=1e-5)
    assert_allclose(after(batch).values, [half / 2, -half / 2], atol=1e-5)


def test_weights_may_follow_a_schedule():
    batch = rollouts(lengths=(1, 1), group=(0, 0), a=[1.0, 0.0])
    fading = written({"source": "a", "weight": {"use": "linear", "start": 1.0, "end": 0.0}})
    assert fading(batch, ctx=Context(progress=0.25)).values.tolist() == [0.75, 0]
    assert fading(batch).values.tolist() == [1, 0]
    with pytest.raises(RecipeError, match=r"levels.0.weight: start must be a number in \[0, 1\], got 1.5"):
        written({"source": "a", "weight": {"use": "linear", "start": 1.5}})
    wild = credit.Credit([credit.Level("a", weight=lambda ctx: float("nan"))])
    with pytest.raises(RecipeError, match="the weight of 'a' must be a finite number"):
        wild(batch)


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ({"source": {"use": "moved"}}, r"levels.0.source.*required"),
        (
            {"source": "a", "backup": "softmax"},
            r"levels.0.backup: unknown name 'softmax'; did you mean 'softmin'",
        ),
        ({"source": "a", "then": ["plaec"]}, r"levels.0.then.0: unknown name 'plaec'; did you mean 'place'"),
        (
            {"source": "a", "group": {"use": "edge"}},
            r"levels.0.group: unknown name 'edge'; did you mean 'edges'",
        ),
        (
            {"source": "a", "baseline": {"use": "mean", "unit": "x"}},
            r"levels.0.baseline: unit must be one of",
        ),
    ],
)
def test_mistakes_in_recipes_name_their_place(level, told):
    with pytest.raises(RecipeError, match=told):
        written(level)
