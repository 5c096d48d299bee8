"""Countdown: answers, the published reward, steps, and a brute-force solver as an oracle."""

from __future__ import annotations

import itertools
import math
import random
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.tasks import Countdown
from guerdon.tasks.countdown import combines, release_reward

NUMBERS, TARGET = [3, 5, 7], 22
REFERENCE = {"numbers": NUMBERS, "target": TARGET}
GOLD = "3 * 5 = 15 (left: 7 15)\n7 + 15 = 22 (left: 22)\n<answer>7+3*5</answer>"


def solutions(numbers: list[int]) -> dict[Fraction, str]:
    """Every value that all numbers together can make, with one fully bracketed expression for it."""
    found: dict[Fraction, str] = {}

    def search(items: list[tuple[Fraction, str]]) -> None:
        if len(items) == 1:
            found.setdefault(*items[0])
            return
        for (i, (a, x)), (j, (b, y)) in itertools.permutations(enumerate(items), 2):
            rest = [item for k, item in enumerate(items) if k not in (i, j)]
            made = [(a + b, f"({x}+{y})"), (a - b, f"({x}-{y})"), (a * b, f"({x}*{y})")]
            if b:
                made.append((a / b, f"({x}/{y})"))
            for item in made:
                search([*rest, item])

    search([(Fraction(n), str(n)) for n in numbers])
    return found


@pytest.mark.parametrize(
    ("answer", "release", "strict"),
    [
        ("<answer>3*5+7</answer>", 1.0, 1.0),
        ("<answer>3+5+7</answer>", 0.1, 0.0),
        ("<answer>3*7+1</answer>", 0.1, 0.0),
        ("3*5+7", 0.0, 0.0),
        ("", 0.0, 0.0),
        ("<answer>3*5+7</answer> so 22", 1.0, 1.0),
        ("<answer>3*5+7</answer>\nso 22", 0.0, 1.0),  # the release reads the last line only
        ("<answer>3*5+7</answer> <answer>1</answer>", 0.1, 0.0),  # the last answer counts
        ("Assistant: <answer>1</answer> Assistant: <answer>(3*5)+7</answer>", 1.0, 1.0),
        ("<answer>7-(-3*5)</answer>", 1.0, 1.0),
        ("<answer>3×5+7</answer>", 0.1, 1.0),
        ("<answer>3*5+7=22</answer>", 0.1, 0.0),
        ("<answer>3*5+7*3/3</answer>", 0.1, 0.0),
        ("<answer>22</answer>", 0.1, 0.0),
        ("<answer></answer>", 0.1, 0.0),
        ("<answer>3*5+7", 0.0, 0.0),
        ("<answer>(3*5+7</answer>", 0.1, 0.0),
        ("<answer>3*5.+7</answer>", 0.1, 0.0),
        ("<answer>３*5+7</answer>", 0.1, 0.0),
        ("<answer>03*5+7</answer>", 0.1, 0.0),
        ("<answer>3*5+7#</answer>", 0.1, 0.0),
        ("<answer>3/(5-5)+7</answer>", 0.1, 0.0),
    ],
)
def test_both_rewards(answer, release, strict):
    assert release_reward(answer, NUMBERS, TARGET) == release
    assert Countdown().check(answer, REFERENCE) == strict
    assert Countdown(variant="release").check(answer, REFERENCE) == strict, "check is always strict"
    assert Countdown(variant="release").score(answer, REFERENCE, {}) == release


def test_powers_and_floor_division_are_no_operators():
    assert not combines("2**3", [2, 3], 8) and not combines("7//2", [7, 2], 3)
    assert release_reward("<answer>2**3</answer>", [2, 3], 8) == 0.1
    assert release_reward("<answer>7//2</answer>", [7, 2], 3) == 0.1


def test_values_are_exact_not_floating():
    assert combines("8/(3-8/3)", [8, 3, 8, 3], 24)
    assert not combines("1/3", [1, 3], 0)
    assert release_reward("<answer>1/300000</answer>", [1, 300000], 0) == 1.0, "the release allows 1e-5"


def test_division_by_zero_and_huge_numbers_are_wrong():
    assert not combines("5/(3-3)", [5, 3, 3], 0)
    assert not combines("9" * 5000, [9], 9)
    assert not combines("*".join(["99999999"] * 30), [99999999] * 30, 1)
    assert not combines("(" * 300 + "1" + ")" * 300, [1], 1)
    assert release_reward("<answer>" + "9" * 5000 + "</answer>", [9], 9) == 0.1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 25), min_size=2, max_size=4), st.integers(0, 10**6))
