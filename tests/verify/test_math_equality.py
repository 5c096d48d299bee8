"""What counts as equal: the written rules, pair by pair; symmetry; exactness."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from math_pairs import pairs

from guerdon.verify.maths.decide import decide
from guerdon.verify.maths.locate import locate

PAIRS = pairs()


def test_all_pairs_and_no_wrong_acceptance():
    verdicts = [(p, decide(p.gold, p.prediction).equal) for p in PAIRS]
    wrong = [(p, equal) for p, equal in verdicts if equal != p.equal]
    accepted = [p for p, equal in wrong if equal]
    assert not accepted
    assert not wrong
    assert len(PAIRS) > 8000 and len(Counter(p.kind for p in PAIRS)) > 40


def test_verdicts_are_symmetric_and_repeatable():
    for p in PAIRS:
        first = decide(p.gold, p.prediction)
        assert decide(p.gold, p.prediction) == first
        if p.kind != "rounded_gold":
            assert decide(p.prediction, p.gold).equal == first.equal, p


@pytest.mark.parametrize(
    ("gold", "prediction", "path"),
    [
        ("42", "42", "integer"),
        ("42", "84/2", "rational"),
        ("x^2-1", "(x-1)(x+1)", "modular"),
        ("\\sqrt{12}", "2\\sqrt{3}", "numeric"),
        ("\\{1,2\\}", "\\{2,1\\}", "structure"),
        ("\\frac12", "\\dfrac{1}{2}", "rational"),
        ("x+1", "x + 1", "identical"),
        ("Evelyn", "evelyn.", "structure"),
        ("7:30", "07:30", "time"),
        ("1011_2", "1011_{two}", "base"),
        ("B", "(B) 12", "choice"),
        ("\\approx 3.14", "\\pi", "rounded"),
        ("2e-3", "0.002", "rational (other reading)"),
    ],
)
def test_the_path_is_recorded(gold, prediction, path):
    decision = decide(gold, prediction)
    assert decision.equal and decision.path == path


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("\\pi", "355/113"),
        ("\\sqrt{2}+10^{-90}", "\\sqrt{2}"),
        ("\\sqrt{1+10^{-100}}", "1"),
        ("\\sin(10^{-60})", "10^{-60}"),
        ("\\cos(10^{-30})", "1"),
        ("\\tanh(100)", "1"),
        ("e^{\\pi\\sqrt{163}}", "262537412640768744"),
        ("(x+1)^{100000}", "(x+1)^{100000}+1"),
        ("2^{10^{-100}}", "1"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
    ],
)
def test_exact_forms_differ_however_close(a, b):
    assert decide(a, b).equal is False
    assert decide(b, a).equal is False


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("\\sin(1000\\pi)", "0"),
        ("3+\\cos\\frac{\\pi}{2}", "3"),
        ("(\\ln 4-2\\ln 2)+3", "3"),
        ("\\sqrt{2}+\\sqrt{3}-\\sqrt{5+2\\sqrt6}", "0"),
        ("3+e^{i\\pi/2}", "3+i"),
        ("\\sqrt{-16}+3", "3+4i"),
        ("\\cos\\frac{2\\pi}{7}+\\cos\\frac{4\\pi}{7}+\\cos\\frac{6\\pi}{7}", "-\\frac12"),
        ("2^{2^{2^{2^{2}}}}", "2^{65536}"),
        ("x\\sqrt{x}", "\\sqrt{x^3}"),
        ("n!", "n(n-1)!"),
    ],
)
def test_equal_forms_that_take_care(a, b):
    assert decide(a, b).equal is True
    assert decide(b, a).equal is True


def test_branches_and_domains():
    assert decide("\\sqrt{x^2}", "|x|").equal
    assert not decide("\\sqrt{x^2}", "x").equal
    assert not decide("\\ln x", "\\ln|x|").equal
    assert not decide("|x-300|", "x-300").equal


def test_what_is_undefined_equals_nothing():
    assert decide("\\frac{1}{0}", "1").equal is False
    assert decide("1", "0^{-1}").equal is False


def test_control_characters_have_no_reading():
    decision = decide("1", "1\x00")
    assert decision.equal is None and decision.cause == "unparsable: control characters"
    assert decide("7", "\x1b[31m8\x1b[0m").equal is False


def written_texts():
    lines = (Path(__file__).parent / "math_texts.jsonl").read_text(encoding="utf-8").splitlines()
    for row in map(json.loads, lines):
        yield from ((row["gold"], text, True) for text in row["equal"])
        yield from ((row["gold"], text, False) for text in row["different"])


def test_texts_with_an_answer_somewhere_in_them():
    wrong = []
    for gold, text, equal in written_texts():
        found = locate(text, gold)
        refused = found.text is None or found.hedged
        if (False if refused else decide(gold, found.text).equal) is not equal:
            wrong.append((gold, text, found))
    assert not wrong


def golden():
    root = os.environ.get("GUERDON_DATA")
    path = Path(root).parent / "golden" / "math_answers_examples.jsonl" if root else None
    if path is None or not path.exists():
        pytest.skip("GUERDON_DATA is unset or has no golden folder beside it")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_golden_examples():
    wrong = []
    for row in golden():
        if row["kind"] == "contestable":
            continue
        text = row["prediction"]
        if row["form"] == "text":
            found = locate(text, row["gold"])
            equal = False if found.text is None or found.hedged else decide(row["gold"], found.text).equal
        else:
            equal = decide(row["gold"], text).equal
        if equal is not row["equal"] and not (row["kind"] == "hostile" and equal is None):
            wrong.append((row["id"], equal))
    assert not wrong
