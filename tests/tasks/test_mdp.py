"""Worlds as tables: transitions equal the world's, values equal independent computations."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon.errors import DataError
from guerdon.tasks.base import Problem
from guerdon.tasks.grid_world import GridWorld
from guerdon.tasks.mdp import MDP, tabulate

CORRIDOR = MDP(next=[[0, 1], [0, 2], [2, 2]], reward=[[0, 0], [0, 1], [0, 0]], done=[[0, 0], [0, 1], [1, 1]])


def test_values_of_a_corridor():
    value, q = CORRIDOR.optimal(0.9)
    np.testing.assert_allclose(value, [0.9, 1.0, 0.0])
    np.testing.assert_allclose(q[:2], [[0.81, 0.9], [0.81, 1.0]])
    uniform = np.full((3, 2), 0.5)
    # v0 = .45 v0 + .45 v1, v1 = .45 v0 + .5
    v1 = 0.5 / (1 - 0.45 * 0.45 / 0.55)
    np.testing.assert_allclose(CORRIDOR.evaluate(uniform, 0.9)[0][:2], [0.45 / 0.55 * v1, v1])
    assert CORRIDOR.success_rate(uniform, horizon=2) == 0.25
    assert CORRIDOR.success_rate(uniform, horizon=3) == 0.375


def test_a_step_limit_converges_to_none():
    uniform = np.full((3, 2), 0.5)
    within = CORRIDOR.evaluate_within(uniform, 0.9, horizon=400)[0][0]
    np.testing.assert_allclose(within, CORRIDOR.evaluate(uniform, 0.9)[0], atol=1e-12)
    assert CORRIDOR.evaluate_within(uniform, 1.0, 3)[0][0, 0] == CORRIDOR.success_rate(uniform, 3)


@pytest.mark.parametrize("mode", ["maze", "key", "push"])
def test_tables_hold_what_the_world_does(mode):
    world = GridWorld(mode=mode, size=4, moves=(3, 12), cost=0.01, invalid=0.1)
    problem = world.problems("train", 1)[0]
    mdp = tabulate(world, problem)
    rng = np.random.default_rng(0)
    for _ in range(20):
        s, state = 0, world.start(problem.meta)
        for _ in range(15):
            a = int(rng.integers(mdp.n_actions))
            reply = world.act(state, mdp.actions[a])
            assert (mdp.reward[s, a], mdp.done[s, a], mdp.success[s, a]) == (
                reply.reward,
                reply.done,
                reply.success,
            )
            assert mdp.grounded[s, a] == reply.grounded
            s, state = int(mdp.next[s, a]), reply.state
            assert mdp.keys[s] == world.state_key(state)
            if reply.done:
                break
    assert len(set(mdp.keys.tolist())) == mdp.n_states
    plain = tabulate(GridWorld(mode=mode, size=4, moves=(3, 12)), problem)
    assert plain.optimal(0.9)[0][0] == pytest.approx(0.9 ** (problem.reference["moves"] - 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"next": [[0, 3], [0, 0], [0, 0]]}, "states 0..2"),
        ({"reward": [[0.0]]}, "reward"),
        ({"next": []}, "table"),
        ({"keys": [1]}, "keys"),
        ({"horizon": 0}, "horizon"),
        ({"start": 3}, "start"),
    ],
)
def test_tables_that_disagree_are_refused(change, message):
    good = {"next": CORRIDOR.next, "reward": CORRIDOR.reward, "done": CORRIDOR.done}
    with pytest.raises(DataError, match=message):
        MDP(**{**good, **change})


def test_a_problem_too_large_for_a_table_says_so():
    world = GridWorld(size=6, walls=0.0)
    problem = Problem("", None, {"map": "@....\n.....\n....G"})
    with pytest.raises(DataError, match="more than 5 states"):
        tabulate(world, problem, limit=5)
