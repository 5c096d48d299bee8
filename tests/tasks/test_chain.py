"""Chain of arithmetic: generation, steps and outcome."""

from __future__ import annotations

import math
import random
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.tasks import Chain
from guerdon.tasks.expressions import evaluate, parse

META = {"expression": "7+5-3+8"}
GOLD = "7+5=12;12-3=9;9+8=17;#17"


def steps(text: str, meta=META, **config) -> list[float]:
    return Chain(**config).check_steps(text, "17", meta)


def test_the_worked_example():
    task = Chain()
    assert task.check(GOLD, "17", META) == 1.0
    assert task.split_steps(GOLD) == [7, 14, 21, 24]
    assert steps(GOLD) == [1, 1, 1, 1]
    assert task.check(GOLD, 17) == 1.0, "an integer reference and no meta do as well"


@pytest.mark.parametrize(
    ("text", "valid", "outcome"),
    [
        ("7+5=13;13-3=10;10+8=18;#18", [0, 1, 1, 1], 0),  # one mistake, carried on faithfully
        ("7+5=12;12-3=8;9+8=17;#17", [1, 0, 0, 1], 1),  # second stated wrong, third does not carry it
        ("7+5=11;11-3=8;8+8=17;#17", [0, 1, 0, 1], 1),  # two errors that cancel: right for wrong reasons
        ("#17", [0], 1),  # a guess
        ("7+5=12;12-3=9;9+8=17;#18", [1, 1, 1, 0], 0),
        ("7+5=12;12-3=9;9+8=17", [1, 1, 1], 0),  # no answer
        ("7+5=12;12-3=9;9+8=17;", [1, 1, 1], 0),
        ("7+5=12;12-3=9;#9", [1, 1, 0], 0),  # answers before the end of the chain
        ("7+5=12;7+5=12;9+8=17;#17", [1, 0, 0, 1], 1),  # repeats a step
        ("5+7=12;12-3=9;9+8=17;#17", [0, 1, 1, 1], 1),  # true, but not the chain's step
        ("7+5=12;12-3=9;9+8=17;17+0=17;#17", [1, 1, 1, 0, 0], 1),  # a step too many
        ("7+5=12;;12-3=9;9+8=17;#17", [1, 0, 0, 0, 0], 1),  # an empty step shifts the rest
        ("7+5=12;hm;9+8=17;#17", [1, 0, 0, 1], 1),  # nothing stated, nothing to carry
        (f"{GOLD};#17", [1, 1, 1, 1, 0], 0),  # two answers
        (f"#17;{GOLD}", [0] * 5, 0),
        (f"{GOLD};", [1, 1, 1, 1], 1),
        (f" {GOLD}\n", [1, 1, 1, 1], 1),
        ("", [], 0),
        (" ", [0], 0),
        (";", [0], 0),
        ("#", [0], 0),
    ],
)
def test_steps_and_outcome(text, valid, outcome):
    assert steps(text) == valid
    assert Chain().check(text, "17", META) == outcome
    assert len(Chain().split_steps(text)) == len(valid)


LOOKS_RIGHT = "#170 #117 #017 #+17 #17.0 ##17 17 #１７ #17#17 #-17 #1e1 # ＃17"


@pytest.mark.parametrize(
    "answer", [*LOOKS_RIGHT.split(), "#1 7", "#17 or 18", "#17\x00", "#17 #17", "#" + "9" * 5000]
)
def test_no_answer_is_accepted_that_only_looks_right(answer):
    assert Chain().check(GOLD[:-3] + answer, "17", META) == 0.0
    assert steps(GOLD[:-3] + answer)[-1] == 0.0


@pytest.mark.parametrize("minus", "−–—－˗")
def test_only_the_ascii_minus_is_a_minus(minus):
    text, meta = "3-8=-5;#-5", {"expression": "3-8"}
    assert steps(text, meta) == [1, 1] and Chain().check(text, "-5") == 1.0
    other = text.replace("-", minus)
    assert steps(other, meta) == [0, 0] and Chain().check(other, "-5") == 0.0


def test_huge_numbers_and_long_texts_are_wrong_not_slow():
    start = time.perf_counter()
    assert steps("7+5=" + "9" * 100_000 + ";#1")[0] == 0.0
    assert len(steps("7+5=12;" * 20_000)) == 20_000
    assert Chain().check(";" * 200_000, "17") == 0.0
    assert time.perf_counter() - start < 5.0


def test_diagnosis_separates_carrying_from_calculating():
    verdicts = Chain().diagnose("7+5=13;12-3=9;9+8=18;#18", META)
    assert [(v.kind, v.faithful, v.arithmetic) for v in verdicts] == [
        ("calculation", True, False),
        ("calculation", False, True),
        ("calculation", True, False),
        ("answer", True, True),
    ]


