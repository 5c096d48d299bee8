"""Worked solutions read, worked out again and spoiled: literal cases, and properties over chains."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.errors import DataError, RecipeError
from guerdon.tasks import Chain
from guerdon.tasks.expressions import ExpressionError
from guerdon.tasks.planted_errors import ERRORS, chain_trace, plant, solutions
from guerdon.tasks.traces import read_trace, values_of, write

PROBLEM = "Natalia sold clips to 48 friends in April, and half as many in May. How many altogether?"
ANSWER = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
    "Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.\n#### 72"
)
CHAIN = Chain(terms=(3, 6), max_operand=20, operators="+-*", high=999)


def test_a_trace_is_written_as_it_was_read():
    trace = read_trace(PROBLEM, ANSWER)
    assert write(trace) == [
        "Natalia sold 48 / 2 = 24 clips in May.",
        "Natalia sold 48 + 24 = 72 clips altogether in April and May.",
    ]
    assert [c.step for c in trace.calculations] == [0, 1] and values_of(trace) == [24, 72]


def test_a_forced_value_is_carried_on():
    trace = read_trace(PROBLEM, ANSWER)
    values = values_of(trace, {0: Fraction(34)})
    assert values == [34, 82]
    assert write(trace, values)[1] == "Natalia sold 48 + 34 = 82 clips altogether in April and May."


def test_money_commas_decimals_and_prose_follow_their_calculation():
    trace = read_trace(
        "A car is sold.",
        "It cost 22,500*2=$<<22500*2=45000>>45,000.\n"
        "Tax on the $45,000 is 45000 x .1 = $<<45000*.1=4500>>4,500.",
    )
    assert write(trace) == ["It cost 22500 * 2=$45000.", "Tax on the $45000 is 45000 * .1 = $4500."]
    assert write(trace, values_of(trace, {0: Fraction(10)}))[1] == "Tax on the $10 is 10 * .1 = $1."


def test_a_trace_without_steps_or_with_division_by_zero_is_refused():
    with pytest.raises(DataError, match="without steps"):
        read_trace("p", "#### 3")
    trace = read_trace("p", "a 5-3 = <<5-3=2>>2\nb 6/2 = <<6/2=3>>3")
    with pytest.raises(ExpressionError):
        values_of(trace, {0: Fraction(0)})
    below = read_trace("p", "a 5-3 = <<5-3=2>>2\nb 2-1 = <<2-1=1>>1")
    with pytest.raises(ExpressionError, match="below zero"):
        values_of(below, {0: Fraction(1, 2)})


@pytest.mark.parametrize("kind", sorted(ERRORS))
def test_every_kind_of_error_spoils_its_step_and_leaves_those_before(kind):
    trace = read_trace(PROBLEM, ANSWER)
    right = write(trace)
    for seed in range(20):
        found = plant(trace, random.Random(seed), [kind])
        assert found is not None and found.kind == kind and found.problem == PROBLEM
        if kind == "dropped":
            assert found.steps == (right[1],) and found.label == 0
        else:
            assert list(found.steps[: found.label]) == right[: found.label]
            assert found.steps[found.label] != right[found.label]


def test_operator_errors_keep_their_arithmetic_right_and_value_errors_do_not():
    def sides(step):
        left, _, right = step.partition(" = ")
        a, sign, b = left.split()[-3:]
        worked = {"+": Fraction.__add__, "-": Fraction.__sub__, "*": Fraction.__mul__}
        return worked[sign](Fraction(a), Fraction(b)), Fraction(right.split()[0])

    trace = read_trace("p", "x 3+4 = <<3+4=7>>7 in all\ny 7+5 = <<7+5=12>>12 in all")
    for seed in range(10):
        value = plant(trace, random.Random(seed), ["value"])
        assert value is not None
        assert [a == b for a, b in map(sides, value.steps)] == [k != value.label for k in range(2)]
        operator = plant(trace, random.Random(seed), ["operator"])
        if operator is not None and not any("/" in step for step in operator.steps):
            assert all(a == b for a, b in map(sides, operator.steps))


@given(st.integers(0, 10_000))
def test_planted_chains(seed):
    rng = random.Random(seed)
    trace = chain_trace(CHAIN, rng)
    right = write(trace)
    assert all(eval_step(step) for step in right)
    found = plant(trace, rng)
    if found is None:
        return
    assert 0 <= found.label < len(found.steps)
    if found.kind == "value":
        assert not eval_step(found.steps[found.label])
    elif found.kind != "dropped":
        assert eval_step(found.steps[found.label])


def eval_step(step: str) -> bool:
    from guerdon.tasks.expressions import evaluate, parse

    left, _, right = step.partition(" = ")
    exact = evaluate(parse(left, decimals=True))
    return abs(exact - Fraction(right)) <= Fraction(1, 200)


def test_solutions_are_reproducible_and_about_half_wrong():
    rng = random.Random(0)
    traces = [chain_trace(CHAIN, rng) for _ in range(60)]
    found = solutions(traces, 400, seed=3)
    assert found == solutions(traces, 400, seed=3) != solutions(traces, 400, seed=4)
    assert len(found) == 400 and 0.4 < sum(s.label >= 0 for s in found) / 400 < 0.6
    assert {s.kind for s in found} == {"", *ERRORS}
    assert all(s.label == -1 for s in solutions(traces, 60, share=0.0))


def test_unknown_kinds_and_empty_input_are_refused():
    trace = read_trace(PROBLEM, ANSWER)
    with pytest.raises(RecipeError, match="did you mean 'value'"):
        plant(trace, random.Random(0), ["valeu"])
    with pytest.raises(DataError, match="no traces"):
        solutions([], 3)
    assert plant(read_trace("p", "no calculation here"), random.Random(0)) is None
