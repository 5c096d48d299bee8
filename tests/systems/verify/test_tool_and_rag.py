"""ToolRL and ARENA: worked examples and their pitfalls."""

from __future__ import annotations

import json
import math

import pytest

from guerdon.data.rollouts import Rollouts
from guerdon.errors import RecipeError
from guerdon.systems.verify.arena_rag import arena_rag
from guerdon.systems.verify.toolrl import toolrl


def call(name: str, **parameters) -> str:
    return json.dumps({"name": name, "parameters": parameters})


def with_calls(*calls: str) -> str:
    return "<think>t</think>\n<tool_call>\n" + "\n".join(calls) + "\n</tool_call>"


SEARCH = call("search", q="cat", k=3)


def parts_of(reward, completion: str, reference, **meta) -> dict[str, float]:
    total, parts = reward.explain(Rollouts(completion=[completion], reference=[reference], meta=[meta]))
    return {"total": total.values[0], **{name: signal.values[0] for name, signal in parts.items()}}


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        ([SEARCH], 3.0),
        ([call("search", q="dog", k=3)], 1.5),  # S = 1 + 1 + 1 of 4
        ([call("search", q="cat", k=3, z=0)], 2.5),  # 1 + 2/3 + 2
        ([SEARCH, call("open", u=1)], 2.25),  # names 1/2
        ([call("open", q="cat", k=3)], -3.0),
        (["{not json"], -3.0),
        (['{"name": "search"}'], -3.0),
        (['{"parameters": {}}'], -3.0),
    ],
)
def test_worked_examples_of_toolrl(said, worth):
    found = parts_of(toolrl(), with_calls(*said), with_calls(SEARCH))
    assert found["correctness"] == pytest.approx(worth)
    assert found["format"] == 1.0 and found["total"] == pytest.approx(worth + 1)


def test_swapped_calls_reach_the_maximum_and_no_calls_block_the_minimum():
    gold = with_calls(SEARCH, call("open", u=1))
    assert parts_of(toolrl(), with_calls(call("open", u=1), SEARCH), gold)["total"] == 4.0
    assert parts_of(toolrl(), "<think>t</think>", gold)["total"] == -3.0


@pytest.mark.parametrize(
    ("text", "gold", "fits"),
    [
        ("<think>a</think>\n<response>b</response>", "<response>x</response>", 1),
        ("  <think>a</think>\n<response>b</response>\n", "<response>x</response>", 1),
        ("<think>a</think><response>b</response>", "<response>x</response>", 0),  # no line between
        ("<think>a</think>\n<response>b</response> bye", "<response>x</response>", 0),
        ("<think>a</think>\n<response>b</response><response>", "<response>x</response>", 0),
        (
            "<think>a<think>b</think>\n<response>b</response>",
            "<response>x</response>",
            1,
        ),  # think is not counted
        ("<think>a</think>", "nothing", 1),
        ("<think>a</think>\n<response>b</response>", "nothing", 0),
        (with_calls(SEARCH) + "\n<response>r</response>", with_calls(SEARCH) + "<response>r</response>", 1),
        (with_calls(SEARCH), with_calls(SEARCH) + "<response>r</response>", 0),
        ("", "nothing", 0),
    ],
)
def test_format_of_toolrl_follows_the_reference(text, gold, fits):
    assert parts_of(toolrl(), text, gold)["format"] == fits


def test_no_correctness_without_calls_in_the_reference():
    assert parts_of(toolrl(), with_calls(SEARCH), "<response>x</response>")["correctness"] == 0.0


def test_greedy_pairing_can_lose_what_the_best_one_finds():
    gold = with_calls(call("f", a=1), call("f", a=1, b=2))
    said = with_calls(call("f", a=1, b=2), call("f", a=1, c=3))
    # greedy: the first gold call takes the first of two equally good ones, which the second needs
    assert parts_of(toolrl(), said, gold)["correctness"] == pytest.approx(6 * (1 + 1.5 + 4 / 3) / 6 - 3)
    assert parts_of(toolrl(pairing="best"), said, gold)["correctness"] == pytest.approx(
        6 * (1 + 1.5 + 3) / 6 - 3
    )


