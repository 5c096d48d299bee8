"""Rewards from plain functions: what they may ask for, return and do wrong."""

from __future__ import annotations

import asyncio
import functools
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import guerdon
from guerdon.data import Ragged, Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.scoring import Reward, Row, SampleReward, Verdict, missing, rows_of

nan = math.nan
ROLLOUTS = Rollouts(
    prompt=["1+1", "1+1", "2+2"],
    completion=["2", "3", [{"role": "assistant", "content": "4"}]],
    reference=["2", "2", "4"],
    meta=[{"level": 1}, None, {"level": 3}],
)


def score(function, rollouts=ROLLOUTS, **options):
    """The signal of a function lifted with these options."""
    return guerdon.reward(**options)(function)(rollouts)


# -- what a function may look like -----------------------------------------------------------------------


def test_a_decorated_function_is_a_reward():
    @guerdon.reward
    def exact(prompt, completion, reference):
        return completion == reference

    assert isinstance(exact, Reward)
    assert (exact.name, exact.version) == ("exact", "1")
    signal = exact(ROLLOUTS)
    assert (signal.level, signal.name, signal.missing, dict(signal.causes)) == ("rollout", "exact", 0, {})
    assert_array_equal(signal.values, [1, 0, 1])


def test_a_name_and_version_of_its_own():
    @guerdon.reward(name="math", version="2024-1")
    def f(completion):
        return len(completion)

    assert (f.name, f.version) == ("math", "2024-1")
    assert f(ROLLOUTS).name == "math"


def test_every_argument_a_function_may_ask_for():
    seen = []

    def f(messages, meta, reference, completion, prompt, threshold=0.5, **other):
        seen.append((prompt, completion, reference, meta, messages, threshold, other))
        return 0.0

    score(f)
    assert seen[1] == ("1+1", "3", "2", {}, None, 0.5, {})
    assert seen[2] == ("2+2", "4", "4", {"level": 3}, [{"role": "assistant", "content": "4"}], 0.5, {})


def test_columns_the_rollouts_do_not_have():
    def f(prompt, reference, meta):
        assert (prompt, reference, meta) == (None, None, {})
        return 1.0

    assert_array_equal(score(f, Rollouts(completion=["a", "b"])).values, [1, 1])


def test_batches():
    calls = []

    def f(completions, references):
        calls.append(list(completions))
        return [c == r for c, r in zip(completions, references, strict=True)]

    assert_array_equal(score(f, batch=True).values, [1, 0, 1])
    assert calls == [["2", "3", "4"]]
    assert_array_equal(score(lambda completion: np.arange(len(completion)), batch=True).values, [0, 1, 2])


def test_async_functions_run_side_by_side():
    running, most = 0, 0

    async def f(completion, reference):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return completion == reference

    assert_array_equal(score(f).values, [1, 0, 1])
    assert most == 3


def test_async_batches_and_callable_objects():
    async def f(completion):
        return [float(c) for c in completion]

    class Judge:
        async def __call__(self, completion):
            return float(completion) * 2

    class Length:
        def __call__(self, completion):
            return len(completion)

    assert_array_equal(score(f, batch=True).values, [2, 3, 4])
    assert_array_equal(score(Judge()).values, [4, 6, 8])
    assert_array_equal(score(Length()).values, [1, 1, 1])
    assert score(Length()).name == "Length"
    assert_array_equal(score(functools.partial(lambda completion, k: k, k=7)).values, [7, 7, 7])


def test_async_functions_also_run_inside_a_running_loop():
    async def f(completion):
        await asyncio.sleep(0)
        return float(completion)

    async def main():
        return score(f)

    assert_array_equal(asyncio.run(main()).values, [2, 3, 4])


# -- what it may return ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        1,
        True,
        1.0,
        np.float32(1),
        np.int8(1),
        np.bool_(True),
        np.array(1.0),
        Fraction(1),
        Decimal(1),
        Verdict(1.0),
    ],
)
def test_numbers_of_any_kind(value):
    signal = score(lambda completion: value)
    assert_array_equal(signal.values, [1, 1, 1])
    assert signal.missing == 0


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (None, "returned None"),
        ("0.5", "returned str, expected a number"),
        (b"1", "returned bytes, expected a number"),
        ([1.0], "returned list, expected a number"),
        ({"score": 1}, "returned dict, expected a number"),
        (1j, "returned complex, expected a number"),
        (np.ones(2), "returned ndarray, expected a number"),
        (10**400, "returned int, expected a number"),
        (nan, "returned NaN"),
        (np.float64("nan"), "returned NaN"),
        (math.inf, "returned inf, expected a finite number"),
        (-math.inf, "returned -inf, expected a finite number"),
        (missing("no answer found"), "no answer found"),
    ],
)
def test_what_is_not_a_score_is_missing_and_says_why(value, cause):
    signal = score(lambda completion: value if completion == "3" else 1)
    assert_array_equal(signal.values, [1, nan, 1])
    assert signal.causes == {1: cause}
    batched = score(lambda completion: [1, value, 1], batch=True)
    assert_array_equal(batched.values, [1, nan, 1])
    assert batched.causes == {1: cause}


def test_torch_scalars():
    torch = pytest.importorskip("torch")
    assert_array_equal(score(lambda completion: torch.tensor(0.5)).values, [0.5] * 3)
    assert_array_equal(score(lambda completion: torch.tensor([1.0, 2, 3]), batch=True).values, [1, 2, 3])


def failing(completion):
    if completion == "3":
        raise KeyError("answer")
    return 1.0


