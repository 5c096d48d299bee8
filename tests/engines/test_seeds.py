from __future__ import annotations

import numpy as np

from guerdon.engines.seeds import context_key, uniforms


def test_keys_separate_seed_prompt_and_prefix():
    keys = {
        context_key(0, [1, 2, 3]),
        context_key(1, [1, 2, 3]),
        context_key(0, [1, 2], [3]),
        context_key(0, [1, 2, 4]),
    }
    assert len(keys) == 4
    assert context_key(0, [1, 2, 3]) == context_key(0, (1, 2, 3), ())


def test_a_table_is_its_cells():
    keys = np.array([5, 2**63 + 11], np.uint64)
    table = uniforms(keys[:, None], np.array([[0], [7]]), np.arange(6))
    assert table.shape == (2, 6)
    assert table[1, 4] == uniforms(keys[1:], np.array([7]), np.array([4]))[0]


def test_numbers_look_uniform_and_independent():
    table = uniforms(np.arange(64, dtype=np.uint64)[:, None, None], np.arange(32)[:, None], np.arange(50))
    flat = table.reshape(-1)
    assert flat.min() >= 0 and flat.max() < 1 and len(np.unique(flat)) == flat.size
    counts = np.bincount((flat * 20).astype(int), minlength=20)
    expected = flat.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 43.8  # chi-square(19), p = 0.001
    for axis in range(3):
        a, b = np.take(table, 0, axis).reshape(-1), np.take(table, 1, axis).reshape(-1)
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(a.size)
