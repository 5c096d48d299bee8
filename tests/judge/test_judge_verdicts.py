"""Readers find clear verdicts, return None for everything else, and never raise."""

from __future__ import annotations

import gzip
import json
import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guerdon.errors import RecipeError
from guerdon.judge import Reader, expected_value, reader, resolve
from guerdon.judge.likelihoods import check_labels, label_logprobs
from guerdon.judge.wire import positions

KINDS = ["five_level", "letter", "rating", "boxed", "json", "yes_no", "levels", "zero_one", "tag", "scale"]

CASES = [
    ("five_level", "My final verdict is: [[A>>B]]", 1.0),
    ("five_level", "[[A>B]]", 1.0),
    ({"use": "five_level", "slight": 0.75}, "[[A>B]]", 0.75),
    ({"use": "five_level", "slight": 0.75}, "[[B > A]]", 0.25),
    ("five_level", "[[A=B]]", 0.5),
    ("five_level", "[[b>>a]]", 0.0),
    ("five_level", "[[A<B]]", 0.0),
    ("five_level", "[[A<<B]] so [[B>>A]]", 0.0),
    ("five_level", "[[A>B]] ... no: [[B>A]]", None),
    ("five_level", "[[A>A]]", None),
    ("five_level", "A>B", None),
    ("five_level", "", None),
    ("letter", "Thus [[A]]", 1.0),
    ("letter", "[[b]]", 0.0),
    ("letter", "[[C]]", 0.5),
    ("letter", "[[Tie]]", 0.5),
    ("letter", "[[D]]", None),
    ("letter", "[[A]] or [[B]]", None),
    ("rating", "Rating: [[7]]", 7.0),
    ("rating", "[[ 7.5 ]]", 7.5),
    ("rating", "[[7/10]]", 7.0),
    ("rating", "[[7/5]]", None),
    ("rating", "[[11]]", None),
    ("rating", "[[0]]", None),
    ("rating", "[[8]] and again [[8]]", 8.0),
    ("rating", "[[8]] but [[11]]", None),
    ("rating", "[[8]] but [[9]]", None),
    ("rating", "[[rating]] is [[8]]", 8.0),
    ("rating", "[[1e999]]", None),
    ("rating", "[[nan]]", None),
    ("rating", "<think>[[1]] maybe</think> [[9]]", 9.0),
    ("rating", "<think>[[1]] maybe it never ends", None),
    ("boxed", r"so \boxed{3}", 3.0),
    ("boxed", r"\boxed{1} no \boxed{ 2 }", 2.0),
    ("boxed", r"\boxed{\text{B}}", None),
    ("boxed", r"\boxed{101}", None),
    ("boxed", r"\boxed{", None),
    ("json", '{"choice": "A"}', 1.0),
    ("json", 'Quoting {"choice": "A"}. Mine: ```json\n{"reasons": "{", "choice": "b"}\n```', 0.0),
    ("json", '{"choice": "C"}', None),
    ("json", '{"choice": 1}', None),
    ("json", '{"verdict": "A"}', None),
    ("json", '{"choice": "A"', None),
    ({"use": "json", "field": "score", "low": 0, "high": 10}, '{"score": 7.5}', 7.5),
    ({"use": "json", "field": "score", "low": 0, "high": 10}, '{"score": true}', None),
    ({"use": "json", "field": "score", "low": 0, "high": 10}, '{"score": NaN}', None),
    ({"use": "json", "field": "score", "low": 0, "high": 10}, '{"score": 1' + "0" * 5000 + "}", None),
    ({"use": "json", "field": "score", "low": 0, "high": 10}, '{"score": 70}', None),
    ("yes_no", "Yes", 1.0),
    ("yes_no", "no.", 0.0),
    ("yes_no", "**Yes**, because", 1.0),
    ("yes_no", "The answer restates it.\nVerdict: no", 0.0),
    ("yes_no", "So the answer is yes.", 1.0),
    ("yes_no", "Yes, it is.\nFinal answer: No", None),
    ("yes_no", "No doubt this is right", None),
    ("yes_no", "Yesterday", None),
    ("yes_no", "yes or no", None),
    ("yes_no", "", None),
    ("levels", "Partial", 0.5),
    ("levels", "Level: full", 1.0),
    ("levels", "nonetheless", None),
    ("tag", "<score>85</score>", 85.0),
    ("tag", "<score>85</score> <score>85</score>", 85.0),
    ("tag", "<score>85</score> <score>10</score>", None),
    ("tag", "<score>850</score>", None),
    ("tag", "<score>eighty</score>", None),
    ("tag", "<score>85", None),
    ("scale", "Rating: 8", 8.0),
    ("scale", "I give a score of: no. Score is 8/10.", 8.0),
    ("scale", "Score: 8 out of 10", 8.0),
    ("scale", "**7**", 7.0),
    ("scale", "Rating: 80", None),
    ("scale", "Rating: 8. Rating: 9", None),
    ("scale", "There are 7 reasons", None),
]


