"""Grid worlds: the moves, transcripts that replay exactly, state keys, problems that can be solved."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.data import Ragged, Rollouts
from guerdon.errors import DataError
from guerdon.registry import build
from guerdon.tasks.base import SPLITS, split_of
from guerdon.tasks.grid_world import GridWorld
from guerdon.tasks.worlds import REPLY_END

MAZE = {"map": "@.#\n..#\n..G"}
MODES = ("maze", "key", "push")


def play(meta, actions, **config):
    world = GridWorld(**config)
    state, replies = world.start(meta), []
    for action in actions:
        replies.append(world.act(state, action))
        state = replies[-1].state
    return replies


def test_moves_and_what_blocks_them():
    steps = play(MAZE, ["right", "R", "u", "d", "D", "r", "x"], invalid=0.1)
    assert [r.text for r in steps[:2]] == [".@#\n..#\n..G", ".@#\n..#\n..G"]
    assert [r.grounded for r in steps] == [True, False, False, True, True, True, False]
    assert [r.call_ok for r in steps] == [1, 1, 1, 1, 1, 1, -1]
    assert [r.action for r in steps] == ["r", "r", "u", "d", "d", "r", "x"]
    assert [r.reward for r in steps] == [0, -0.1, -0.1, 0, 0, 1, -0.1]
    assert [r.done for r in steps[:6]] == [False] * 5 + [True] and steps[5].success


def test_the_chest_opens_with_the_key_only():
    replies = play({"map": "k@C"}, ["r", "l", "r", "r"])
    assert [r.grounded for r in replies] == [False, True, True, True]
    assert [r.text for r in replies] == ["k@C", "@.C", ".@C", "..@"]
    assert [r.success for r in replies] == [False, False, False, True]


def test_boxes_are_pushed_not_pulled_and_can_get_lost():
    replies = play({"map": "@$.o"}, ["r", "l", "r", "r"])
    assert [r.text for r in replies] == [".@$o", "@.$o", ".@$o", "..@*"]
    assert replies[-1].success and not replies[0].success
    lost = play({"map": "@$o."}, ["r", "r", "r"])
    assert lost[0].success  # on target at once
    assert play({"map": "@$.\n..o"}, ["r", "r"])[1].grounded is False  # box against the border


def test_a_worked_episode_as_text():
    world = GridWorld()
    text = world.transcript(MAZE, ["d", "d", "r", "r"])
    assert text == "d\n..#\n@.#\n..G\n>d\n..#\n..#\n@.G\n>r\n..#\n..#\n.@G\n>r\n"
    assert world.check(text, {"moves": 4}, MAZE) == 1.0
    assert world.split_steps(text) == [15, 30, 45, 47]
    assert world.expert(MAZE) == ["d", "d", "r", "r"]
    assert world.check("d\nr", None, MAZE) == math.nan or math.isnan(world.check("d\n??\n>r", None, MAZE))


@pytest.mark.parametrize(
    "text", ["", "\n", "d", "d\n", "fly\n", "r\nr\nr\n", ">", "G\n", "d\n..#\n@.#\n..G\n>"]
)
def test_text_that_does_not_reach_the_goal_is_worth_nothing(text):
    assert GridWorld().check(text, None, MAZE) == 0.0


def test_a_forged_reply_is_no_success():
    forged = "d\n..#\n..#\n.@G\n>r\n"  # claims to stand beside the goal
    assert math.isnan(GridWorld().check(forged, None, MAZE))
    signal = GridWorld().outcome(Rollouts(completion=[forged], meta=[MAZE], reference=[None]))
    assert signal.missing == 1 and "reply 1" in next(iter(signal.causes.values()))


@pytest.mark.parametrize("text", ["", "@", "@G\n.", "@.G?", "@@G", "@GC", "@$", "@.", "@kkC"])
def test_maps_that_show_no_problem_are_unscorable(text):
    assert math.isnan(GridWorld().check("d\n", None, {"map": text}))
    assert math.isnan(GridWorld().check("d\n", None, {}))


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    seed=st.integers(0, 10**6),
    size=st.integers(3, 5),
    walls=st.sampled_from([0, 0.2]),
)
def test_solutions_are_shortest_and_check_as_right(mode, seed, size, walls):
    world = GridWorld(mode=mode, size=size, walls=walls, moves=(2, 12))
    problem = world.draw(random.Random(seed))
    plan = world.expert(problem.meta)
    assert world.check(problem.solution, problem.reference, problem.meta) == 1.0
    assert set(world.check_steps(problem.solution, problem.reference, problem.meta)) == {1.0}
    assert len(plan) == problem.reference["moves"] and 2 <= len(plan) <= 12
    assert problem.solution == world.transcript(problem.meta, plan)
    assert problem.prompt == problem.meta["map"] + REPLY_END


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    seed=st.integers(0, 1000),
    actions=st.lists(st.sampled_from("udlrx"), max_size=25),
)
def test_transcripts_replay_and_keys_are_equal_exactly_where_states_are(mode, seed, actions):
    world = GridWorld(mode=mode, size=4, moves=(2, 14))
    meta = world.draw(random.Random(seed)).meta
    text = world.transcript(meta, actions)
    replay = world.replay(text, meta)
    replies = play(meta, actions, mode=mode)[: len(replay.replies)]
    assert [r.state for r in replay.replies] == [r.state for r in replies]
    assert len(world.split_steps(text)) == len(replay.replies)
    states = [world.start(meta), *(r.state for r in replies)]
    for a in states:
        for b in states:
            assert (a == b) == (world.state_key(a) == world.state_key(b))


def test_splits_never_overlap_and_streams_repeat():
    world = GridWorld()
    seen = {split: {p.prompt for p in world.problems(split, 30, seed=1)} for split in SPLITS}
    assert not seen["train"] & seen["valid"] and not seen["valid"] & seen["test"]
    assert world.problems("train", 5, start=2)[0] == world.problems("train", 5)[2]
    assert all(split_of(world.key(p)) == "test" for p in world.problems("test", 5))
    assert GridWorld(success=10.0).problems("train", 3) == world.problems("train", 3)


def test_rewards_of_saved_rollouts_are_replayed():
    world = GridWorld(cost=0.1)
    text = world.transcript(MAZE, ["d", "d", "r", "r"])
    rollouts = Rollouts(
        completion=[text, "u\n"],
        meta=[MAZE, MAZE],
        partitions={"step": Ragged.from_lists([world.split_steps(text), [2]], np.int64)},
    )
    np.testing.assert_allclose(world.rewards(rollouts).values, [-0.1, -0.1, -0.1, 0.9, -0.1])
    assert world.steps(rollouts).values.tolist() == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mode": "fly"}, "mode"),
        ({"size": 1}, "size"),
        ({"walls": 1.0}, "walls"),
        ({"moves": (5, 2)}, "moves"),
        ({"boxes": 0}, "boxes"),
    ],
)
def test_parameters_out_of_range_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        GridWorld(**config)


def test_a_world_without_problems_says_so():
    with pytest.raises(DataError, match="moves"):
        GridWorld(size=2, moves=(50, 60)).draw(random.Random(0))


@pytest.mark.parametrize("use", ["grid_world", "tools", "hops"])
def test_a_preface_changes_prompts_only(use):
    plain, told = build("task", {"use": use}), build("task", {"use": use, "preface": "Act.\n"})
    for a, b in zip(plain.problems("train", 3), told.problems("train", 3), strict=True):
        assert b.prompt == "Act.\n" + a.prompt and b.solution == a.solution and b.meta == a.meta
