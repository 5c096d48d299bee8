from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_engines import PROMPTS, taught_lab, tiny_lab

from guerdon.engines.lab_decoder import KeyValueCache, LabDecoder
from guerdon.engines.protocol import Sampling


def empty_cache(v: int, g: int) -> KeyValueCache:
    return KeyValueCache(torch.zeros(1, 2, v * 2, 3, 4), None, torch.zeros(1, 2, v, 2, g, 5, 4))


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.data())
def test_worth_keeping_holds_every_running_row_in_equal_groups(v, g, data):
    running = np.array(data.draw(st.lists(st.booleans(), min_size=v * g, max_size=v * g)))
    cache = empty_cache(v, g)
    kept = cache.worth_keeping(running)
    assert set(np.flatnonzero(running)) <= set(kept) and len(set(kept)) == len(kept)
    assert len(kept) <= 2 * running.sum()
    if len(kept):
        cache.keep(kept)
        assert np.prod(cache.groups) == len(kept)


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_dropping_rows_leaves_the_others_alone(data):
    """Logits of the kept rows are those of a decoder that never held the dropped ones."""
    lab = tiny_lab()
    counts = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    contexts = [lab.prompt_ids(p) for p, count in zip(PROMPTS, counts, strict=False) for _ in range(count)]
    n = len(contexts)
    kept = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    tokens = torch.arange(3 * n).view(3, n) % 200 + 3
    with torch.inference_mode():
        whole, part = LabDecoder(lab, contexts, 4), LabDecoder(lab, [contexts[i] for i in kept], 4)
        got, expected = whole.prefill(), part.prefill()
        torch.testing.assert_close(got[kept], expected, atol=1e-4, rtol=1e-4)
        got, expected = whole.step(tokens[0]), part.step(tokens[0, kept])
        torch.testing.assert_close(got[kept], expected, atol=1e-4, rtol=1e-4)
        whole.keep(kept)
        for step in (1, 2):
            got, expected = whole.step(tokens[step, kept]), part.step(tokens[step, kept])
            torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_compaction_does_not_change_samples(monkeypatch):
    lab, sampling = taught_lab(), Sampling(max_new_tokens=20)
    usual = lab.generate(PROMPTS, n=8, sampling=sampling)
    monkeypatch.setattr("guerdon.engines.generation.COMPACT_BELOW", 0.0)
    never = lab.generate(PROMPTS, n=8, sampling=sampling)
    monkeypatch.setattr("guerdon.engines.generation.COMPACT_BELOW", 0.999)
    always = lab.generate(PROMPTS, n=8, sampling=sampling)
    assert usual.tokens == never.tokens == always.tokens