async def failing_later(completion):
    return failing(completion)


@pytest.mark.parametrize("function", [failing, failing_later])
def test_what_is_raised_is_a_cause(function):
    signal = score(function)
    assert_array_equal(signal.values, [1, nan, 1])
    assert signal.causes == {1: "KeyError: 'answer'"}
    assert signal.cause_counts() == {"KeyError: 'answer'": 1}


def test_a_failing_batch_fails_as_a_whole():
    def f(completion):
        raise TimeoutError("judge")

    async def later(completion):
        raise TimeoutError("judge")

    for function in (f, later):
        assert score(function, batch=True).cause_counts() == {"TimeoutError: judge": 3}


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ([1.0, 2.0], "wrong length: 2 values for 3 samples"),
        (np.ones(4), "wrong length: 4 values for 3 samples"),
        (1.0, "returned float, expected a list of 3 numbers"),
        (None, "returned NoneType, expected a list of 3 numbers"),
        ("abc", "returned str, expected a list of 3 numbers"),
        (np.array(1.0), "returned ndarray, expected a list of 3 numbers"),
        ({"a": 1, "b": 2, "c": 3}, "returned dict, expected a list of 3 numbers"),
        ((x for x in [1, 2, 3]), "returned generator, expected a list of 3 numbers"),
    ],
)
def test_batches_of_the_wrong_length(value, cause):
    assert score(lambda completion: value, batch=True).cause_counts() == {cause: 3}


@pytest.mark.parametrize("function", [failing, failing_later])
def test_policies_for_failures(function):
    assert_array_equal(score(function, on_error=-1.0).values, [1, -1, 1])
    assert score(function, on_error=-1.0).causes == {1: "KeyError: 'answer'"}
    with pytest.raises(DataError, match="could not score row 1: KeyError: 'answer'"):
        score(function, on_error="raise")


@pytest.mark.parametrize("batch", [False, True])
def test_errors_guerdon_raises_on_purpose_are_not_swallowed(batch):
    def f(completion):
        raise RecipeError("judge.model: unknown field")

    async def later(completion):
        raise RecipeError("judge.model: unknown field")

    for function in (f, later):
        with pytest.raises(RecipeError, match=r"judge\.model"):
            score(function, batch=batch)


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "asked"),
    [
        (lambda completion, answer: 1, "asks for answer"),
        (lambda: 1, "asks for nothing"),
        (lambda *args: 1, "asks for nothing"),
        (lambda **given: 1, "asks for nothing"),
        (lambda completion, *, k: 1, "asks for k"),
        (lambda completion, /: 1, "asks for completion; it may ask by name"),
        (functools.partial(lambda completion, k: 1), "'partial' asks for k"),
    ],
)
def test_arguments_that_do_not_exist(function, asked):
    with pytest.raises(RecipeError, match=asked) as error:
        guerdon.reward(function)
    assert "prompt, completion, reference, meta and messages" in str(error.value)


@pytest.mark.parametrize("on_error", ["zero", None, nan, math.inf, [0]])
def test_policies_that_do_not_exist(on_error):
    with pytest.raises(RecipeError, match="on_error must be 'nan', 'raise' or a number"):
        guerdon.reward(on_error=on_error)(failing)


def test_tokens_without_text():
    tokens = Rollouts(tokens=Ragged.from_lists([[1]], np.int32))
    with pytest.raises(DataError, match="reads text, but the rollouts hold tokens only"):
        guerdon.reward(failing)(tokens)


def test_no_rollouts():
    assert len(score(failing, Rollouts(completion=[]))) == 0
    assert len(score(failing_later, Rollouts(completion=[]))) == 0


# -- rewards as classes ----------------------------------------------------------------------------------


class Keyed(SampleReward):
    """Counts how often it is asked."""

    name = "keyed"

    def __init__(self, **options):
        super().__init__(**options)
        self.asked = []

    def score(self, row):
        self.asked.append(row.completion)
        return Verdict(float(row.completion)) if row.completion != "3" else missing("three", got="3")

    def key(self, row):
        return None if row.completion == "4" else row.completion


def test_equal_rows_are_scored_once():
    rollouts = Rollouts(completion=["2", "3", "2", "4", "3", "4"])
    keyed = Keyed()
    signal = keyed(rollouts)
    assert keyed.asked == ["2", "3", "4", "4"]
    assert_array_equal(signal.values, [2, nan, 2, 4, nan, 4])
    assert signal.causes == {1: "three", 4: "three"}
    assert keyed.verdicts(rollouts)[1].detail == {"got": "3"}


def test_a_subclass_must_do_its_part():
    with pytest.raises(TypeError, match="SampleReward must implement score"):
        SampleReward()(ROLLOUTS)

    class Short(SampleReward):
        def score_batch(self, rows):
            return [Verdict(1.0)]

    with pytest.raises(DataError, match="returned 1 verdicts for 3 rows"):
        Short()(ROLLOUTS)
    with pytest.raises(RecipeError, match=r"keyed\.on_error"):
        Keyed(on_error="zero")


def test_a_missing_value_without_a_cause():
    class Silent(SampleReward):
        def score(self, row):
            return Verdict(nan)

    assert Silent()(ROLLOUTS).cause_counts() == {"unknown": 3}


def test_rows():
    rows = rows_of(ROLLOUTS)
    assert rows[0] == Row("1+1", "2", "2", {"level": 1}, None)
    assert rows[2].completion == "4"
    assert rows[2].messages == [{"role": "assistant", "content": "4"}]
