"""TRL's stepwise format there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.adapters.trl import from_stepwise, to_stepwise
from guerdon.errors import DataError

ROWS = [
    {
        "prompt": "Which is larger?",
        "completions": ["9.8 has 8.", "9.11 has 1.", "So 9.8."],
        "labels": [True, True, False],
    },
    {"prompt": "2?", "completions": ["2."], "labels": [None]},
]


def test_a_worked_example() -> None:
    rollouts = from_stepwise(ROWS)
    assert rollouts.completion == ["9.8 has 8.\n9.11 has 1.\nSo 9.8.", "2."]
    assert rollouts.partitions["step"].to_lists() == [[11, 23, 30], [2]]
    np.testing.assert_array_equal(rollouts.signals["step_label"].values, [1, 1, 0, np.nan])
    assert to_stepwise(rollouts) == ROWS


@given(
    st.lists(
        st.lists(
            st.tuples(st.text(min_size=1, max_size=6), st.sampled_from([True, False, None])),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["\n", "\n\n", " ", ""]),
)
def test_every_row_comes_back(rows: list[list[tuple[str, bool | None]]], separator: str) -> None:
    given_rows = [
        {"prompt": f"p{i}", "completions": [step for step, _ in row], "labels": [label for _, label in row]}
        for i, row in enumerate(rows)
    ]
    assert to_stepwise(from_stepwise(given_rows, separator), separator=separator) == given_rows


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"completions": "a", "labels": [True]}, "row 0: completions"),
        ({"completions": ["a", ""], "labels": [True, True]}, "not empty"),
        ({"completions": ["a", "b"], "labels": [True]}, "labels: expected 2"),
        ({"completions": ["a"], "labels": ["yes"]}, "true or false"),
    ],
)
def test_broken_rows_are_named(row: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        from_stepwise([row])


def test_writing_needs_steps_and_the_signal() -> None:
    with pytest.raises(DataError, match="'prm' per step; there are step_label"):
        to_stepwise(from_stepwise(ROWS), name="prm")
