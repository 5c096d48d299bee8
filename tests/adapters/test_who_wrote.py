"""Turns and states from who wrote the tokens."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from guerdon.adapters.turns import ends_at, seen_before, turn_ends
from guerdon.data.ragged import Ragged


def ragged(rows: list[list[int]], dtype: type = bool) -> Ragged:
    return Ragged.from_lists([np.array(row, dtype) for row in rows], dtype)


def test_a_worked_example() -> None:
    # the policy writes 2, a tool answers 1, the policy writes 1 and 1 answer follows; then a row that begins
    # with an answer, one without a word of the policy, an empty one, and one that is the policy's alone
    acted = ragged([[1, 1, 0, 1, 0], [0, 1, 0, 0, 1, 1], [0, 0], [], [1, 1]])
    assert turn_ends(acted).to_lists() == [[3, 5], [4, 6], [2], [], [2]]


def test_states_are_what_was_seen_since_the_last_word() -> None:
    acted = ragged([[1, 0, 1, 0, 1], [1, 0, 1]])
    tokens = ragged([[5, 9, 6, 9, 7], [8, 9, 6]], np.int32)
    keys = seen_before(tokens, acted, turn_ends(acted), [np.array([1, 2]), np.array([1, 2])])
    assert len(keys) == 5
    assert keys[0] == keys[3]  # the prompt
    assert keys[1] == keys[2] == keys[4]  # the answer 9
    assert keys[0] != keys[1]


@given(st.lists(st.lists(st.booleans(), max_size=8), max_size=6))
def test_turns_as_one_reads_them_row_by_row(rows: list[list[bool]]) -> None:
    expected = []
    for row in rows:
        ends = [i for i in range(1, len(row)) if row[i] and not row[i - 1] and any(row[:i])]
        expected.append([*ends, len(row)] if row else [])
    assert turn_ends(ragged(rows)).to_lists() == expected


@given(st.lists(st.lists(st.booleans(), max_size=6), max_size=5))
def test_spans_open_where_they_are_told_to(rows: list[list[bool]]) -> None:
    opens = ragged(rows)
    expected = [[*(i for i in range(1, len(row)) if row[i]), len(row)] if row else [] for row in rows]
    assert ends_at(opens.values, opens.offsets).to_lists() == expected
