"""MM-R5 and PageLLM: worked examples and their pitfalls."""

from __future__ import annotations

import math

import numpy as np
import pytest

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.systems.verify.mm_r5 import mm_r5
from guerdon.systems.verify.pagellm import pagellm
from guerdon.verify.pages import (
    bradley_terry,
    page_of,
    page_pairs,
    ranking_negatives,
    redundancy_negatives,
    swapped,
)
from guerdon.verify.rankings import dcg, ndcg, rank_decay


def answer(ids: str) -> str:
    return f"<think>page by page</think> <answer>{ids}</answer>"


def parts_of(reward, completion: str, reference, **meta) -> dict[str, float]:
    total, parts = reward.explain(Rollouts(completion=[completion], reference=[reference], meta=[meta]))
    return {"total": total.values[0], **{name: signal.values[0] for name, signal in parts.items()}}


def test_worked_examples_of_mm_r5():
    assert round(rank_decay([2, 1, 5, 3, 4], [2, 5]), 4) == 0.9218
    assert round(ndcg([2, 1, 5, 3, 4], [2, 5]), 4) == 0.9197
    found = parts_of(mm_r5(), answer("[2, 1, 5, 3, 4]"), [[2, 5], 5])
    assert round(found["rank"], 4) == 0.9218 and found["format"] == 1.0
    found = parts_of(mm_r5(), answer("[2, 1, 5, 9]"), [[2, 5], 5])
    assert (
        found["completeness"] == 0.8 and found["validity"] == 0.75 and found["format"] == pytest.approx(0.6)
    )
    found = parts_of(mm_r5(), answer("[5, 2, 1, 3, 4]"), {"positive_ids": [2, 5], "total": 5})
    assert found["rank"] == found["format"] == 1.0 and found["total"] == 2.0


def test_repeats_are_paid_unless_dropped():
    spam = answer("[2, 2, 2, 2, 2]")
    found = parts_of(mm_r5(), spam, [[2, 5], 5])
    assert round(found["rank"], 4) == 0.8889 and found["format"] == 1.0
    found = parts_of(mm_r5(repeats="drop"), spam, [[2, 5], 5])
    assert round(found["rank"], 4) == 0.8889 and found["format"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("text", "rank", "form"),
    [
        ("<answer>[2]</answer>", 1.0, 0.0),  # no think block: a rank reward only
        (answer("[2]"), 1.0, 0.0),  # one id: the released code fails on it
        (answer("[02, 1]"), 1.0, 0.0),  # and on a leading zero
        (answer("[2, 1"), 0.0, 0.0),
        (answer("[2, x]"), 0.0, 0.0),
        (answer("[2,\n1]"), 0.0, 0.0),  # so does a list over two lines; the rank reward wants one line
        (answer("[1, 2]") + answer("[2, 1]"), 0.125, 1.0),  # the first list counts
        (answer("[]"), 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_what_the_release_of_mm_r5_reads(text, rank, form):
    found = parts_of(mm_r5(variant="release"), text, [[2], 2])
    assert (found["rank"], found["format"]) == (rank, form)


def test_variants_of_mm_r5():
    assert parts_of(mm_r5(), answer("[2]"), [[2], 2])["format"] == 0.5
    assert parts_of(mm_r5(), answer("[02, 1]"), [[2], 2])["format"] == 1.0
    assert parts_of(mm_r5(), answer("[2,\n1]"), [[2], 2])["format"] == 1.0
    assert parts_of(mm_r5(answer="last"), answer("[1, 2]") + answer("[2, 1]"), [[2], 2])["rank"] == 1.0
    assert parts_of(mm_r5(alpha=1.0), answer("[1, 2]"), [[2], 2])["rank"] == 0.5


def test_far_too_many_ids_are_worth_less_than_nothing():
    found = parts_of(mm_r5(), answer("[1, 2, 1, 2, 1]"), [[], 2])
    assert found["rank"] == 0.0 and found["total"] == -0.5


def test_hostile_text_takes_no_time():
    text = "<answer>[" * 60_000 + "\n" + "</think> <answer>[" * 60_000 + "x" * 60_000 + "]</answer>"
    found = parts_of(mm_r5(), "<think>" + text, [[2], 2])
    assert found["rank"] == 0.0


# -- PageLLM ------------------------------------------------------------------------------------------


def test_worked_examples_of_pagellm():
    assert round(bradley_terry(1.2, 0.4), 4) == 0.3711
    assert round(bradley_terry(1.2, 0.4, margin=0.5), 4) == 0.5544
    assert dcg([1, 0, 0, 0]) == 1.0 and round(dcg([0, 0, 0, 1]), 4) == 0.4307
    assert round(ndcg(swapped("abcd", 0, 3), {"a"}), 4) == 0.4307
    assert list(ranking_negatives("abc", {"a"})) == [("b", "a", "c"), ("c", "b", "a")]
    assert list(redundancy_negatives("abc", {"a"})) == [("a", "a", "c")]
    assert bradley_terry(0, 800) == 800.0 and bradley_terry(800, 0) == 0.0


def test_pairs_of_all_families():
    category = {item: item in "abc" for item in "abcdefgh"}
    pairs = page_pairs("adb", {"a"}, "abcdefgh", category, seed=3)
    families = [pair.family for pair in pairs]
    assert families == ["ranking", "ranking", "redundancy", "relevance", "diversity"]
    assert all(pair.good == ("a", "d", "b") != pair.bad and len(pair.bad) == 3 for pair in pairs)
    assert [round(pair.margin, 4) for pair in pairs[:2]] == [round(1 - 1 / math.log2(3), 4), 0.5]
    relevance, diversity = pairs[3].bad, pairs[4].bad
    assert relevance[0] not in "adb" and relevance[1:] == ("d", "b")
    assert all(category[item] for item in diversity)
    assert pairs == page_pairs("adb", {"a"}, "abcdefgh", category, seed=3)
    assert page_pairs("abc", set()) == page_pairs("", {"a"}) == []


def score_length(texts):
    return [float(len(text)) for text in texts]


def test_reward_is_page_plus_lambda_item_from_models_or_signals():
    page = '["a", "b"]'
    given = Rollouts(completion=[page] * 2, meta=[{"R_page": 1.0}, {}]).replace(
        signals={"R_item": Signal(np.array([0.5, 0.25]), "rollout", "R_item")}
    )
    total, parts = pagellm(lam=2.0).explain(given)
    np.testing.assert_equal(total.values, [2.0, np.nan])
    assert "no R_page" in total.causes[1] and parts["item"].values.tolist() == [0.5, 0.25]
    asked = pagellm(page_model=score_length, item_model=lambda texts: [1.0] * len(texts))
    total = asked(Rollouts(completion=[page, page, "[]"], prompt=["q"] * 3))
    assert total.values[0] == total.values[1] > total.values[2]


def test_gate_against_made_up_and_repeated_items():
    reward = pagellm(lam=0.0, invalid=-1.0)
    meta = {"R_page": 5.0, "catalogue": ["a", "b"], "engaged": ["b"]}
    pages = ['["a","b"]', '["a","x"]', '["a","a"]', "", "a\nb"]
    total, parts = reward.explain(Rollouts(completion=pages, meta=[meta] * 5))
    assert total.values.tolist() == [5.0, -1.0, -1.0, -1.0, 5.0]
    assert parts["recall"].values.tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert round(parts["ndcg"].values[0], 4) == round(1 / math.log2(3), 4)


def test_reading_a_page():
    assert page_of('page: [{"id": 3}, {"title": "x"}, 4]') == ["3", "x", "4"]
    assert page_of("one\n\n two ") == ["one", "two"]