def test_missing_ground_truth_is_nan():
    task = Chain()
    assert math.isnan(task.check(GOLD, None)) and math.isnan(task.check(GOLD, "seventeen"))
    for meta in (
        {},
        None,
        {"expression": "7+"},
        {"expression": "((7)+5)"},
        {"expression": 7},
        {"expression": None},
    ):
        assert np.isnan(task.check_steps(GOLD, "17", meta)).all()
    assert task.check_steps("", "17", {}) == []


def test_modulus_keeps_every_result_short():
    task = Chain(terms=6, modulus=10)
    meta = {"expression": "7+5-3+8"}
    text = "7+5=2;2-3=9;9+8=7;#7"
    assert task.check_steps(text, "7", meta) == [1, 1, 1, 1]
    assert Chain().check_steps(text, "7", meta) == [0, 0, 0, 1]
    assert task.check_steps("7+5=12;12-3=9;9+8=7;#7", "7", meta)[0] == 0
    assert {len(p.solution) for p in task.problems("train", 50)} == {32}


def test_brackets_keep_the_order_left_to_right():
    task = Chain(terms=5, operators="+-*", max_operand=12, low=-500, high=5000)
    assert any("(" in p.prompt for p in task.problems("train", 40))
    meta = {"expression": "((7+5)*3-2)*4"}
    assert task.check_steps("7+5=12;12*3=36;36-2=34;34*4=136;#136", "136", meta) == [1] * 5
    assert np.isnan(task.check_steps("7+5=12;#12", "12", {"expression": "(7+5*3-2)*4"})).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    terms=st.integers(2, 9),
    most=st.integers(1, 40),
    operators=st.sampled_from(["+", "-", "+-", "*", "+*", "+-*"]),
    modulus=st.sampled_from([0, 7, 10]),
)
def test_references_are_the_values_of_the_prompts(seed, terms, most, operators, modulus):
    task = Chain(terms, most, operators, low=-(10**9), high=10**9, modulus=modulus)
    problem = task.draw(random.Random(seed))
    value = evaluate(parse(problem.prompt.removesuffix("=")))
    assert int(problem.reference) == (value % modulus if modulus else value)
    assert task.check(problem.solution, problem.reference, problem.meta) == 1.0
    assert min(task.check_steps(problem.solution, problem.reference, problem.meta)) == 1.0
    assert problem.solution.count(";") == terms - 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), terms=st.integers(2, 8), at=st.integers(0, 7), delta=st.integers(1, 30))
def test_a_mistake_is_caught_where_it_is_made_and_changes_the_outcome(seed, terms, at, delta):
    """Add `delta` to one result and carry it on faithfully: one invalid step, and a wrong answer."""
    task = Chain(terms=terms, low=-999, high=999)
    problem = task.draw(random.Random(seed))
    expression = problem.meta["expression"]
    links = re.findall(r"([+-])(\d+)", expression)
    at %= terms - 1
    value, work = int(re.match(r"\d+", expression)[0]), []
    for i, (symbol, operand) in enumerate(links):
        result = value + int(symbol + operand) + (delta if i == at else 0)
        work.append(f"{value}{symbol}{operand}={result}")
        value = result
    text = ";".join([*work, f"#{value}"])
    expected = [1.0] * terms
    expected[at] = 0.0
    assert task.check_steps(text, problem.reference, problem.meta) == expected
    assert task.check(text, problem.reference, problem.meta) == 0.0


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="0123456789+-*=;# \nx", max_size=60) | st.text(max_size=30))
def test_any_text_has_steps_that_cover_it(text):
    ends = Chain().split_steps(text)
    assert ends == sorted(set(ends)) and (ends[-1] if ends else 0) == len(text) and 0 not in ends
    assert len(steps(text)) == len(ends)
    assert Chain().check(text, "17", META) in (0.0, 1.0)


def test_checking_many_completions_is_fast():
    task, rng = Chain(), random.Random(0)
    problems = task.problems("train", 500)
    chosen = [rng.choice(problems) for _ in range(20_000)]
    texts = [p.solution[: rng.randrange(len(p.solution))] + str(i) for i, p in enumerate(chosen)]
    data = Rollouts(
        completion=texts,
        reference=[p.reference for p in chosen],
        meta=[p.meta for p in chosen],
        partitions={"step": Ragged.from_lists([task.split_steps(text) for text in texts], dtype=np.int64)},
    )
    start = time.perf_counter()
    task.outcome(data)
    task.steps(data)
    assert time.perf_counter() - start < 5.0
