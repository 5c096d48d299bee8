"""Answers in brackets that a text does not commit to."""

from __future__ import annotations

import pickle

import pytest

from guerdon import Rollouts
from guerdon.registry import build
from guerdon.verify.markup import finder
from guerdon.verify.settled import settled, settling


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("The box is [1, 2].", "The box is [1, 2]."),
        ("It is certainly not [1, 2].", "It is certainly "),
        ("I do not know whether it is [1, 2]", "I do not know "),
        ("Not the first one.\nIt is [1, 2]", "Not the first one.\nIt is [1, 2]"),
        ("[1, 2]\nWait, that is wrong. It is [3, 4]", ". It is [3, 4]"),
        ("No, wait. Wait, I made a mistake: [1]\nActually that was wrong: [2]", ": [2]"),
        ("[1] or [2] or [3]", ""),
        ("Candidates: [1] or [2].\nFinal: [2]", "\nFinal: [2]"),
        ("<answer>[1]</answer> <answer>[2]</answer>", ""),
        ("nothing wrong here: [1]", "nothing wrong here: [1]"),
    ],
)
def test_what_a_text_commits_to(text, left):
    assert settled(text) == left


def test_several_answers_may_be_wanted():
    assert settled("[1] or [2]", one=False) == "[1] or [2]"


def test_a_settling_finder_keeps_none_and_travels_to_workers():
    find = pickle.loads(pickle.dumps(settling(finder("tag:answer"))))
    assert find("no tag") is None
    assert find("<answer>not [1]</answer>") == "" and find("<answer>[1]</answer>") == "[1]"


@pytest.mark.parametrize(
    ("use", "reference", "right", "other"),
    [
        ("points", [0, 0, 10, 10], "[5, 5]", "[50, 50]"),
        ("boxes", [0, 0, 10, 10], "[0, 0, 10, 10]", "[50, 50, 60, 60]"),
        ("graph", [["a", "b"]], '[["a", "b"]]', '[["c", "d"]]'),
        ("ranking", [1], "[1, 2, 3, 4, 5]", "[2, 3, 4, 5]"),
        ("json_schema", {"type": "array", "maxItems": 1}, "[1]", "[1, 2]"),
    ],
)
def test_verifiers_of_structures(use, reference, right, other):
    reward = build("reward", {"use": f"verify.{use}"})
    texts = [
        f"It is {right}.",
        f"It is not {right}.",
        f"It is {right}\nWait, that is wrong: {other}",
        f"It is {other}\nWait, that is wrong: {right}",
    ]
    texts.append(f"{right} or {other}")
    rollouts = Rollouts(prompt=["p"] * 5, completion=texts, reference=[reference] * 5)
    values = reward(rollouts).values.tolist()
    assert values[0] == values[3] == 1.0 and values[1] == 0.0 and values[2] < 0.4
    assert values[4] == (0.5 if use == "boxes" else 0.0)
