"""References and answers in shapes that users do write: read right, or missing with a cause that helps."""

from __future__ import annotations

import math
from typing import Any

import pytest

from guerdon.data.rollouts import Rollouts
from guerdon.scoring import Verdict
from guerdon.verify.answers_match import match
from guerdon.verify.choices import choice, chosen
from guerdon.verify.rankings import ranking
from guerdon.verify.schemas import json_schema
from guerdon.verify.text_overlap import bleu, chrf, edit, rouge
from guerdon.verify.tools import tool_calls


def verdict(reward: Any, completion: str, reference: Any = None, **meta: Any) -> Verdict:
    """The verdict on one completion."""
    rows = Rollouts(completion=[completion], reference=[reference], meta=[meta])
    return reward.verdicts(rows)[0]


@pytest.mark.parametrize("reward", [match(), bleu(), chrf(), rouge(), edit()], ids=lambda r: r.name)
@pytest.mark.parametrize("reference", [{"a": 1}, [None], [["x"]], [{"a": "x"}]], ids=str)
def test_what_is_no_text_is_no_reference(reward, reference):
    found = verdict(reward, "x", reference)
    assert math.isnan(found.value) and found.cause.startswith("no reference: expected")


def test_one_accepted_answer_among_others_that_are_none():
    assert verdict(match(), "x", [None, "x"]).value == 1.0


def test_letters_with_two_spellings_are_equal():
    assert verdict(match(), "Caf\u00e9", "cafe\u0301").value == 1.0
    assert verdict(match(style="exact"), "Caf\u00e9", "Cafe\u0301").value == 0.0
    assert verdict(choice(), "cafe\u0301", "Caf\u00e9", options=["tea", "Caf\u00e9"]).value == 1.0


def test_rouge_says_which_words_it_counts():
    found = verdict(rouge(), "東京 は", "東京 は")
    assert math.isnan(found.value) and "unicode=true" in found.cause
    assert verdict(rouge(unicode=True), "東京 は", "東京 は").value == 1.0
    assert verdict(rouge(), "東京", "Tokyo").value == 0.0
    assert verdict(rouge(), "x", "").value == 0.0


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("b", 1),
        ("(b)", 1),
        ("a", 0),
        ("Answer: b", 1),
        ("The answer is b.", 1),
        ("so\n**Answer:** b", 1),
        ("**Final answer: (C)**", 2),
        ("(A) looks right, it is not.\nAnswer: (b)", 1),
        ("A. cat is wrong.\nAnswer: B", 1),
        ("b) dog", 1),
        ("a dog", None),
        ("Answer: a dog", None),
        ("I have no answers", None),
        ("I do not know if the answer is b", None),
        ("Answer: z", None),
    ],
)
def test_small_letters_and_last_lines(answer, option):
    assert chosen(answer, ["cat", "dog", "fox"]) == option


def test_the_text_of_an_option_goes_before_a_small_letter():
    assert chosen("a", ["b", "a"]) == 1 and chosen("A", ["b", "a"]) == 0


@pytest.mark.parametrize(
    ("reward", "completion", "reference", "meta", "cause"),
    [
        (choice(), "B", "D", {"options": ["x", "y"]}, "reference 'D' is none of the 2 options"),
        (choice(), "B", None, {"options": ["x", "y"]}, "no reference"),
        (choice(), "B", "B", {"options": "xyz"}, "no options: expected a list"),
        (ranking(), "[1]", {"a": 3}, {}, "reference: expected integer ids or a mapping"),
        (ranking(), "[1]", "x", {}, "reference: expected integer ids or a mapping"),
        (tool_calls(), "x", 5, {}, "reference: expected a list of calls or a text, got int"),
        (json_schema(), '{"a": 1}', {"$ref": "http://x/y"}, {}, "a $ref that leads nowhere"),
        (json_schema(), '{"a": 1}', {"$ref": "#"}, {}, "refers to itself without end"),
    ],
)
def test_causes_name_what_is_wrong(reward, completion, reference, meta, cause):
    found = verdict(reward, completion, reference, **meta)
    assert math.isnan(found.value) and cause in found.cause


def test_json_too_deep_for_its_schema_does_not_fit():
    tree = {"type": "array", "items": {"$ref": "#"}}
    assert verdict(json_schema(), "[[], [[]]]", tree).value == 1.0
    found = verdict(json_schema(), "[" * 900 + "]" * 900, tree)
    assert found.value == 0.0