@pytest.mark.parametrize(("spec", "text", "expected"), CASES)
def test_values(spec, text, expected):
    assert reader(spec).value(text) == expected


def test_lists():
    assert reader("zero_one").label("Here: [1, 0, 1]") == (1.0, 0.0, 1.0)
    assert reader({"use": "zero_one", "count": 3}).label("[1,0,1] not [1,0]") == (1.0, 0.0, 1.0)
    assert reader({"use": "zero_one", "count": 2}).label("[1, 0, 1]") is None
    assert reader("zero_one").label("[1, 2]") is None
    assert reader("zero_one").label("[1, 0] or [0, 1]") is None
    assert reader({"use": "zero_one", "partial": True}).label("[0.5, 1]") == (0.5, 1.0)
    assert reader("zero_one").label("[0.5, 1]") is None


def test_json_schema():
    schema = {"required": ["reasons"], "properties": {"reasons": {"type": "string"}}}
    choice = reader({"use": "json", "schema": schema})
    assert choice.value('{"choice": "A", "reasons": "x"}') == 1.0
    assert choice.value('{"choice": "A"}') is None
    with pytest.raises(RecipeError, match="schema"):
        reader({"use": "json", "schema": {"type": "no such type"}})


TOKENS = r'[[ ]] A B > = < 7 . /10 { } "choice" : "A" yes no \boxed{ <score> </score> <think> </think> full'
PIECES = st.sampled_from([*TOKENS.split(), "\n", " ", "Rating: ", "[1, 0]", "\ud800", "\u0967", "\u00b2"])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join)))
@example("[[" * 20000)
@example('{"a":' * 5000)
@example("[1," * 10000)
@example("Rating: " * 5000)
@example("yes " * 5000)
@example("<score>" * 5000)
def test_no_reader_ever_raises_or_leaves_its_range(text):
    for kind in KINDS:
        made = reader(kind)
        label = made.label(text)
        if kind == "zero_one":
            assert label is None or set(label) <= {0.0, 1.0}
            continue
        value = made.value(text)
        assert value is None or (math.isfinite(value) and made.low <= value <= made.high)


@pytest.mark.parametrize(
    "attack",
    [
        "[[" * 10000,
        "{" * 20000,
        '{"a":' * 4000,
        "[0," * 7000,
        "Rating is " * 2000,
        "<score>1" * 2500,
        " " * 20000,
        "\\boxed{" * 3000,
    ],
)
def test_readers_are_fast_on_hostile_text(attack):
    for kind in KINDS:
        begin = time.perf_counter()
        reader(kind).label(attack)
        assert time.perf_counter() - begin < 0.5, kind