def test_true_is_one_in_python_and_not_in_json():
    said, gold = with_calls(call("f", a=True)), with_calls(call("f", a=1))
    assert parts_of(toolrl(), said, gold)["correctness"] == 3.0
    assert parts_of(toolrl(values="json"), said, gold)["correctness"] == 1.0


def test_length_part_is_reported_and_off():
    text = "<think>" + "w " * 256 + "</think>\n<response>b</response>"
    found = parts_of(toolrl(), text, "<response>x</response>")
    assert found["length"] == 0.5 and found["total"] == 1.0
    assert parts_of(toolrl(length_weight=1.0), text, "<response>x</response>")["total"] == 1.5


def test_toolrl_without_a_usable_reference_is_missing():
    for reference in (None, 3, with_calls("{broken")):
        total = toolrl()(Rollouts(completion=["<think>t</think>"], reference=[reference]))
        assert math.isnan(total.values[0]) and "reference" in total.causes[0]
    with pytest.raises(RecipeError, match="pairing"):
        toolrl(pairing="hungarian")


# -- ARENA --------------------------------------------------------------------------------------------


def arena(ids: str = "[1, 3]", answer: str = "Paris") -> str:
    return f"<relevance>{ids}</relevance>\n<analysis>because</analysis>\n<answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("ids", "worth"),
    [("[3,1,3]", 1.0), ("[1]", 0.5), ("[2]", 0.0), ("1,3", 0.0), ("[]", 0.0), ("[[1], 3]", 0.0)],
)
def test_evidence_tiers(ids, worth):
    assert parts_of(arena_rag(), arena(ids), ["Paris"], supporting_ids=[3, 1])["relevance"] == worth


def test_worked_totals_of_arena():
    meta = {"supporting_ids": [1, 3]}
    assert parts_of(arena_rag(), arena(), ["paris", "the City"], **meta)["total"] == 13.0
    assert parts_of(arena_rag(), arena("[1]"), "Paris", **meta)["total"] == 2.5
    turned = "<answer>The Paris!</answer><relevance>[1,3]</relevance><analysis>x</analysis>"
    found = parts_of(arena_rag(), turned, {"answers": ["Paris"], "supporting_ids": [1, 3]})
    assert (
        found["format"] == 0 and found["accuracy"] == 1 and found["relevance"] == 1 and found["total"] == 2.0
    )


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (arena(), 1),
        ("so: " + arena(), 0),
        (arena() + "\nand more", 1),
        (arena() + " and more", 0),
        (arena().replace("because", "1 < 2"), 0),
        ("", 0),
    ],
)
def test_format_of_arena(text, fits):
    assert parts_of(arena_rag(), text, "Paris", supporting_ids=[1])["format"] == fits


def test_rows_without_evidence_have_no_evidence_reward():
    found = parts_of(arena_rag(), arena("[]"), "Paris")
    assert found["total"] == 2.0 and math.isnan(found["relevance"]) and math.isnan(found["bonus"])


def test_naming_everything_is_paid_by_tiers_and_less_by_f1():
    meta = {"supporting_ids": [1]}
    everything = arena("[1,2,3,4,5,6,7,8,9]")
    assert parts_of(arena_rag(), everything, "Paris", **meta)["relevance"] == 0.5
    assert parts_of(arena_rag(evidence="f1"), everything, "Paris", **meta)["relevance"] == 0.2


def test_normalisation_keeps_numbers_apart():
    assert parts_of(arena_rag(), arena(answer="3.14"), "3 14")["accuracy"] == 1.0
    assert parts_of(arena_rag(), arena(answer="New_York’s"), "new york s")["accuracy"] == 1.0