def test_against_brute_force(numbers, seed):
    found = solutions(numbers)
    rng = random.Random(seed)
    for value, expression in rng.sample(sorted(found.items()), min(20, len(found))):
        target = int(value) if value.denominator == 1 else 7
        assert combines(expression, numbers, target) == (value == target)
        assert not combines(expression, [*numbers, 1], target)
        assert not combines(expression, numbers, target + 1)


def test_generated_problems_are_solvable_by_brute_force():
    for problem in Countdown(numbers=[3, 4], max_number=12).problems("train", 12, seed=2):
        assert problem.reference["target"] in solutions(problem.reference["numbers"])


def test_prompts():
    (short,) = Countdown().problems("train", 1)
    assert re.fullmatch(r"\d+( \d+){2,3} > \d\d\n", short.prompt)
    (words,) = Countdown(style="words", numbers=5).problems("train", 1)
    numbers = ", ".join(map(str, words.reference["numbers"]))
    assert f"[{numbers}]" in words.prompt and f"equals {words.reference['target']}." in words.prompt


def steps(text: str) -> list[float]:
    task = Countdown()
    values = task.check_steps(text, REFERENCE)
    assert len(values) == len(task.split_steps(text))
    return values


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (GOLD, [1, 1, 1]),
        ("3 * 5 = 15 (left: 15 7)\n15 + 7 = 22 (left: 22)\n", [1, 1]),  # any order
        ("3 * 5 = 16 (left: 7 16)\n7 + 16 = 23 (left: 23)", [0, 0]),  # nothing may build on a mistake
        ("3 * 5 = 15 (left: 7 15 15)", [0]),
        ("3 * 5 = 15 (left: 7)", [0]),
        ("3 * 3 = 9 (left: 5 7 9)", [0]),  # 3 is there once
        ("3 + 5 = 8 (left: 7 8)\n3 * 5 = 15 (left: 7 15)\n7 + 8 = 15 (left: 15)", [1, 1, 1]),  # backtracks
        ("3 / 5 = 3/5 (left: 7 3/5)\n7 + 3/5 = 38/5 (left: 38/5)", [1, 1]),
        ("3 - 5 = -2 (left: -2 7)\n7 - -2 = 9 (left: 9)", [1, 1]),
        ("3 × 5 = 15 (left: 7 15)\n7 − 15 = −8 (left: −8)", [1, 1]),
        ("3*5=15 (left: 7 15)", [0]),
        ("Let me try.\n3 * 5 = 15 (left: 7 15)\n\n\n7 + 15 = 22 (left: 22)", [0, 1, 1]),
        ("<answer>3+5+7</answer>\n<answer>7+3*5</answer>", [0, 1]),
        ("3 / 0 = 0 (left: 0)", [0]),
        ("3 * 5 = 15/0 (left: 7 15/0)", [0]),
        ("3 * 5 = 30/2 (left: 7 15)", [1]),
        ("3 * 5 = 15 (left: 7 15) yes", [0]),
        ("", []),
        ("\n\n", [0]),
        ("\n3 * 5 = 15 (left: 7 15)", [1]),
    ],
)
def test_steps(text, valid):
    assert steps(text) == valid


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_a_changed_digit_makes_its_step_invalid(seed, data):
    task = Countdown(numbers=4)
    problem = task.draw(random.Random(seed))
    lines = problem.solution.split("\n")
    at = data.draw(st.integers(0, len(lines) - 2))
    digits = [i for i, c in enumerate(lines[at]) if c.isdigit()]
    place = data.draw(st.sampled_from(digits))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != lines[at][place]]))
    lines[at] = lines[at][:place] + digit + lines[at][place + 1 :]
    values = task.check_steps("\n".join(lines), problem.reference)
    assert values[:at] == [1.0] * at and values[at] == 0.0
    assert values[-1] == 1.0, "the answer does not depend on the work"


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="0123 +-*/=()left:<>answer\n", max_size=80) | st.text(max_size=40))
def test_any_text_has_steps_that_cover_it(text):
    ends = Countdown().split_steps(text)
    assert ends == sorted(set(ends)) and (ends[-1] if ends else 0) == len(text) and 0 not in ends
    steps(text)


@pytest.mark.parametrize(
    "reference", [None, {}, {"numbers": [1]}, 22, "22", {"numbers": ["x"], "target": 1}, [3]]
)
def test_missing_ground_truth_is_nan(reference):
    task = Countdown()
    assert math.isnan(task.check(GOLD, reference))
    assert (
        all(math.isnan(v) for v in task.check_steps(GOLD, reference))
        and len(task.check_steps(GOLD, reference)) == 3
    )
