"""Values of prefixes by playing on from inside an episode."""

from __future__ import annotations

import numpy as np
import pytest
from worlds_for_tests import CORRIDOR, MAZE, WORLD, Script, letters_engine

from guerdon.engines.protocol import Sampling
from guerdon.errors import DataError
from guerdon.learn.continuing import episode_of, prefix_values
from guerdon.learn.episodes import rollouts_of
from guerdon.learn.turns import play
from guerdon.tasks import HopQuestions, Problem

THREE = Sampling(max_new_tokens=3, seed=4)


class Coin(Script):
    """Goes right in even draws, left in odd ones."""

    def __init__(self):
        super().__init__(["r\n"] * 9, ["l\n"] * 9)


def test_a_worked_example():
    rollouts = play(Script(["r\n"] * 6, ["l\n"] * 6), WORLD, [CORRIDOR], 2, THREE)
    engine = Coin()
    found = prefix_values(engine, WORLD, rollouts, 4, THREE)
    assert found.signals["q_root"].values.tolist() == [0.5, 0.5]
    # right: 3 moves, success at the end; left: six idle turns, after four of them the goal is out of reach
    assert found.signals["q_policy"].values.tolist() == [0.5, 0.5, 1, 0.5, 0.5, 0.5, 0, 0, 0]
    histories = 1 + 2 + 5  # the root is shared
    assert engine.calls[0] == 4 * histories


def test_problems_that_ask_the_same_and_hide_different_facts_are_told_apart():
    facts = [["Ann", "boss", "Eve"], ["Eve", "job", "cook"], ["Eve", "boss", "Ann"]]
    other = [*facts[:1], ["Eve", "job", "judge"], facts[2]]
    world = HopQuestions()
    problems = [
        Problem("?\n>", None, {"facts": f, "start": "Ann", "path": ["boss", "job"]}) for f in (facts, other)
    ]
    said = play(Script(["find Ann\n", "answer cook\n"]), world, problems, 1, THREE)
    found = prefix_values(Script(["answer cook\n", "answer cook\n"]), world, said, 2, THREE)
    assert found.signals["q_root"].values.tolist() == [1, 0]
    assert found.signals["q_policy"].values.tolist() == [1, 1, 0, 0]
    engine = letters_engine()
    mazes = [MAZE, Problem(MAZE.prompt, None, {"map": "@.#\n..#\nG.."})]
    rollouts = play(engine, WORLD, mazes, 4, THREE)
    assert rollouts.select(range(4)).meta[0]["actions"] != rollouts.select(range(4, 8)).meta[0]["actions"]


def test_values_are_the_same_whatever_else_is_asked_for():
    engine = letters_engine()
    rollouts = play(engine, WORLD, [MAZE, CORRIDOR], 3, THREE)
    all_of_them = prefix_values(engine, WORLD, rollouts, 8, THREE)
    some = prefix_values(engine, WORLD, rollouts.select([4, 1]), 8, THREE)
    assert some.signals["q_root"].values.tolist() == all_of_them.signals["q_root"].values[[4, 1]].tolist()
    expected = all_of_them.select([4, 1]).signals["q_policy"].values
    assert some.signals["q_policy"].values.tolist() == expected.tolist()
    last = rollouts.offsets("step")[1:] - 1
    assert (all_of_them.signals["q_policy"].values[last] == rollouts.signals["outcome"].values).all()


def test_episodes_are_rebuilt_as_they_were():
    rollouts = play(letters_engine(), WORLD, [MAZE, CORRIDOR], 2, THREE)
    again = [episode_of(WORLD, rollouts, row) for row in range(4)]
    for row, episode in enumerate(again):
        episode.truncated, episode.group = bool(rollouts.truncated[row]), int(rollouts.group[row])
    assert rollouts_of(WORLD, [MAZE, CORRIDOR], again) == rollouts


def test_what_cannot_be_played_on_is_named():
    rollouts = play(Script(["r\n"] * 6), WORLD, [CORRIDOR], 1, THREE)
    forged = rollouts.replace(completion=[rollouts.completion[0].replace(".@.G", "..@G")])
    with pytest.raises(DataError, match="row 0: a reply"):
        prefix_values(Coin(), WORLD, forged, 1, THREE)
    with pytest.raises(DataError, match="row 0: 3 steps"):
        prefix_values(Coin(), WORLD, rollouts.replace(completion=["r"]), 1, THREE)
    with pytest.raises(DataError, match="k=0"):
        prefix_values(Coin(), WORLD, rollouts, 0, THREE)
    with pytest.raises(DataError, match="tokens"):
        prefix_values(
            Coin(),
            WORLD,
            rollouts.replace(tokens=None, acted=None, logprobs=None, partitions={}, state=None, signals={}),
            1,
            THREE,
        )


def test_an_episode_that_ended_in_silence_can_be_played_on():
    rollouts = play(Script(["r\n", "\0"]), WORLD, [CORRIDOR], 1, THREE, turns=2)
    found = prefix_values(Coin(), WORLD, rollouts, 2, THREE)
    assert found.signals["q_policy"].values.tolist() == [0.5, 0.0]
    assert np.isfinite(found.signals["q_root"].values).all()
