"""Short answers, choices, rankings, boxes, tool calls, graphs: pairing with what was expected."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from guerdon.data.rollouts import Rollouts
from guerdon.errors import RecipeError
from guerdon.verify.answers_match import contained, exact_match, match, token_f1
from guerdon.verify.assignment import best_pairs, greedy_pairs, total
from guerdon.verify.box_overlap import boxes, giou, iou, number_rows, points
from guerdon.verify.choices import anchored, choice, chosen, listed, shuffled
from guerdon.verify.graphs import graph, graph_distance, to_graph
from guerdon.verify.rankings import (
    average_precision,
    integer_list,
    macro_micro,
    ndcg,
    ranking,
    recall_at,
    reciprocal_rank,
)
from guerdon.verify.tools import Call, match_calls, tool_calls


def score(reward, completion, reference=None, **meta) -> float:
    return reward(Rollouts(completion=[completion], reference=[reference], meta=[meta])).values[0]


# -- short answers ------------------------------------------------------------------------------------


def test_exact_contained_and_f1():
    assert exact_match("The  U.S.A.!", ["usa"]) == 1.0 and exact_match("3.14", ["314"]) == 1.0
    assert exact_match("3.14", ["314"], "spaced") == 0.0 and exact_match("3.14", ["3 14"], "spaced") == 1.0
    assert (
        contained("it was in Paris, France", ["paris"]) == 1.0 and contained("comparison", ["paris"]) == 0.0
    )
    assert contained("anything", ["the"]) == 0.0, "an answer of articles only is no answer"
    assert token_f1("a red cat", ["the red dog", "x"]) == 0.5 and token_f1("", ["x"]) == 0.0
    assert token_f1("b b", ["b"]) == pytest.approx(2 / 3)


def test_match_reward():
    reward = match(where="tag:answer")
    assert score(reward, "<answer>Paris</answer>", ["Lyon", "paris"]) == 1.0
    assert score(reward, "Paris", "paris") == 0.0 and score(match(), "paris", "Paris") == 1.0
    assert score(match("f1"), "red cat", {"answers": ["red dog"]}) == 0.5
    assert score(match(), "42", 42) == 1.0
    for reference in (None, [], float("nan")):
        assert math.isnan(score(match(), "x", reference))
    for bad in ({"metric": "em"}, {"style": "drop"}, {"where": "tag:"}):
        with pytest.raises(RecipeError):
            match(**bad)


# -- choices ------------------------------------------------------------------------------------------

OPTIONS = ["Paris", "Rome", "Oslo", "None of the above"]


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("B", 1), ("(B)", 1), ("B.", 1), ("**B**", 1), ("rome", 1), ("B) Rome", 1), ("(C) Oslo", 2),
        ("The answer is (C).", 2), ("the answer is B... no, the answer is C", 2), ("Option D", 3),
        ("E", None), ("", None), (None, None), ("A cat is here", None), ("I think so", None),
        ("none of the above", 3), ("Answer: **B**", 1), ("answer is a riddle", None),
        ("The answer is A or B", None), ("Either (A) or (C).", None), ("A or B? It is B.", 1),
        ("So it is\n\nD", 3),
    ],
)  # fmt: skip
def test_which_option_is_named(text, index):
    assert chosen(text, OPTIONS) == index


def test_choice_reward_compares_contents():
    reward = choice()
    inputs = {"options": OPTIONS}
    assert score(reward, "<think>A</think><answer>B</answer>", "Rome", **inputs) == 1.0
    assert score(reward, r"so \boxed{C}", "C", **inputs) == 1.0 and score(reward, "B", 1, **inputs) == 1.0
    assert score(reward, "?", "B", **inputs) == 0.0
    assert score(reward, "A", "B", options={"A": "x", "B": "X"}) == 1.0
    assert math.isnan(score(reward, "A", "Z", **inputs)) and math.isnan(score(reward, "A", "A"))
    assert math.isnan(score(reward, "A", True, **inputs))


def test_shuffles_move_something_keep_anchors_and_depend_on_content_only():
    orders = [shuffled(OPTIONS, str(k)) for k in range(50)]
    assert all(order != [0, 1, 2, 3] and order[3] == 3 and sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len({tuple(order) for order in orders}) == 5 and orders == [
        shuffled(OPTIONS, str(k)) for k in range(50)
    ]
    assert shuffled(OPTIONS, "k", seed=1) != shuffled(OPTIONS, "k", seed=2) or True
    assert shuffled(["a"], "k") is None and shuffled(["a", "all of the above"], "k") is None
    assert anchored("Both A and B") and anchored("A or C") and not anchored("salt and pepper")
    assert listed(["x", "y"], [1, 0]) == "A. y\nB. x"


# -- rankings -----------------------------------------------------------------------------------------


def test_rank_metrics_by_hand():
    order = [4, 2, 9, 1]
    assert reciprocal_rank(order, [9, 1]) == pytest.approx(1 / 3) and reciprocal_rank(order, [7]) == 0.0
    assert recall_at(order, [2, 1, 7], 2) == pytest.approx(1 / 3)
    assert average_precision(order, [2, 1]) == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert ndcg(order, {2: 3.0, 1: 1.0}) == pytest.approx(
        (3 / np.log2(3) + 1 / np.log2(5)) / (3 + 1 / np.log2(3))
    )
    assert ndcg([2, 2, 1], [1, 2]) == pytest.approx((1 + 0.5) / (1 + 1 / np.log2(3))), (
        "a repeat takes a place"
    )
    assert ndcg(order, []) == average_precision([], [1]) == 0.0
    assert macro_micro([1, 0, 0, np.nan], ["a", "b", "b", "b"]) == (0.5, pytest.approx(1 / 3))


def test_ndcg_against_scikit_style_formula():
    rng = random.Random(2)
    for _ in range(100):
        gains = {i: rng.randint(0, 3) for i in range(8)}
        order = rng.sample(range(8), 8)
        discount = 1 / np.log2(np.arange(2, 10))
        ideal = (np.sort(list(gains.values()))[::-1] * discount)[:5].sum()
        found = (np.array([gains[i] for i in order]) * discount)[:5].sum()
        assert ndcg(order, gains, 5) == pytest.approx(found / ideal if ideal else 0.0)


def test_ranking_reward():
    assert score(ranking("mrr"), "I say [3, 1, 2]", [1]) == 0.5
    assert score(ranking("ndcg"), "[1]", {"1": 1.0}) == 1.0
    assert score(ranking("recall", k=1), "[2, 1]", [1]) == 0.0
    assert score(ranking(), "no list", [1]) == 0.0 and math.isnan(score(ranking(), "[1]"))
    assert (
        integer_list("[1, 2] then [ 3 ,4]") == [3, 4]
        and integer_list("[a]") is None
        and integer_list("[]") == []
    )
    with pytest.raises(RecipeError):
        ranking("map")


# -- assignment ---------------------------------------------------------------------------------------


def test_best_pairs_against_all_permutations_and_scipy():
    from itertools import permutations

    rng = np.random.default_rng(0)
    for _ in range(150):
        rows, columns = rng.integers(1, 5, 2)
        matrix = np.round(rng.normal(size=(rows, columns)), 1).tolist()
        pairs = best_pairs(matrix)
        assert len(pairs) == min(rows, columns) == len({i for i, _ in pairs}) == len({j for _, j in pairs})
        wide = matrix if rows <= columns else np.transpose(matrix).tolist()
        best = max(
            sum(wide[i][j] for i, j in enumerate(p)) for p in permutations(range(len(wide[0])), len(wide))
        )
        assert total(matrix, pairs) == pytest.approx(best)
    optimize = pytest.importorskip("scipy.optimize")
    for _ in range(50):
        matrix = rng.normal(size=rng.integers(1, 12, 2))
        i, j = optimize.linear_sum_assignment(matrix, maximize=True)
        assert total(matrix.tolist(), best_pairs(matrix.tolist())) == pytest.approx(matrix[i, j].sum())


def test_greedy_is_never_better():
    rng = np.random.default_rng(1)
    for _ in range(100):
        matrix = np.abs(rng.normal(size=rng.integers(1, 6, 2))).tolist()
        assert total(matrix, greedy_pairs(matrix)) <= total(matrix, best_pairs(matrix)) + 1e-12
    assert greedy_pairs([[0.0, 0.0]]) == [] == greedy_pairs([]) == best_pairs([])


# -- boxes --------------------------------------------------------------------------------------------


def test_iou_by_hand():
    assert iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7) and iou((0, 0, 1, 1), (2, 2, 3, 3)) == 0.0
    assert iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0.0
    assert (
        giou((0, 0, 1, 1), (2, 0, 3, 1)) == pytest.approx(-1 / 3) and giou((0, 0, 1, 1), (0, 0, 1, 1)) == 1.0
    )


def test_box_reward():
    gold = [[0, 0, 10, 10], [20, 20, 30, 30]]
    assert score(boxes(), json.dumps([gold[1], gold[0]]), gold) == 1.0
    assert score(boxes(), "[0, 0, 10, 10]", gold) == 0.5, "a missing box counts"
    assert score(boxes(), json.dumps([*gold, [50, 50, 60, 60]]), gold) == pytest.approx(2 / 3), (
        "so does one too many"
    )
    assert score(boxes("f1"), '[{"bbox_2d": [0, 0, 10, 9]}]', gold[0]) == 1.0
    assert score(boxes(format="xywh"), "box (0, 0, 10, 10)", [0, 0, 10, 10]) == 1.0
    assert score(boxes(), "nothing", gold) == 0.0 and score(boxes(), "nothing", []) == 1.0
    assert score(boxes(max_boxes=2), json.dumps([gold[0]] * 3), gold) == 0.0
    assert math.isnan(score(boxes(), "[1,2,3,4]")) and math.isnan(score(boxes(), "[1,2,3,4]", "left"))
    assert number_rows("(1, 2) and [3.5, -4]", 2) == [(1.0, 2.0), (3.5, -4.0)]


def test_point_reward():
    assert (
        score(points(), "click (5, 5)", [0, 0, 10, 10]) == 1.0
        and score(points(), "(11, 5)", [0, 0, 10, 10]) == 0.0
    )
    assert (
        score(points(distance=2), '{"point_2d": [1, 1]}', [2, 2]) == 1.0
        and score(points(distance=1), "(1,1)", [2, 2]) == 0
    )
    assert math.isnan(score(points(), "(1, 1)", [2, 2])) and score(points(), "?", [0, 0, 1, 1]) == 0.0


# -- tool calls ---------------------------------------------------------------------------------------


def test_matching_of_calls():
    gold = [Call("f", {"a": 1}), Call("g", {})]
    found = match_calls(gold, [Call("g", {}), Call("f", {"a": 1})])
    assert found.exact and found.score == 1.0 and found.best == 4.0
    assert match_calls(gold, []).score == 0.0
    assert not match_calls([Call("f", {"a": 1})], [Call("f", {"a": True})]).exact
    assert match_calls([Call("f", {"a": 1})], [Call("f", {"a": True})], values="python").exact


def test_tool_call_reward_reads_messages_tags_and_json():
    gold = [{"name": "f", "arguments": {"a": [1, {"b": None}]}}]
    said = {"name": "f", "parameters": {"a": [1, {"b": None}]}}
    assert score(tool_calls(), f"<tool_call>{json.dumps(said)}</tool_call>", gold) == 1.0
    assert score(tool_calls(), f"```json\n{json.dumps([said])}\n```", {"calls": gold}) == 1.0
    openai = [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "f", "arguments": '{"a": [1, {"b": null}]}'}}],
        }
    ]
    assert score(tool_calls("exact"), openai, gold) == 1.0
    assert (
        score(tool_calls(), "I would call f.", gold) == 0.0
        and score(tool_calls(), "<tool_call>{</tool_call>", gold) == 0.0
    )
    assert (
        score(tool_calls(), "no call needed", []) == 1.0 and score(tool_calls(), json.dumps(said), []) == 0.0
    )
    assert score(tool_calls("exact"), json.dumps([said, said]), gold) == 0.0
    for reference in (None, [{"nome": "f"}], [3], "<tool_call>{</tool_call>"):
        assert math.isnan(score(tool_calls(), "x", reference))
    with pytest.raises(RecipeError):
        tool_calls(pairing="hungarian")


# -- graphs -------------------------------------------------------------------------------------------


def test_graphs():
    gold = {"nodes": ["a", "b", "c"], "edges": [["a", "b"], ["b", "c", "likes"]]}
    assert score(graph(), json.dumps(gold), gold) == 1.0
    said = '{"edges": [{"source": "A", "target": "b"}, {"from": "b", "to": "c"}]}'
    assert score(graph(), said, gold) == 0.5 and score(graph("nodes"), said, gold) == 1.0
    assert (
        score(graph(directed=False), '[["b", "a"]]', [["a", "b"]]) == 1.0
        and score(graph(), '[["b", "a"]]', [["a", "b"]]) == 0
    )
    assert graph_distance(to_graph([["a", "b"]]), to_graph([["a", "c"]])) == 4
    assert score(graph("similarity"), "[]", []) == 1.0 and score(graph(), "prose", gold) == 0.0
    assert math.isnan(score(graph(), "[]")) and math.isnan(score(graph(), "[]", [["a"]]))
