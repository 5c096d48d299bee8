"""Trees of sampled rollouts: what forks share, where they begin, what a recipe may ask for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from worlds_for_tests import CORRIDOR, WORLD, Script, letters_engine

from guerdon.data import Ragged, Rollouts
from guerdon.data.keys import fork_of
from guerdon.engines.lab import LabEngine
from guerdon.engines.protocol import Sampling
from guerdon.errors import DataError, RecipeError
from guerdon.learn.branching import Branch, fork_rows, sampled_tokens, tree_nodes
from guerdon.learn.sampling import sample
from guerdon.tasks import Chain, RandomCalculation

SAMPLING = Sampling(max_new_tokens=3, seed=7)


def nodes(rollouts):
    return [rollouts.node[a:b].tolist() for a, b in pairwise(rollouts.offsets("step"))]


def test_a_worked_tree():
    trunk, left, right = ["r\n", "r\n", "l\n", "r\n", "r\n"], ["l\n"] * 6, ["r\n"] * 4
    tree = sample(Script(trunk, left, right), WORLD, [CORRIDOR], 3, SAMPLING, branch=Branch(at=1, width=2))
    assert [m["actions"] for m in tree.meta] == [["r", "r", "l", "r", "r"], ["r", *"lllll"], ["r", "r", "r"]]
    assert nodes(tree) == [[0, 1, 2, 3, 4], [0, 6, 7, 8, 9, 10], [0, 12, 13]]
    assert tree.truncated.tolist() == [False, True, False]
    assert sampled_tokens(tree) == 2 * (5 + 5 + 2) and tree.acted.values.sum() == 2 * 14
    assert fork_of(tree).tolist() == [0, 1, 2, 3, 4, 0, 1, 6, 7, 8, 9, 0, 1, 10] or fork_of(tree).max() > 3
    assert tree.state[0] == tree.state[5] == tree.state[11]


@pytest.mark.parametrize("at", ["random", "entropy", (0, 2), (99,)])
def test_forks_of_a_world_repeat_the_trunk_and_then_differ(at):
    engine, problems = letters_engine(), WORLD.problems("train", 2)
    branch = Branch(at=at, points=2, width=1)
    leaves = 2 * (1 + branch.forks)
    tree = sample(engine, WORLD, problems, leaves, SAMPLING, branch=branch)
    flat = sample(engine, WORLD, problems, 2, SAMPLING)
    size = 1 + branch.forks
    trunks = np.arange(0, len(tree), size)
    assert tree.tokens.select(trunks) == flat.tokens
    assert tree.group.tolist() == np.repeat([0, 1], leaves).tolist()
    scores = engine.logprobs(tree).values
    acted = tree.acted.values
    np.testing.assert_allclose(tree.logprobs.values[acted], scores[acted], atol=1e-4)
    assert (WORLD.outcome(tree).values == tree.signals["outcome"].values).all()
    for row in set(range(len(tree))) - set(trunks.tolist()):
        trunk = row - row % size
        mine, theirs = nodes(tree)[row], nodes(tree)[trunk]
        shared = sum(a == b for a, b in zip(mine, theirs, strict=False))
        assert mine[:shared] == theirs[:shared] and set(mine[shared:]).isdisjoint(theirs)
        end = tree.partitions["step"][row][shared - 1] if shared else 0
        assert (tree.tokens[row][:end] == tree.tokens[trunk][:end]).all()
        if at == (99,):
            assert shared == len(theirs) - 1
        if at == "random" or at == "entropy":
            assert shared >= min(1, len(theirs) - 1)
    assert len({tuple(r) for r in tree.tokens.to_lists()}) > len(trunks)
    assert tree == sample(engine, WORLD, problems, leaves, SAMPLING, branch=branch)


def taught_chain():
    """A small model that writes a few steps."""
    from guerdon.learn.warm import warm_start

    engine = LabEngine(dim=32, layers=1, heads=2, context=64, device="cpu", seed=1)
    warm_start(engine, Chain(terms=3, max_operand=3), steps=25, batch=16, lr=1e-2)
    return engine


def test_forks_of_one_turn_tasks_keep_the_tokens_before_a_step():
    engine, task = taught_chain(), Chain(terms=3, max_operand=3)
    problems = task.problems("train", 3)
    limits = Sampling(max_new_tokens=16, seed=2)
    tree = sample(engine, task, problems, 6, limits, branch=Branch(at="random", points=1, width=2))
    flat = sample(engine, task, problems, 2, limits)
    assert tree.tokens.select([0, 3, 6, 9, 12, 15]) == flat.tokens
    assert tree.acted.values.all() and tree.lengths.max() <= 16
    assert [m["expression"] for m in tree.meta] == [problems[g].meta["expression"] for g in tree.group]
    np.testing.assert_allclose(tree.logprobs.values, engine.logprobs(tree).values, atol=1e-4)
    assert [engine.tokenizer.decode(row) for row in tree.tokens.to_lists()] == tree.completion
    assert task.steps(tree).missing == 0
    many = [n for n in nodes(tree)[::3] if len(n) > 1]
    assert many and sampled_tokens(tree) < tree.tokens.total
    for row, path in enumerate(nodes(tree)):
        trunk = nodes(tree)[row - row % 3]
        shared = sum(a == b for a, b in zip(path, trunk, strict=False))
        assert path[:shared] == trunk[:shared]
        assert row % 3 == 0 or shared >= min(1, len(trunk) - 1)


def test_a_fork_is_cut_at_the_limit_of_the_whole_completion():
    engine, task = taught_chain(), Chain(terms=3, max_operand=3)
    limits = Sampling(max_new_tokens=8, seed=2)
    tree = sample(engine, task, task.problems("train", 4), 2, limits, branch=Branch(at=1))
    assert tree.lengths.max() == 8 and tree.truncated.any()
    ended = tree.tokens.values[tree.tokens.offsets[1:] - 1] == engine.tokenizer.eos
    assert (tree.truncated == ~ended).all()


def trunk_with(lengths, entropy=None):
    tokens = Ragged.from_lists([np.zeros(n) for n in lengths], np.int32)
    ends = tokens.with_values(np.concatenate([np.arange(1, n + 1) for n in lengths]))
    column = None if entropy is None else tokens.with_values(np.array(entropy, np.float32))
    return Rollouts(tokens=tokens, entropy=column, partitions={"step": ends})


def points(branch, rollouts, draw=None, seed=0):
    zeros = np.zeros(len(rollouts), np.int64)
    number = np.arange(len(rollouts)) if draw is None else draw
    return fork_rows(rollouts, branch, zeros, number, len(rollouts), seed).step.reshape(len(rollouts), -1)


def test_where_trunks_are_forked():
    rollouts = trunk_with([4, 1, 2], entropy=[9, 1, 3, 2, 5, 7, 6])
    assert points(Branch(at="entropy", points=2), rollouts).tolist() == [[2, 3], [0, 0], [1, 1]]
    assert points(Branch(at=(1, 3)), rollouts).tolist() == [[1, 3], [0, 0], [1, 1]]
    assert points(Branch(at=(1, 3), width=2), rollouts).tolist()[0] == [1, 1, 3, 3]
    drawn = points(Branch(at="random"), trunk_with([4] * 3000)).reshape(-1)
    assert np.bincount(drawn, minlength=4)[0] == 0
    assert np.abs(np.bincount(drawn)[1:] - 1000).max() < 150
    both = points(Branch(at="random", points=3), trunk_with([4] * 50))
    assert (both == [1, 2, 3]).all()
    assert (
        points(Branch(at="random"), trunk_with([9] * 20))
        != points(Branch(at="random"), trunk_with([9] * 20), seed=1)
    ).any()


def test_draw_numbers_are_never_used_twice():
    plan = fork_rows(
        trunk_with([3] * 4), Branch(points=2, width=3), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), 2, 0
    )
    assert sorted(plan.draw[plan.problem == 0].tolist()) == list(range(2, 14))
    assert (
        plan.problem.tolist() == [0] * 12 + [1] * 12
        and plan.trunk.tolist() == np.repeat(range(4), 6).tolist()
    )


def test_nodes_by_hand():
    found = tree_nodes(np.array([0, 3, 5, 8]), np.array([0, 0, 0]), np.array([0, 1, 2]))
    assert found.tolist() == [0, 1, 2, 0, 4, 0, 1, 7]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"at": "somewhere"}, "sampler.branch.at"),
        ({"at": (-1,)}, "start at 0"),
        ({"at": ()}, "start at 0"),
        ({"points": 0}, "points"),
        ({"width": 0}, "width"),
    ],
)
def test_branches_out_of_range_are_named(settings, message):
    with pytest.raises(RecipeError, match=message):
        Branch(**settings)


def test_what_a_task_cannot_do_is_refused():
    engine = letters_engine()
    with pytest.raises(RecipeError, match=r"sampler.turns.*chain"):
        sample(engine, Chain(), [], 2, SAMPLING, turns=3)
    with pytest.raises(RecipeError, match="no steps"):
        sample(engine, RandomCalculation(), [], 2, SAMPLING, branch=Branch())
    with pytest.raises(RecipeError, match="group"):
        sample(engine, WORLD, [CORRIDOR], 3, SAMPLING, branch=Branch())
    with pytest.raises(DataError, match="entropies"):
        points(Branch(at="entropy"), trunk_with([2]))
    with pytest.raises(DataError, match="steps"):
        points(Branch(), Rollouts(completion=["a"]))
