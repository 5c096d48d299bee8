"""Which spans end up in one group, whatever their keys are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from guerdon.credit import by
from guerdon.credit.view import View
from guerdon.data import Ragged, Rollouts
from guerdon.errors import DataError, RecipeError

quick = settings(deadline=None, max_examples=60)
extremes = st.sampled_from([-(2**63), -(2**63) + 1, -1, 0, 1, 2**62, 2**63 - 1])
keys = st.one_of(st.integers(0, 2), extremes, st.integers(-(2**63), 2**63 - 1))


@st.composite
def stepped(draw):
    """Rollouts of up to four one-token steps with any state and node keys, and any group names."""
    lengths = draw(st.lists(st.integers(0, 4), max_size=6))
    n = sum(lengths)
    column = st.lists(keys, min_size=n, max_size=n)
    return Rollouts(
        tokens=Ragged.from_lengths(np.zeros(n, np.int32), np.array(lengths, np.int64)),
        acted=Ragged.from_lengths(
            np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool), lengths
        ),
        group=np.array(draw(st.lists(keys, min_size=len(lengths), max_size=len(lengths))), np.int64),
        partitions={"step": Ragged.from_lists([range(1, k + 1) for k in lengths], np.int64)},
        state=np.array(draw(column), np.int64),
        node=np.array(draw(column), np.int64),
    )


def expected_keys(rollouts, level, names):
    """The key of every span as a tuple of Python integers."""
    out = []
    for row in range(len(rollouts)):
        k = 1 if level == "rollout" else len(rollouts.tokens[row])
        start = int(rollouts.tokens.offsets[row])
        for i in range(k):
            parts = {"prompt": int(rollouts.group[row]), "index": i, "batch": 0}
            if level == "step":
                parts |= {"state": int(rollouts.state[start + i]), "node": int(rollouts.node[start + i])}
            out.append(tuple(parts[name] for name in names))
    return out


def same_partition(labels, tuples):
    """Two spans share a label exactly when they share a key."""
    found = {}
    for label, key in zip(labels.tolist(), tuples, strict=True):
        assert found.setdefault(key, label) == label
    return len(set(found.values())) == len(found)


@quick
@given(
    stepped(),
    st.sampled_from(["token", "step", "rollout"]),
    st.lists(
        st.sampled_from(["prompt", "state", "index", "node", "batch"]), min_size=1, max_size=3, unique=True
    ),
)
def test_spans_with_equal_keys_share_a_label(rollouts, level, names):
    if level != "step":
        names = [name for name in names if name not in ("state", "node")] or ["prompt"]
    labels, n_labels = by(*names)(View(rollouts, {}, level))
    tuples = expected_keys(rollouts, level, names)
    written = np.ones(len(tuples), bool) if level == "rollout" else rollouts.acted.values
    assert labels.dtype == np.int64
    assert len(labels) == len(tuples)
    assert (labels[~written] == -1).all()
    assert ((labels[written] >= 0) & (labels[written] < max(n_labels, 1))).all()
    kept = [key for key, keep in zip(tuples, written, strict=True) if keep]
    assert same_partition(labels[written], kept)
    assert n_labels <= max(4 * len(tuples), 1024)


@pytest.mark.parametrize(
    "state",
    [
        [-(2**63), 2**63 - 1, -(2**63), 2**63 - 1],
        [2**63 - 1, 2**63 - 2, 2**63 - 1, 2**63 - 2],
        [-(2**63), -(2**63) + 1, -(2**63), -(2**63) + 1],
        [-1, 2**63 - 1, -1, 2**63 - 1],
    ],
)
def test_extreme_keys_do_not_overflow(state):
    rollouts = Rollouts(
        completion=["ab", "cd"], partitions={"step": Ragged.from_lists([[1, 2]] * 2)}, state=state
    )
    labels, _ = by("batch", "state")(View(rollouts, {}, "step"))
    assert labels[0] == labels[2] != labels[1] == labels[3]
    assert labels.min() >= 0
    per_prompt, _ = by("prompt", "state")(View(rollouts, {}, "step"))
    assert len(set(per_prompt.tolist())) == 4


def test_many_distinct_keys_get_few_labels():
    n = 5000
    rng = np.random.default_rng(0)
    rollouts = Rollouts(
        tokens=Ragged.from_lengths(np.zeros(n, np.int32), np.ones(n, np.int64)),
        group=rng.integers(-(2**63), 2**63 - 1, n),
        partitions={"step": Ragged.from_lengths(np.ones(n, np.int64), np.ones(n, np.int64))},
        state=rng.integers(-(2**63), 2**63 - 1, n),
    )
    labels, n_labels = by("prompt", "state", "index")(View(rollouts, {}, "step"))
    assert len(np.unique(labels)) == n
    assert n_labels <= 4 * n


def test_a_step_is_compared_if_the_policy_wrote_any_of_it():
    rollouts = Rollouts(
        tokens=Ragged.from_lists([[0] * 4], np.int32),
        acted=Ragged.from_lists([[True, False, False, False]]),
        partitions={"step": Ragged.from_lists([[2, 4]])},
    )
    assert_array_equal(by("prompt")(View(rollouts, {}, "step"))[0], [0, -1])
    assert_array_equal(by("index")(View(rollouts, {}, "token"))[0], [0, -1, -1, -1])
    assert_array_equal(by("prompt")(View(rollouts, {}, "rollout"))[0], [0])


def test_keys_that_do_not_exist():
    with pytest.raises(RecipeError, match="unknown group key 'promt'"):
        by("prompt", "promt")
    with pytest.raises(RecipeError, match="at least one key"):
        by()
    text = Rollouts(completion=["ab"], partitions={"step": Ragged.from_lists([[1, 2]])})
    with pytest.raises(DataError, match='needs per-step state keys: column "state"'):
        by("state")(View(text, {}, "step"))
    with pytest.raises(DataError, match="exists per step, not per rollout"):
        by("state")(View(text.replace(state=[1, 2]), {}, "rollout"))
