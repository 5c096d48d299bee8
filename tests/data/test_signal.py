"""Signals: values on spans, what is missing and why."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from guerdon.data import Signal
from guerdon.errors import DataError


def test_values_become_float64():
    for given in ([1, 0, 1], np.array([1, 0, 1], np.int8), np.array([True, False, True])):
        signal = Signal(given, "rollout", "outcome")
        assert signal.values.dtype == np.float64
        assert_array_equal(signal.values, [1, 0, 1])
    assert len(Signal([], "step")) == 0


def test_float64_values_are_kept_without_a_copy():
    values = np.array([1.0, 2.0])
    assert Signal(values, "rollout").values is values


def test_missing_values_and_their_causes():
    causes = {1: "timeout", 2: "timeout", 4: "no answer"}
    signal = Signal([1.0, None, np.nan, 0.0, np.nan], "rollout", "outcome", causes)
    assert signal.missing == 3
    assert signal.cause_counts() == {"timeout": 2, "no answer": 1}
    assert list(signal.cause_counts()) == ["timeout", "no answer"]
    assert repr(signal) == "Signal('outcome', rollout, n=5, mean=0.5, missing=3)"


def test_new_signals_from_old():
    signal = Signal([1.0, np.nan], "step", "prm", {1: "judge refused"})
    renamed = signal.renamed("process")
    assert (renamed.name, renamed.level, renamed.causes) == ("process", "step", signal.causes)
    other = signal.with_values(np.array([2.0, 3.0]))
    assert (other.name, other.level, dict(other.causes)) == ("prm", "step", {})
    assert_array_equal(other.values, [2, 3])


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_repr_without_any_value(values):
    assert "mean=nan" in repr(Signal(values, "rollout", "outcome"))


def test_signals_are_frozen():
    with pytest.raises(AttributeError):
        Signal([1.0], "rollout").level = "step"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((2, 1)), r"one flat array, got shape \(2, 1\)"),
        (3.0, r"one flat array, got shape \(\)"),
        (["good"], "must hold numbers"),
        ([[1.0], [2.0, 3.0]], "must hold numbers"),
        ([{}], "must hold numbers"),
    ],
)
def test_what_is_refused(values, message):
    with pytest.raises(DataError, match=f"'outcome'.*{message}"):
        Signal(values, "rollout", "outcome")
