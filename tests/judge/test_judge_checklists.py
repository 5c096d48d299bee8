"""Checklists: hand-worked cases over a judge that follows a rule."""

from __future__ import annotations

import math

import pytest
from judge_rules import Ruled, contains, group

from guerdon.errors import RecipeError
from guerdon.judge import Judge
from guerdon.judge.criteria import checked_criteria, combined


def test_criteria_are_parts_of_their_own():
    judge = Judge(Ruled(contains))
    criteria = [{"text": "says x", "name": "x", "points": 5}, {"text": "says y", "name": "y", "points": 3}]
    criteria.append({"text": "says z", "name": "z", "points": -4})
    batch = group("x z", "z", "x y")
    total, parts = judge.checklist(criteria, combine="positive").explain(batch)
    assert total.values == pytest.approx([0.125, -0.5, 1.0])
    assert {name: part.values.tolist() for name, part in parts.items()} == {
        "x": [1, 0, 1],
        "y": [0, 0, 1],
        "z": [1, 1, 0],
    }
    assert judge.checklist(criteria, combine="raw")(batch).values.tolist() == [1, -4, 8]
    assert judge.checklist(criteria)(batch).values == pytest.approx([2 / 3, 1 / 3, 2 / 3])


def test_combinations_of_the_papers():
    assert combined([1] * 4, [1, 0, 1, 1]) == 0.75
    assert (
        combined([-6, -2], [1, 0], "positive") == 0 and combined([-6, -2], [1, 0], "signed_fallback") == -0.75
    )
    assert combined([1] * 4, [1, 0.5, 0, 1]) == 0.625 and math.isnan(combined([], []))


def test_criteria_by_row():
    client = Ruled(contains)
    batch = group(
        "x",
        "y",
        "z",
        "w",
        meta=[{"criteria": ["has x", "has y"]}, {"criteria": ["has y"]}, {}, {"criteria": [7]}],
    )
    total, parts = Judge(client).checklist().explain(batch)
    assert total.values[:2].tolist() == [0.5, 1.0] and len(client.asked) == 3
    assert (
        total.causes[2] == "no criteria: meta['criteria'] must be a list of them"
        and "criterion 1" in total.causes[3]
    )
    assert parts["2"].causes[1] == "no such criterion" and parts["1"].values[:2].tolist() == [1, 1]


def test_all_criteria_in_one_question():
    def rule(found):
        lines = [line.split(". ", 1)[1] for line in found["criteria"].splitlines()]
        marks = [int(line.split()[-1] in found["answer"]) for line in lines]
        return f"{marks[:-1] if 'short' in found['answer'] else marks}"

    client = Ruled(rule)
    judge = Judge(client)
    reward = judge.checklist(["has x", "has\ny", "has z"], together=True)
    total, parts = reward.explain(group("x z", "short x", "y"))
    assert total.values[[0, 2]] == pytest.approx([2 / 3, 1 / 3]) and len(client.asked) == 3
    assert total.causes == {1: "judge: no list of as many verdicts as criteria in the reply"}
    assert parts["2"].values[2] == 1 and judge.usage.unread == 1


def test_partial_levels():
    words = {"a": "full", "b": "partial", "c": "none"}
    client = Ruled(lambda found: words[found["criterion"]])
    assert Judge(client).checklist(["a", "b", "c"], partial=True)(group("x")).values[0] == 0.5
    both = Judge(Ruled(lambda found: "[1, 0.5, 0, 1]"))
    assert both.checklist(list("abcd"), partial=True, together=True)(group("x")).values[0] == 0.625


def test_unclear_criteria():
    judge = Judge(Ruled(lambda found: {"a": "Yes", "b": "maybe", "c": "No"}[found["criterion"]]))
    batch = group("x")
    strict = judge.checklist(["a", "b", "c"])(batch)
    assert strict.causes == {0: "judge: no verdict in the reply"}
    assert judge.checklist(["a", "b", "c"], unclear="skip")(batch).values[0] == 0.5
    assert judge.checklist(["a", "b", "c"], unclear="unmet")(batch).values[0] == pytest.approx(1 / 3)
    assert judge.checklist(["b"], unclear="skip")(batch).missing == 1


@pytest.mark.parametrize(
    "bad",
    [
        "text",
        [""],
        [7],
        [{"name": "x"}],
        [{"text": "x", "points": "many"}],
        [{"text": "a", "name": "n"}, {"text": "b", "name": "n"}],
    ],
)
def test_bad_criteria(bad):
    with pytest.raises(RecipeError, match="criteri"):
        checked_criteria(bad)
