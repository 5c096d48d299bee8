"""Equations in prose, where numbers come from, and the step reward made of both."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import guerdon
from guerdon.bench.candidates import with_steps
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build
from guerdon.verify.steps.equations import equations
from guerdon.verify.steps.reward import StepChecks, findings
from guerdon.verify.steps.support import mentioned

TRUE = [
    r"In total, \(4 \times 5 = 20\) cats were carried away.",
    r"\[ \frac{3}{5} \times 30 = 18 \]",
    "Time = Distance / Speed = 150 miles / 75 mph = 2 hours",
    "$4.20 + $9.45 + $1.35 = $15.00",
    "20% of 100 = 20 and 0.25 * 80 = 20",
    "3/10 × 100 = 30%",
    "22/7 = 3.14 and 10 / 3 ≈ 3.3",
    "The penny is three-quarters of the 2010 penny, (3/4) * 48 = 36 grains",
    "1,200 + 300 = 1,500 people",
    "7 plus 10 equals 17",
    "2^3 * (1 + 2) = 24",
    "4 x 5 = 20",
    "-48 + 21 + -3 = -30",
    "x = 5 * 4\n= 20",
    "12.375 chips, so 4.95 / 0.40 = 12 bags",
    "5 million / 2 = 2.5 million",
]
FALSE = [
    "17 - 3 = 15",
    r"\frac{100}{4} = 20 dollars",
    "20 + 4*25 = 20 + 100 = 130",
    "Total Cost = 20 + 100 = 110",
    "1/6 * 0.01 = 0.0025",
    "15 miles + 3 miles = 20 miles",
]
SILENT = [
    "2x + 30 = 110",
    "s + s + 30 = 110",
    "2 hours = 120 minutes",
    "She works for 5 days = 15 hours",
    "10n + 10 <= 120",
    "The party is from 1:00 to 5:00 - 1:00",
    "In the 2010 edition = 5",
    "x = 3",
    "9^9^9^9 = 5 and 1/0 = 3",
    "((((((",
    "= = = 3 + = 4",
    "",
]


@pytest.mark.parametrize("text", TRUE)
def test_true_equations_hold(text):
    found = equations(text)
    assert found and all(equation.holds for equation in found), found


@pytest.mark.parametrize("text", FALSE)
def test_false_equations_do_not(text):
    assert not all(equation.holds for equation in equations(text))


@pytest.mark.parametrize("text", SILENT)
def test_what_cannot_be_compared_is_left_alone(text):
    assert equations(text) == []


@given(st.integers(0, 10**6), st.integers(1, 10**4), st.sampled_from("+-*/"))
def test_generated_equations(a, b, sign):
    value = {"+": Fraction(a + b), "-": Fraction(a - b), "*": Fraction(a * b), "/": Fraction(a, b)}[sign]
    shown = str(value) if value.denominator == 1 else f"{float(value):.4f}"
    (equation,) = equations(f"so there are {a} {sign} {b} = {shown} apples left.")
    assert equation.holds
    off = (
        value + max(2, abs(value) / 10)
        if value.denominator == 1
        else value + max(Fraction(1, 10), abs(value))
    )
    wrong = str(off) if off.denominator == 1 else f"{float(off):.4f}"
    assert not all(e.holds for e in equations(f"{a} {sign} {b} = {wrong}"))


@given(st.text(max_size=300))
def test_any_text_is_read(text):
    findings(text, [text, text[::-1]])


def test_where_numbers_come_from():
    assert {Fraction(9300), Fraction(2), Fraction(1, 2), Fraction(3)} <= mentioned(
        "9,300 pennies, two thirds"
    )
    assert {Fraction(3, 10), Fraction(7, 10), Fraction(13, 10)} <= mentioned("30% off")
    problem = "Ann has 17 apples and gives away 5."
    assert findings(problem, ["17 - 5 = 12", "12 * 2 = 24"], ["carried"]) == [None, None]
    assert findings(problem, ["17 - 5 = 12", "38 + 12 = 50"], ["carried"])[1] == "38 comes from nowhere"
    assert findings(problem, ["There were 38 before.", "38 + 12 = 50"], ["carried"]) == [None, None]


def test_findings_say_what_is_wrong():
    steps = ["17 - 3 = 15", "However, this does not fit.", "So the answer is 15."]
    assert findings("17 and 3", steps) == ["14 is not 15", "doubt: 'however'", None]
    assert findings("17 and 3", steps, ["arithmetic"]) == ["14 is not 15", None, None]


def test_the_reward_scores_steps():
    rollouts = with_steps(["17 and 3", "2 and 2"], [["17 - 3 = 15", "fine"], ["2 + 2 = 4"]])
    signal = build("reward", {"use": "verify.step_checks"})(rollouts)
    assert signal.level == "step" and signal.values.tolist() == [0.0, 1.0, 1.0]
    with pytest.raises(RecipeError, match="did you mean 'arithmetic'"):
        StepChecks(["aritmetic"])
    with pytest.raises(DataError, match="partition"):
        StepChecks()(guerdon.Rollouts(completion=["a"]))
    empty = with_steps([], [])
    assert StepChecks()(empty).values.shape == (0,) and np.isfinite(signal.values).all()
