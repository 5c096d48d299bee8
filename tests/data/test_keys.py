"""Keys are equal where things are equal, everywhere and always; nodes are shared prefixes of steps."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.data import Ragged, Rollouts
from guerdon.data.keys import ROOT, depth_of, fork_of, leaf_of, node_ids, parent_of, stable_key, state_keys
from guerdon.errors import DataError


def test_keys_do_not_change_between_releases():
    assert stable_key("kitchen: a knife") == 3277683596822548605
    assert stable_key({"b": [1, 2.5, None], "a": "é"}) == 745901791446449245
    assert stable_key(np.arange(3, dtype=np.int64)) == 5838756145524072228


def test_keys_are_the_same_in_another_process():
    code = "from guerdon.data.keys import stable_key; print(stable_key('kitchen: a knife'))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) == stable_key("kitchen: a knife")


def test_types_do_not_collide():
    values = ["1", b"1", 1, 1.0, True, None, [1], (1, 2), {"1": 1}, "", b"", np.array([1]), np.array([1.0])]
    keys = [stable_key(value) for value in values]
    assert len(set(keys)) == len(values)
    assert all(0 <= key < 2**63 for key in keys)
    assert stable_key(np.array([[1, 2]])) != stable_key(np.array([1, 2]))


def test_equal_values_have_equal_keys():
    assert stable_key({"a": 1, "b": 2}) == stable_key({"b": 2, "a": 1})
    assert stable_key([np.int64(3), np.array([1, 2])]) == stable_key([3, [1, 2]])
    assert stable_key(np.array([1, 2], ">i4")) == stable_key(np.array([1, 2], "<i4"))
    assert stable_key(np.arange(6)[::2]) == stable_key(np.array([0, 2, 4]))


def test_normalisation():
    assert stable_key("a  b\n", "space") == stable_key("a b") != stable_key("A b", "space")
    assert stable_key("ＡＢＣ  Straße", "fold") == stable_key("abc strasse")
    assert stable_key({"obs": [" x "], "n": 1}, str.strip) == stable_key({"obs": ["x"], "n": 1})
    with pytest.raises(DataError, match="one of space, fold, got 'lower'"):
        stable_key("a", "lower")
    with pytest.raises(DataError, match="a state must be"):
        stable_key(object())


@given(st.lists(st.text() | st.integers() | st.binary(), max_size=20))
@settings(max_examples=50, deadline=None)
def test_state_keys_are_stable_keys(values):
    assert state_keys(values).tolist() == [stable_key(value) for value in values]


#      0: a b c     1: a b d     2: a     3 (other group): a b     4: no steps
TREE = Rollouts(
    group=[0, 0, 0, 1, 1],
    tokens=Ragged.from_lists([[1, 1, 2, 3], [1, 1, 2, 4], [1, 1], [1, 1, 2], []], np.int32),
    partitions={"step": Ragged.from_lists([[2, 3, 4], [2, 3, 4], [2], [2, 3], []], np.int64)},
)


def test_nodes_of_a_small_tree():
    node = node_ids(TREE)
    a, b, c, a1, b1, d, a2, a3, b3 = node.tolist()
    assert a == a1 == a2 and b == b1
    assert len({a, b, c, d, a3, b3}) == 6
    assert parent_of(TREE).tolist() == [ROOT, a, b, ROOT, a, b, ROOT, ROOT, a3]
    assert depth_of(TREE).tolist() == [0, 1, 2, 0, 1, 2, 0, 0, 1]
    assert leaf_of(TREE).tolist() == [False, False, True, False, False, True, False, False, True]
    forks = fork_of(TREE).tolist()
    assert forks[0] == forks[3] == forks[6] and forks[2] == forks[5] and forks[7] not in forks[:7]
    assert sorted(set(forks)) == list(range(len(set(forks))))


def test_nodes_join_over_batches():
    parts = [TREE.select([0, 3]), TREE.select([1, 2, 4])]
    found = np.concatenate([node_ids(part) for part in parts])
    assert np.array_equal(found, node_ids(Rollouts.concat(parts)))


def test_nodes_in_the_column_are_used():
    made = TREE.replace(node=np.array([1, 2, 3, 1, 2, 4, 1, 1, 2]))
    assert parent_of(made).tolist() == [ROOT, 1, 2, ROOT, 1, 2, ROOT, ROOT, 1]
    assert leaf_of(made).tolist() == leaf_of(TREE).tolist()  # ids repeat over groups, nodes do not


def test_text_without_tokens_and_the_same_text_cut_elsewhere():
    ends = Ragged.from_lists([[1, 3], [1, 3], [2, 3], [1, 3]], np.int64)
    made = Rollouts(completion=["añb", "añc", "añb", "añb"], group=[0] * 4, partitions={"step": ends})
    a, ab, a1, ac, an, anb, a3, ab3 = node_ids(made).tolist()
    assert a == a1 == a3 and ab == ab3 and len({a, ab, ac, an, anb}) == 5


def test_nodes_need_steps():
    with pytest.raises(DataError, match="need a 'step' partition"):
        node_ids(Rollouts(completion=["a"]))


@given(
    st.lists(st.tuples(st.integers(0, 1), st.lists(st.integers(0, 1), max_size=5)), min_size=1, max_size=8)
)
@settings(max_examples=100, deadline=None)
def test_nodes_against_an_oracle(rows):
    tokens = [[step for step in steps for _ in range(step + 1)] for _, steps in rows]
    ends = [np.cumsum([step + 1 for step in steps]) for _, steps in rows]
    made = Rollouts(
        group=[group for group, _ in rows],
        tokens=Ragged.from_lists(tokens, np.int32),
        partitions={"step": Ragged.from_lists(ends, np.int64)},
    )
    paths = [(group, *steps[: k + 1]) for group, steps in rows for k in range(len(steps))]
    node = node_ids(made).tolist()
    known = dict(zip(paths, node, strict=True))
    assert node == [known[path] for path in paths] and len(set(node)) == len(known)
    assert parent_of(made).tolist() == [known.get(path[:-1], ROOT) for path in paths]
    children = {path[:-1] for path in paths}
    assert leaf_of(made).tolist() == [path not in children for path in paths]
    forks: dict[tuple, int] = {}
    for path, fork in zip(paths, fork_of(made).tolist(), strict=True):
        assert forks.setdefault(path[:-1], fork) == fork
    assert len(set(forks.values())) == len(forks)
