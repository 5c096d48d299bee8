"""Ragged rows: views, padding, selection, and what does not make rows."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from guerdon.data import Ragged
from guerdon.errors import DataError

quick = settings(deadline=None, max_examples=60)
lists = st.lists(st.lists(st.integers(-1000, 1000), max_size=5), max_size=7)


def test_rows_are_views_of_the_flat_values():
    ragged = Ragged.from_lists([[1, 2], [], [3]])
    assert (len(ragged), ragged.total) == (3, 3)
    assert_array_equal(ragged.offsets, [0, 2, 2, 3])
    assert ragged.offsets.dtype == np.int64
    assert_array_equal(ragged.lengths, [2, 0, 1])
    assert_array_equal(ragged.row_ids(), [0, 0, 2])
    ragged[0][1] = 9
    assert ragged.to_lists() == [[1, 9], [], [3]]
    assert [row.tolist() for row in ragged] == [[1, 9], [], [3]]
    assert_array_equal(ragged[-1], ragged[np.int64(2)])
    assert repr(ragged) == "Ragged(3 rows, 3 values, int64)"


@pytest.mark.parametrize("row", [2, -3])
def test_a_row_that_does_not_exist(row):
    with pytest.raises(IndexError, match=f"row {row} of 2"):
        Ragged.from_lists([[1], [2]])[row]


@quick
@given(lists)
def test_lists_survive(rows):
    ragged = Ragged.from_lists(rows, dtype=np.int32)
    assert ragged.values.dtype == np.int32
    assert ragged.to_lists() == rows
    assert Ragged.from_lengths(ragged.values, ragged.lengths) == ragged
    assert pickle.loads(pickle.dumps(ragged)) == ragged == copy.deepcopy(ragged)


@quick
@given(lists, st.integers(0, 3))
def test_padding_comes_off_again(rows, extra):
    ragged = Ragged.from_lists(rows, dtype=np.int64)
    width = int(ragged.lengths.max(initial=0)) + extra
    padded = ragged.to_padded(fill=7, width=width)
    assert padded.shape == (len(rows), width)
    assert Ragged.from_padded(padded, ragged.lengths) == ragged
    mask = np.arange(width)[None, :] < ragged.lengths[:, None]
    assert Ragged.from_padded(padded, mask) == ragged
    assert (padded[~mask] == 7).all()
    left = padded[:, ::-1]
    assert Ragged.from_padded(left, mask[:, ::-1]).to_lists() == [row[::-1] for row in rows]


@quick
@given(lists.filter(bool), st.data())
def test_selection_takes_rows_in_the_given_order(rows, data):
    ragged = Ragged.from_lists(rows, dtype=np.int64)
    picked = data.draw(st.lists(st.integers(-len(rows), len(rows) - 1), max_size=6))
    assert ragged.select(picked).to_lists() == [rows[i] for i in picked]
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), bool)
    assert ragged.select(mask).to_lists() == [row for row, keep in zip(rows, mask, strict=True) if keep]
    assert_array_equal(ragged.values[ragged.positions(np.arange(len(rows)))], ragged.values)


@quick
@given(st.lists(lists, min_size=1, max_size=3))
def test_concatenation(parts):
    whole = Ragged.concat([Ragged.from_lists(part, dtype=np.int64) for part in parts])
    assert whole.to_lists() == [row for part in parts for row in part]
    assert whole.values.dtype == np.int64


def test_a_selection_is_a_copy():
    ragged = Ragged.from_lists([[1, 2], [3]])
    ragged.select([0, 1])[0][0] = 9
    assert ragged.to_lists() == [[1, 2], [3]]


def test_equality():
    ragged = Ragged.from_lists([[1.0, np.nan], []])
    assert ragged == Ragged.from_lists([[1.0, np.nan], []])
    assert ragged != Ragged.from_lists([[1.0], [np.nan]])
    assert ragged != Ragged.from_lists([[1.0, 2.0], []])
    assert ragged != [[1.0, np.nan], []]
    assert Ragged.from_lists([["a"], ["b", "c"]]) == Ragged.from_lists([["a"], ["b", "c"]])
    with pytest.raises(TypeError):
        hash(ragged)


def test_empty_and_narrow_inputs():
    empty = Ragged.from_lists([], dtype=np.int32)
    assert (len(empty), empty.total, empty.values.dtype) == (0, 0, np.int32)
    assert empty.to_padded().shape == (0, 0)
    assert Ragged.from_lists([[], []]).to_padded().shape == (2, 0)
    assert Ragged.from_padded(np.empty((2, 0)), [0, 0]).to_lists() == [[], []]
    assert Ragged.from_lengths(np.arange(3), np.array([1, 2], np.uint8)).to_lists() == [[0], [1, 2]]


def test_many_small_lengths_do_not_overflow():
    lengths = np.full(70_000, 60_000, np.int32)
    with pytest.raises(DataError, match=r"run 0\.\.4200000000 but there are 3 values"):
        Ragged.from_lengths(np.arange(3), lengths)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Ragged(np.ones(3), np.array([0, 2])), r"0\.\.2 but there are 3 values"),
        (lambda: Ragged(np.ones(3), np.array([1, 3])), r"1\.\.3 but there are 3 values"),
        (lambda: Ragged(np.ones(3), np.array([0, 2, 1, 3])), "decrease at row 1"),
        (lambda: Ragged(np.ones((3, 1)), np.array([0, 3])), "flat values"),
        (lambda: Ragged(np.ones(0), np.array([], np.int64)), "flat values"),
        (lambda: Ragged.from_lengths(np.ones(2), [3, -1]), "decrease at row 1"),
        (lambda: Ragged.from_lists([[1], [2, None]], dtype=np.int32), "row 1"),
        (lambda: Ragged.from_lists([[1], [2**40]], dtype=np.int32), "row 1"),
        (lambda: Ragged.from_lists([["a"]], dtype=np.float64), "row 0"),
        (lambda: Ragged.from_lists([[[1, 2]], [[3, 4]]]), "flat values"),
        (lambda: Ragged.from_lists([[1]]).with_values(np.ones(2)), r"0\.\.1 but there are 2 values"),
        (lambda: Ragged.concat([]), "at least one part"),
        (lambda: Ragged.from_padded(np.ones((2, 3)), [1, 4]), r"1\.\.4 do not fit the width 3"),
        (lambda: Ragged.from_padded(np.ones((2, 3)), [-1, 2]), "do not fit the width 3"),
        (lambda: Ragged.from_padded(np.ones((2, 3)), [1]), "does not fit the padded array"),
        (lambda: Ragged.from_padded(np.ones((2, 3)), np.ones((2, 2), bool)), "does not fit the padded array"),
        (lambda: Ragged.from_padded(np.ones(3), [3]), r"\(rows, width\)"),
        (lambda: Ragged.from_lists([[1], [2, 3]]).to_padded(width=1), "row 1 has 2 values"),
        (lambda: Ragged.from_lists([[1], [2]]).select([0, 2]), "row 2 selected from 2"),
        (lambda: Ragged.from_lists([[1], [2]]).select([1, -3, 0]), "row -3 selected from 2"),
        (lambda: Ragged.from_lists([[1], [2]]).select([True]), "mask of shape"),
        (lambda: Ragged.from_lists([[1], [2]]).select([0.5]), "float64"),
    ],
)
def test_what_is_refused(build, message):
    with pytest.raises(DataError, match=message):
        build()