@pytest.mark.skipif("GUERDON_DATA" not in os.environ, reason="GUERDON_DATA is not set")
def test_published_verdicts_are_read_as_published():
    """JudgeBench's o1-mini judge: 700 replies, and the score 65.71 recomputed from them."""
    path = Path(os.environ["GUERDON_DATA"]) / "judgebench" / "verdicts__arena_hard__o1-mini.jsonl.gz"
    five, right, pairs = reader("five_level"), 0, 0
    with gzip.open(path, "rt") as lines:
        for line in lines:
            pair = json.loads(line)
            texts = [game["judgment"]["response"] for game in pair["judgments"]]
            labels = [five.label(text).replace(">>", ">") for text in texts]
            assert labels == [game["decision"] for game in pair["judgments"]]
            share = resolve(five.value(texts[0]), 1 - five.value(texts[1]), "sign")
            right += share == (1.0 if pair["label"] == "A>B" else 0.0)
            pairs += 1
    assert pairs == 350 and round(100 * right / pairs, 2) == 65.71


def test_readers_from_outside():
    assert Reader("mine", lambda text: 1 / 0).value("x") is None
    assert Reader("mine", lambda text: "seven").value("x") is None
    assert Reader("mine", len).value("four") == 4.0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ratings", "did you mean 'rating'"),
        ({"use": "rating", "hi": 5}, "verdict.hi"),
        ({"use": "rating", "low": 5, "high": 5}, "low must be below high"),
        ({"use": "letter", "values": {"A": 1}}, "two or more"),
        ({"use": "five_level", "slight": 0.5}, "slight"),
        ({"use": "tag", "tag": "a b"}, "tag"),
        ({"use": "yes_no", "yes": 0}, "differ"),
        ({"use": "json", "low": 1}, "low and high"),
    ],
)
def test_bad_specifications(spec, message):
    with pytest.raises(RecipeError, match=message):
        reader(spec)


def test_expected_values():
    # digit probabilities {7: .2, 8: .5, 9: .3} -> 8.1
    logs = {"7": math.log(0.2), "8": math.log(0.5), "9": math.log(0.3)}
    values = {str(k): float(k) for k in range(10)}
    assert expected_value(logs, values) == pytest.approx((8.1, 1.0))
    yes = {"Yes": math.log(0.6), "No": math.log(0.2)}
    assert expected_value(yes, {"Yes": 1.0, "No": 0.0}) == pytest.approx((0.75, 0.8))
    assert expected_value({"Yes": math.log(0.3)}, {"Yes": 1, "No": 0}, min_mass=0.2) == pytest.approx(
        (1.0, 0.3)
    )
    assert math.isnan(expected_value({"Yes": math.log(0.3)}, {"Yes": 1, "No": 0})[0])
    assert math.isnan(expected_value({}, {"Yes": 1, "No": 0}, min_mass=0)[0])


def test_label_logprobs():
    labels = ("Yes", "No")
    found = label_logprobs(
        [[(" Yes", -1.0), ("yes", -2.0), ("No", -3.0), ("Now", -0.5), ("Y", -4.0)]], labels
    )
    assert found["Yes"] == pytest.approx(math.log(math.exp(-1) + math.exp(-2) + math.exp(-4)))
    assert found["No"] == pytest.approx(-3.0)
    assert label_logprobs([[("\n", -0.1), ("Yes", -3.0)], [("**No", -0.2)]], labels) == {
        "No": pytest.approx(-0.2)
    }
    assert label_logprobs([[("I", -0.1), ("Yes", -4.0)]], labels) == {"Yes": pytest.approx(-4.0)}
    assert label_logprobs([], labels) == {}
    with pytest.raises(RecipeError, match="begins"):
        check_labels(("1", "10"))
    assert reader({"use": "scale", "low": 1, "high": 10}).labels == ()
    assert reader({"use": "scale", "low": 1, "high": 5}).labels == ("1", "2", "3", "4", "5")


def test_positions_of_both_wire_formats():
    chat = {
        "content": [{"token": "Yes", "logprob": -0.1, "top_logprobs": [{"token": "No", "logprob": -2.0}, 7]}]
    }
    old = {"tokens": ["Yes"], "token_logprobs": [-0.1], "top_logprobs": [{"No": -2.0, "x": "?"}]}
    for form in (chat, old):
        assert sorted(positions(form)[0]) == [("No", -2.0), ("Yes", -0.1)]
    for bad in (None, 7, {}, {"content": None}, {"top_logprobs": 7}, {"content": [3]}):
        assert positions(bad) == []
