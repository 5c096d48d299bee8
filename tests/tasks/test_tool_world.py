"""Tool questions: what calls do, errors, gold traces, answers."""

from __future__ import annotations

import math
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.errors import DataError
from guerdon.tasks.mdp import tabulate
from guerdon.tasks.tool_world import ToolQuestions

META = {"question": "pear*3+fig", "prices": {"fig": 5, "pear": 4, "plum": 9}, "high": 99}
GOLD = "look pear\npear=4\n>calc pear*3\n12\n>look fig\nfig=5\n>calc _+fig\n17\n>answer _\n"
WORLD = ToolQuestions()


def run(actions, meta=META, **config):
    world = ToolQuestions(**config)
    state, replies = world.start(meta), []
    for action in actions:
        replies.append(world.act(state, action))
        state = replies[-1].state
    return replies


def test_the_worked_example():
    assert WORLD.transcript(META, WORLD.expert(META)) == GOLD
    assert WORLD.check(GOLD, None, META) == 1.0
    replies = WORLD.replay(GOLD, META).replies
    assert [r.call_ok for r in replies] == [1, 1, 1, 1, 0] and all(r.grounded and r.useful for r in replies)
    assert [call for r in replies for call in r.calls] == [
        {"name": "look", "arguments": {"item": "pear"}},
        {"name": "calc", "arguments": {"left": 4, "operator": "*", "right": 3}},
        {"name": "look", "arguments": {"item": "fig"}},
        {"name": "calc", "arguments": {"left": 12, "operator": "+", "right": 5}},
    ]
    assert replies[-1].notes == {"answer": "17"}


@pytest.mark.parametrize(
    ("action", "reply", "call_ok", "calls"),
    [
        ("look kiwi", "error: no kiwi", -1, 1),
        ("calc pear*3", "error: what is pear?", -1, 0),
        ("calc _+1", "error: what is _?", -1, 0),
        ("answer _", "error: what is _?", -1, 0),
        ("calc 50+50", "error: out of range", -1, 1),
        ("calc 3-4", "error: out of range", -1, 1),
        ("calc 3/4", "error", -1, 0),
        ("answer", "error", -1, 0),
        ("answer 017x", "error", -1, 0),
        ("look", "error", -1, 0),
        ("", "error", -1, 0),
        ("calc 4 * 3", "12", 1, 1),
        ("LOOK  Pear", "pear=4", 1, 1),
    ],
)
def test_what_a_first_action_does(action, reply, call_ok, calls):
    (found,) = run([action], error=0.2)
    assert (found.text, found.call_ok, len(found.calls)) == (reply, call_ok, calls)
    assert found.grounded == (call_ok == 1) and found.reward == (0 if call_ok == 1 else -0.2)
    if call_ok < 0:
        assert found.state == WORLD.start(META)._replace(question=found.state.question)


@pytest.mark.parametrize(("answer", "right"), [("17", 1), ("16", 0), ("0017", 1), ("5", 0)])
def test_answers_are_compared_as_numbers(answer, right):
    (reply,) = run([f"answer {answer}"])
    assert reply.done and reply.success == bool(right) and reply.call_ok == 0


def test_useful_calls_are_those_of_the_gold_trace_that_were_missing():
    actions = ["look plum", "look pear", "look pear", "calc 4*3", "calc 4*3", "calc 3*4", "calc 12+5"]
    assert [r.useful for r in run(actions)] == [False, True, False, True, False, False, True]


def test_the_order_of_what_was_learnt_does_not_matter():
    one, two = run(["look fig", "look pear", "look fig"]), run(["look pear", "look fig"])
    assert one[-1].state == two[-1].state
    assert WORLD.state_key(one[-1].state) == WORLD.state_key(two[-1].state) != WORLD.state_key(one[0].state)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    terms=st.integers(2, 4),
    operators=st.sampled_from(["+", "+-", "*", "+-*"]),
    constants=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_gold_traces_give_the_value_of_the_question(seed, terms, operators, constants):
    world = ToolQuestions(terms=terms, operators=operators, constants=constants, high=200)
    problem = world.draw(random.Random(seed))
    expression = problem.meta["question"]
    expression = re.sub("[a-z]+", lambda word: str(problem.meta["prices"][word[0]]), expression)
    assert eval(expression) == int(problem.reference["answer"])  # our own text
    assert world.check(problem.solution, None, problem.meta) == 1.0
    replies = world.replay(problem.solution, problem.meta).replies
    before = [world.start(problem.meta), *(r.state for r in replies)]
    assert all(r.grounded for r in replies)
    assert all(r.useful or r.state == s for r, s in zip(replies, before, strict=False))  # times 1
    assert len(problem.reference["calls"]) == len(replies) - 1
    table = tabulate(world, problem)
    value = table.optimal(0.9)[0][0]
    assert value >= 0.9 ** (len(replies) - 1) - 1e-12  # items worth the same may allow a shortcut


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"question": "pear*3"},
        {**META, "question": "pear*"},
        {**META, "question": "pear"},
        {**META, "prices": 3},
    ],
)
def test_meta_without_a_question_is_unscorable(meta):
    assert math.isnan(WORLD.check(GOLD, None, meta))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"terms": 1}, "terms"),
        ({"operators": "/"}, "operators"),
        ({"items": 2}, "items"),
        ({"constants": 2}, "constants"),
        ({"high": 1}, "high"),
    ],
)
def test_parameters_out_of_range_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        ToolQuestions(**config)


def test_impossible_ranges_say_so():
    with pytest.raises(DataError, match="high"):
        ToolQuestions(terms=4, items=4, operators="*", price=99, high=99, constants=0).draw(random.Random(0))
