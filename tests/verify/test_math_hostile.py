"""Hostile answers: bounded time, no crash, never a wrong `True`, and a cause where there is no verdict."""

from __future__ import annotations

import time

import pytest
from math_hostile import hostile

from guerdon.verify.maths import guard
from guerdon.verify.maths.affordable import refusal
from guerdon.verify.maths.decide import decide
from guerdon.verify.maths.exact import NotRational, rational
from guerdon.verify.maths.parser import parse

SECONDS = 2.0  # of processor time; the work allowance is a fraction of it


@pytest.mark.parametrize(("gold", "prediction", "equal"), hostile(), ids=lambda value: str(value)[:16])
def test_hostile_answers_are_bounded(gold, prediction, equal):
    for a, b in ((gold, prediction), (prediction, gold)):
        began = time.process_time()
        decision = decide(a, b)
        assert time.process_time() - began < SECONDS
        assert decision.path != "error"
        assert decision.equal is None or not decision.equal or equal
        assert decision.equal is not None or decision.cause


def test_the_next_answer_is_unharmed():
    for gold, prediction, _ in hostile():
        decide(gold, prediction)
        assert decide("\\sqrt{12}", "2\\sqrt{3}").equal


def test_power_towers_cost_microseconds():
    tree = parse("9^{9^{9}}").tree
    began = time.process_time()
    with pytest.raises(NotRational):
        rational(tree)
    assert time.process_time() - began < 0.1


def test_work_runs_out_at_the_same_place_every_time():
    heavy = "\\sqrt{" + "+".join(f"\\sqrt{{{n}}}" for n in range(2, 450)) + "}"
    verdicts = {decide("x " + heavy, heavy + " x") for _ in range(3)}
    assert len(verdicts) == 1
    with guard.allowance(), pytest.raises(guard.TooLarge):
        guard.spend(guard.MAX_WORK + 1)
    guard.spend(guard.MAX_WORK + 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\\sum_{n=1}^{1000000000} \\frac{1}{n}", "a long sum or product"),
        ("\\int_0^1 x^{x^{x^x}} dx", "a tower of powers"),
        ("\\int 9^{9^9} dx", "a tower of powers"),
        ("\\int x^{99999} dx", "a large exponent"),
        ("\\int 1000000! dx", "a large factorial"),
        ("\\int " + "x" * 700, "705 characters"),
        ("\\int " + "(" * 20, "nested too deep"),
        ("\\int " + "7" * 100, "a number with too many digits"),
        ("\\int_0^1 x^2 dx", None),
        ("\\sum_{n=1}^{100} n", None),
        ("\\sum_{n=1}^{\\infty} \\frac{1}{n^2}", None),
        ("\\lim_{x \\to 0} \\frac{\\sin x}{x}", None),
    ],
)
def test_what_is_worth_a_computer_algebra_system(text, why):
    assert refusal(text) == why
