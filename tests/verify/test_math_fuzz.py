"""Generated answers: no crash, no hang, symmetric and repeatable verdicts."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from math_fuzz import PIECES, check, check_expressions, floods

from guerdon.verify.maths.decide import decide


def test_a_few_thousand_generated_answers():
    began = time.process_time()
    seen = check(4_000, seed=7)
    assert sum(seen.values()) == 4_000 and seen["equal"] > 400 and seen["different"] > 1_000
    assert time.process_time() - began < 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 105))
def test_a_hundred_thousand_generated_answers(seed):
    assert sum(check(20_000, seed).values()) == 20_000


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=10).map("".join), st.text(max_size=12))
def test_any_two_texts_have_a_bounded_verdict(one, other):
    for a, b in ((one, other), (one, one), (one, one + " ")):
        decision = decide(a, b)
        assert decision.path != "error"
        assert decision.equal is not None or decision.cause


def test_random_expressions_with_extreme_numbers():
    check_expressions(600, seed=3, seconds=5.0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 204))
def test_many_random_expressions_with_extreme_numbers(seed):
    check_expressions(8_000, seed, seconds=5.0)


def test_floods_of_one_piece_are_quick():
    for text in floods(1_500):
        began = time.process_time()
        assert decide("1", text).path != "error"
        assert time.process_time() - began < 5.0, text[:40]
