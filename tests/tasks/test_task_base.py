"""Splits, streams and signals that every task shares."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build
from guerdon.tasks import Chain, Corrupted, Countdown, Problem, RandomCalculation, split_of
from guerdon.tasks.base import SPLITS, span_of, stable_seed

TASKS = [
    Chain(),
    Chain(terms=[2, 6], operators="+-*", max_operand=20),
    Chain(terms=5, modulus=10),
    Countdown(),
    Countdown(numbers=2, style="words"),
    RandomCalculation(operations=[1, 4]),
    Corrupted(Chain(), "inverted"),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.stream()[:60])
@settings(max_examples=8, deadline=None)
@given(
    seeds=st.tuples(*[st.integers(0, 2**40)] * 3),
    sizes=st.tuples(*[st.integers(0, 30)] * 3),
    starts=st.tuples(*[st.integers(0, 10**6)] * 3),
)
def test_splits_never_share_a_problem(task, seeds, sizes, starts):
    keys = [
        {task.key(p) for p in task.problems(split, n, seed, start)}
        for split, n, seed, start in zip(SPLITS, sizes, seeds, starts, strict=True)
    ]
    assert [len(k) for k in keys] == list(sizes), "problems are distinct within a call"
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.stream()[:60])
def test_gold_solutions_are_right_and_all_their_steps_valid(task):
    for problem in task.problems("train", 60) + task.problems("test", 10, seed=3):
        assert problem.solution is not None
        assert task.check(problem.solution, problem.reference, problem.meta) == 1.0
        assert task.check("", problem.reference, problem.meta) == 0.0
        assert math.isnan(task.check(problem.solution, None, problem.meta))
        if task.has_steps:
            ends = task.split_steps(problem.solution)
            assert ends[-1] == len(problem.solution) and np.all(np.diff([0, *ends]) > 0)
            assert task.check_steps(problem.solution, problem.reference, problem.meta) == [1.0] * len(ends)


def test_a_difficulty_or_modulus_does_not_move_a_problem_to_another_split():
    easy = {Chain().key(p) for p in Chain(terms=[2, 5]).problems("train", 400, seed=1)}
    other = {Chain().key(p) for p in Chain(terms=3, modulus=10).problems("test", 60, seed=2)}
    assert not easy & other


@pytest.mark.parametrize("task", TASKS[:4], ids=lambda task: task.stream()[:60])
def test_streams_are_deterministic_and_start_anywhere(task):
    again = type(task)(**{f: getattr(task, f) for f in task.__dataclass_fields__})
    assert task.problems("train", 12, seed=7) == again.problems("train", 12, seed=7)
    assert task.problems("train", 12, seed=7) != task.problems("train", 12, seed=8)
    far = task.problems("train", 12, seed=7, start=10**9)
    assert far[5:] == task.problems("train", 7, seed=7, start=10**9 + 5)


def test_streams_are_the_same_in_every_process():
    code = "from guerdon.tasks import *; print(Chain().problems('train', 9), Countdown().problems('test', 3))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_a_reward_setting_does_not_change_the_problems():
    exact, distance = RandomCalculation(reward="exact"), RandomCalculation(reward="distance")
    assert exact.problems("train", 5) == distance.problems("train", 5)
    assert Countdown(variant="release").problems("train", 5) == Countdown().problems("train", 5)


def test_the_hash_is_fixed_for_ever():
    # Stored results name splits by it: these literals must never change.
    assert [split_of(f"chain {n}+1") for n in range(24)].count("train") == 18
    assert [split_of(key) for key in ("chain 7+5-3+8", "a", "b", "é")] == ["train", "valid", "train", "valid"]
    assert stable_seed("x", 1) == stable_seed("x", "1") != stable_seed("x1")


def test_shares_are_eight_one_one():
    found = [split_of(str(n)) for n in range(20_000)]
    assert found.count("train") / 20_000 == pytest.approx(0.8, abs=0.01)
    assert found.count("valid") / 20_000 == pytest.approx(0.1, abs=0.01)


def test_too_small_a_task_is_an_error_that_says_so():
    tiny = Chain(terms=2, max_operand=2, operators="+")
    with pytest.raises(DataError, match=r"no further 'train' problem .* after \d+ distinct ones; .*terms=2"):
        tiny.problems("train", 10)
    with pytest.raises(DataError, match="no chain stays within low=0, high=1"):
        Chain(operators="+", terms=9, high=1).problems("train", 1)
    with pytest.raises(DataError, match="unknown split 'dev'"):
        Chain().problems("dev", 1)
    with pytest.raises(DataError, match="must not be negative"):
        Chain().problems("train", -1)
    assert Chain().problems("valid", 0) == []


def rollouts(completions, problems, tokens=None, **columns):
    return Rollouts(
        completion=completions,
        reference=[p.reference for p in problems],
        meta=[p.meta for p in problems],
        tokens=tokens,
        **columns,
    )


def test_outcome_and_steps_are_signals_with_causes():
    task = Chain()
    (p,) = task.problems("train", 1)
    no_meta, no_reference = Problem(p.prompt, p.reference), Problem(p.prompt, None, p.meta)
    texts = [p.solution, "", p.solution, p.solution, f"{p.solution}0"]
    steps = Ragged.from_lists([task.split_steps(text) for text in texts], dtype=np.int64)
    data = rollouts(texts, [p, p, no_meta, no_reference, p], partitions={"step": steps})
    outcome, valid = task.outcome(data), task.steps(data)
    assert (outcome.level, outcome.name, valid.level, valid.name) == ("rollout", "outcome", "step", "steps")
    np.testing.assert_array_equal(outcome.values, [1, 0, 1, np.nan, 0])
    assert outcome.causes == {3: "reference missing"}
    np.testing.assert_array_equal(valid.values, [1] * 4 + [np.nan] * 4 + [1] * 4 + [1, 1, 1, 0])
    assert valid.cause_counts() == {"meta has no chain under 'expression'": 4}


def test_a_text_with_tokens_but_without_characters_is_one_invalid_step():
    task = Chain()
    (p,) = task.problems("train", 1)
    length = len(p.solution) + 1  # one token per byte and the final end of sequence
    ends = task.split_steps(p.solution)
    tokens = Ragged.from_lists([[2], list(range(length))], dtype=np.int32)
    data = rollouts(
        ["", p.solution],
        [p, p],
        tokens,
        partitions={"step": Ragged.from_lists([[1], [*ends[:-1], length]], dtype=np.int64)},
    )
    np.testing.assert_array_equal(task.steps(data).values, [0, 1, 1, 1, 1])


def test_spans_that_do_not_match_the_steps_are_missing_or_refused():
    task = Chain()
    (p,) = task.problems("train", 1)
    ends, n = task.split_steps(p.solution), len(p.solution)
    mixed = Ragged.from_lists([ends, [n]], dtype=np.int64)
    signal = task.steps(rollouts([p.solution] * 2, [p, p], partitions={"step": mixed}))
    np.testing.assert_array_equal(signal.values, [1, 1, 1, 1, np.nan])
    assert signal.causes == {4: "the step partition has 1 spans, the text has 4 steps"}
    wrong = Ragged.from_lists([[n]], dtype=np.int64)
    with pytest.raises(DataError, match="row 0: the step partition has 1 spans"):
        task.steps(rollouts([p.solution], [p], partitions={"step": wrong}))
    with pytest.raises(DataError, match="no 'step' spans"):
        task.steps(rollouts([p.solution], [p]))
    with pytest.raises(DataError, match="has no steps"):
        RandomCalculation().steps(rollouts([p.solution], [p]))
    with pytest.raises(DataError, match="has no steps"):
        RandomCalculation().split_steps("x")


def test_messages_are_read_as_text():
    (p,) = Chain().problems("train", 1)
    data = rollouts([[{"role": "assistant", "content": p.solution}]], [p])
    assert Chain().outcome(data).values.tolist() == [1.0]


def test_recipes_build_tasks_and_name_the_wrong_field():
    assert build("task", {"use": "chain", "terms": [3, 5]}) == Chain(terms=(3, 5))
    assert build("task", {"use": "countdown", "numbers": 3, "variant": "release"}).variant == "release"
    assert build("task", {"use": "random_calculation", "elements": ["integer"]}).elements == ("integer",)
    with pytest.raises(RecipeError, match=r"task\.term: unknown field; did you mean 'terms'"):
        build("task", {"use": "chain", "term": 3})
    for spec, words in [
        ({"use": "chain", "terms": 1}, "terms must be a whole number or"),
        ({"use": "chain", "terms": "four"}, "terms must be a whole number or"),
        ({"use": "chain", "terms": [5, 3]}, "terms must be"),
        ({"use": "chain", "terms": True}, "terms must be"),
        ({"use": "chain", "operators": "+/"}, "operators must be"),
        ({"use": "chain", "modulus": 1}, "modulus must be"),
        ({"use": "chain", "low": 5, "high": 5}, "low and high"),
        ({"use": "chain", "low": 50}, "no first number"),
        ({"use": "chain", "max_operand": 0}, "max_operand"),
        ({"use": "countdown", "numbers": 1}, "numbers must be"),
        ({"use": "countdown", "variant": "loose"}, "variant must be one of strict, release"),
        ({"use": "countdown", "operators": ""}, "operators"),
        ({"use": "countdown", "min_target": 0}, "min_target"),
        ({"use": "random_calculation", "operations": 21}, "operations must be"),
        ({"use": "random_calculation", "elements": ["root"]}, "elements must be"),
        ({"use": "random_calculation", "reward": "l2"}, "reward must be"),
        ({"use": "random_calculation", "max_digits": 3}, "max_digits"),
    ]:
        with pytest.raises(RecipeError, match=words):
            build("task", spec)


def test_span_of():
    assert span_of(3, "x", 1, 9) == (3, 3)
    assert span_of([1, 9], "x", 1, 9) == (1, 9)
    for bad in ([0, 3], [3, 10], [2], 2.5, None):
        with pytest.raises(ValueError, match="x must be a whole number"):
            span_of(bad, "x", 1, 9)


def test_the_room_imports_without_heavy_libraries():
    code = (
        "import sys, guerdon.tasks as t; t.Chain().problems('train', 1); t.Countdown; t.RandomCalculation;"
        "t.ReasoningGym; assert set(t.__all__) == set(dir(t));"
        "heavy = {'torch', 'numba', 'reasoning_gym', 'pyarrow'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
