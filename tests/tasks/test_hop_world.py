"""Multi-hop questions: searching, gold hops, guesses."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.tasks.hop_world import HopQuestions
from guerdon.tasks.mdp import tabulate

META = {
    "facts": [["Eve", "job", "cook"], ["Bob", "boss", "Ann"], ["Cid", "boss", "Ann"], ["Ann", "boss", "Eve"]],
    "start": "Ann",
    "path": ["boss", "job"],
}
GOLD = "find Ann boss\nAnn boss Eve; Bob boss Ann\n>find Eve job\nEve job cook\n>answer cook\n"
WORLD = HopQuestions()


def run(actions):
    state, replies = WORLD.start(META), []
    for action in actions:
        replies.append(WORLD.act(state, action))
        state = replies[-1].state
    return replies


def test_the_worked_example():
    assert WORLD.transcript(META, WORLD.expert(META)) == GOLD
    assert WORLD.check(GOLD, None, META) == 1.0
    replies = WORLD.replay(GOLD, META).replies
    assert [r.call_ok for r in replies] == [1, 1, 0] and all(r.useful for r in replies)
    assert replies[-1].notes == {"answer": "cook", "supported": True}
    assert replies[0].calls == ({"name": "find", "arguments": {"query": "Ann boss"}},)


def test_a_lucky_guess_is_right_and_unsupported():
    (guess,) = run(["answer cook"])
    assert guess.success and guess.notes["supported"] is False
    assert run(["find Eve job", "answer COOK"])[-1].notes == {"answer": "COOK", "supported": False}


@pytest.mark.parametrize(
    ("action", "reply", "call_ok", "grounded"),
    [
        ("find boss", "Bob boss Ann; Cid boss Ann", 1, True),
        ("find ann BOSS", "Ann boss Eve; Bob boss Ann", 1, True),
        ("find cook", "Eve job cook", 1, True),
        ("find Eve boss", "Ann boss Eve", 1, True),
        ("find Ann job", "nothing", 1, False),
        ("find", "error", -1, False),
        ("answer", "error", -1, False),
        ("answer the cook", "error", -1, False),
        ("search Ann", "error", -1, False),
        ("", "error", -1, False),
    ],
)
def test_what_a_first_action_does(action, reply, call_ok, grounded):
    (found,) = run([action])
    assert (found.text, found.call_ok, found.grounded) == (reply, call_ok, grounded)


def test_useful_steps_find_a_gold_hop_for_the_first_time():
    actions = ["find boss", "find Ann boss", "find Ann boss", "find Ann", "find Eve job"]
    assert [r.useful for r in run(actions)] == [False, True, False, False, True]
    one, two = run(["find Eve job", "find Ann boss"]), run(["find Ann boss", "find Eve job"])
    assert WORLD.state_key(one[-1].state) == WORLD.state_key(two[-1].state)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    hops=st.integers(1, 4),
    people=st.integers(4, 8),
    kin=st.integers(1, 3),
    hits=st.integers(1, 3),
)
def test_gold_hops_lead_to_the_answer(seed, hops, people, kin, hits):
    world = HopQuestions(hops=hops, people=people, kin=kin, aspects=2, hits=hits)
    problem = world.draw(random.Random(seed))
    at = problem.meta["start"]
    facts = {(e, r): v for e, r, v in problem.meta["facts"]}
    for (entity, relation, value), asked in zip(problem.reference["hops"], problem.meta["path"], strict=True):
        assert (entity, relation) == (at, asked)
        at = facts[at, relation]
        assert at == value
    assert at == problem.reference["answer"] and len(problem.reference["calls"]) == hops
    assert world.check(problem.solution, None, problem.meta) == 1.0
    replies = world.replay(problem.solution, problem.meta).replies
    assert replies[-1].notes["supported"] and all(r.useful for r in replies)
    assert problem.prompt == f"{' of '.join([*problem.meta['path'][::-1], problem.meta['start']])}?\n>"


def test_tables_know_the_guess():
    problem = WORLD.problems("train", 1)[0]
    mdp = tabulate(WORLD, problem)
    assert mdp.n_states <= 2**8 and mdp.optimal(0.9)[0][0] == 1.0
    guess = mdp.actions.index(f"answer {problem.reference['answer']}")
    assert mdp.success[0, guess] and mdp.notes[0, guess]["supported"] is False


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {**META, "path": ["boss", "pet"]},
        {**META, "path": []},
        {**META, "facts": [1]},
        {**META, "start": "X"},
    ],
)
def test_meta_without_a_path_is_unscorable(meta):
    assert math.isnan(WORLD.check(GOLD, None, meta))


@pytest.mark.parametrize(
    ("config", "message"),
    [({"hops": 5}, "hops"), ({"people": 1}, "people"), ({"kin": 4}, "kin"), ({"hits": 0}, "hits")],
)
def test_parameters_out_of_range_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        HopQuestions(**config)
