"""Pairs in both orders: hand-worked cases over a judge that follows a rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_rules import Ruled, better, group

from guerdon.errors import DataError
from guerdon.judge import Judge, resolve
from guerdon.judge.orders import consistent, schedule, win_rates


@pytest.mark.parametrize(
    ("forward", "backward", "mean", "agree", "sign"),
    [
        (1, 1, 1, 1, 1),
        (1, 0.5, 0.75, 0.5, 1),
        (1, 0, 0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5, 0.5, 0.5),
        (0, 0.5, 0.25, 0.5, 0),
        (0.75, 1, 0.875, 1, 1),
    ],
)
def test_resolve(forward, backward, mean, agree, sign):
    for rule, expected in (("mean", mean), ("agree", agree), ("sign", sign)):
        assert resolve(forward, backward, rule) == resolve(backward, forward, rule) == expected
        assert resolve(1 - forward, 1 - backward, rule) == 1 - expected
        assert math.isnan(resolve(math.nan, 1, rule)) and math.isnan(resolve(1, math.nan, rule))


def test_sign_rule_is_judgebench_two_game_counter():
    # label A>B; second verdict already flipped: (A>B, A>B) right; (A>B, A=B) right; (A>B, B>A) not; ties not
    assert [resolve(f, b, "sign") > 0.5 for f, b in [(1, 1), (1, 0.5), (1, 0), (0.5, 0.5)]] == [
        True,
        True,
        False,
        False,
    ]
    assert consistent(1, 1) == consistent(0.5, 0.5) == 1 and consistent(1, 0.5) == 0


def test_win_rates_of_a_group():
    client = Ruled(better)
    judge = Judge(client)
    total, parts = judge.pairwise().explain(group("a", "aaa", "aa", "aaa"))
    # "aaa" twice: one player, tying with itself
    assert total.values == pytest.approx([0, (1 + 1 + 0.5) / 3, 1 / 3, (1 + 1 + 0.5) / 3])
    assert len(client.asked) == 6 and total.level == "rollout"
    assert parts["consistency"].values.tolist() == [1, 1, 1, 1]
    assert parts["first_place"].values.tolist() == [0.5] * 4 and parts["judged"].values.tolist() == [1] * 4


def test_groups_do_not_meet_and_singles_are_missing():
    client = Ruled(better)
    total = Judge(client).pairwise()(group("a", "aa", "aaa", "aaaa", "x", group=[5, 9, 5, 9, 1]))
    assert total.values[:4].tolist() == [0, 0, 1, 1] and len(client.asked) == 4
    assert total.causes == {4: "a group of one: nothing to compare with"}


def test_pure_position_bias_is_a_tie_and_is_reported():
    client = Ruled(lambda found: "[[A>>B]]")
    for rule in ("mean", "agree", "sign"):
        total, parts = Judge(client).pairwise(rule=rule).explain(group("a", "bb", "ccc"))
        assert total.values.tolist() == [0.5] * 3
        assert (
            parts["consistency"].values.tolist() == [0] * 3
            and parts["first_place"].values.tolist() == [1] * 3
        )


def test_blank_and_equal_answers_need_no_judge():
    client = Ruled(better)
    total, parts = Judge(client).pairwise().explain(group("", "aa", "  ", "aa"))
    assert total.values == pytest.approx([1 / 6, 5 / 6, 1 / 6, 5 / 6]) and client.asked == []
    assert parts["consistency"].values.tolist() == [1] * 4
    everyone = Judge(client).pairwise()(group("same", "same"))
    assert everyone.values.tolist() == [0.5, 0.5] and client.asked == []


def test_unread_orders_leave_the_pair_missing():
    def rule(found):
        return None if "bad" in found["answer_a"] else better(found)

    total, parts = Judge(Ruled(rule)).pairwise().explain(group("a", "aa", "bad", "aaaaa"))
    # every pair with "bad" lacks one order
    assert total.values[[0, 1, 3]].tolist() == [0, 0.5, 1]
    assert total.causes == {2: "judge: silence"} and parts["judged"].values == pytest.approx(
        [2 / 3, 2 / 3, 0, 2 / 3]
    )
    strict = Judge(Ruled(rule)).pairwise(min_share=0.9)(group("a", "aa", "bad", "aaaaa"))
    assert strict.missing == 4 and set(strict.causes.values()) == {"judge: silence"}
    filled = Judge(Ruled(rule)).pairwise(on_error=0.5)(group("a", "aa", "bad", "aaaaa"))
    assert filled.values[2] == 0.5
    with pytest.raises(DataError, match="row 2"):
        Judge(Ruled(rule)).pairwise(on_error="raise")(group("a", "aa", "bad", "aaaaa"))


def test_fewer_opponents():
    assert schedule(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert schedule(5, 2) == [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)]
    assert schedule(2, 1) == [(0, 1)] and schedule(1) == [] and schedule(0) == []
    client = Ruled(better)
    total, parts = Judge(client).pairwise(opponents=2).explain(group(*["a" * k for k in range(1, 9)]))
    assert len(client.asked) == 16 and total.missing == 0
    assert total.values[0] == 0 and total.values[7] == 1 and parts["judged"].values.tolist() == [1] * 8


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab", min_size=0, max_size=4), min_size=1, max_size=6), st.randoms())
def test_win_rates_follow_their_rollouts(texts, random):
    order = list(range(len(texts)))
    random.shuffle(order)
    reward = Judge(Ruled(better)).pairwise()
    first, second = reward(group(*texts)).values, reward(group(*[texts[i] for i in order])).values
    np.testing.assert_allclose(second, first[order])
    if len(texts) > 1:
        assert np.mean(first) == pytest.approx(0.5)


def test_win_rate_kernel():
    shares = np.array([[np.inf, 1, np.nan], [0, np.inf, np.inf], [np.nan, np.inf, np.inf]])
    rates, known = win_rates(shares, [0, 1, 2])
    np.testing.assert_allclose(rates, [1, 0, np.nan])
    np.testing.assert_allclose(known, [0.5, 1, 0])
