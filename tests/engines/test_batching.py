from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.engines.batching import micro_batches

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), min_size=1, max_size=40)


@settings(deadline=None)
@given(rows, st.integers(1, 300), st.sampled_from([None, 1, 3, 100]))
def test_every_row_once_within_the_budget(rows, budget, micro):
    owner = np.unique(np.array([o for o, _ in rows]), return_inverse=True)[1]
    lengths = np.array([n for _, n in rows])
    widths = 3 + np.arange(owner.max() + 1)
    batches = micro_batches(owner, widths, lengths, budget, micro)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(rows)))
    for batch in batches:
        if micro is not None:
            assert len(batch) <= micro
            continue
        held = np.unique(owner[batch])
        cost = len(held) * widths[held].max() + len(batch) * lengths[batch].max()
        assert len(batch) == 1 or cost <= budget


def test_rows_of_a_context_stay_together():
    owner = np.array([0, 1, 0, 1, 0, 1])
    batches = micro_batches(owner, np.array([4, 4]), np.array([5, 5, 1, 1, 3, 3]), 10**6, micro_rollouts=3)
    assert [set(owner[batch]) for batch in batches] == [{0}, {1}]


def test_nothing_gives_nothing():
    assert micro_batches(np.empty(0, int), np.empty(0, int), np.empty(0, int), 10) == []
