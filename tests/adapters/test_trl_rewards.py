"""Rewards as TRL calls them. TRL itself is not needed for this."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import guerdon as gd
from guerdon.adapters import trl_version
from guerdon.adapters.trl import reward_func
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError, TrainingError


def call(function: Any, completions: list[Any], prompts: list[Any] | None = None, **columns: Any) -> Any:
    """As TRL 1.16 calls a reward function."""
    logged: dict[str, float] = {}
    told = {
        "trainer_state": SimpleNamespace(global_step=5, max_steps=20),
        "log_extra": lambda column, values: None,
        "log_metric": logged.__setitem__,
    }
    ids = columns.pop("ids", [[1] for _ in completions])
    found = function(
        prompts=prompts or ["p"] * len(completions),
        completions=completions,
        completion_ids=ids,
        **columns,
        **told,
    )
    if inspect.iscoroutine(found):
        found = asyncio.run(found)
    return found, logged


def test_one_value_per_completion_and_none_where_missing() -> None:
    function = reward_func("verify.match")
    assert function.__name__ == "match"
    found, logged = call(function, ["4", "5", "6"], solution=["4", "4", None])
    assert found == [1.0, 0.0, None]
    assert logged == {"rewards/match/missing": pytest.approx(1 / 3)}


def test_equals_the_native_call_for_messages_too() -> None:
    texts = ["the answer is 4", "no", "4"]
    chats = [[{"role": "assistant", "content": text}] for text in texts]
    own = gd.verify.math()(gd.Rollouts(completion=texts, reference=["4"] * 3))
    for completions in (texts, chats):
        assert call(reward_func("verify.math"), completions, answer=["4"] * 3)[0] == own.values.tolist()


def test_the_last_reply_alone() -> None:
    chat = [
        {"role": "assistant", "content": None, "tool_calls": [{"name": "add"}]},
        {"role": "tool", "name": "add", "content": "4"},
        {"role": "assistant", "content": "I do not know"},
    ]
    sees_tools = reward_func(gd.reward(lambda completion: float("4" in completion), name="four"))
    only_reply = reward_func(
        gd.reward(lambda completion: float("4" in completion), name="four"), reads="reply"
    )
    assert call(sees_tools, [chat, "4"])[0] == [1.0, 1.0]
    assert call(only_reply, [chat, "4"])[0] == [0.0, 1.0]
    assert call(only_reply, [chat[:2], chat[:1]])[0] == [0.0, 0.0]
    with pytest.raises(RecipeError, match="reads"):
        reward_func("verify.match", reads="last")


def test_asynchronous() -> None:
    function = reward_func("verify.match", asynchronous=True)
    assert inspect.iscoroutinefunction(type(function).__call__)
    assert call(function, ["4", "5"], reference=["4", "4"])[0] == [1.0, 0.0]


def test_the_reference_column_can_be_named_and_must_be_there() -> None:
    function = reward_func({"use": "verify.match", "style": "exact"}, reference="gold")
    assert call(function, ["4"], gold=["4"], reference=["5"])[0] == [1.0]
    with pytest.raises(DataError, match=r"'gold'.*remove_unused_columns=False"):
        call(function, ["4"], reference=["5"])


class Rank:
    """The rank of a completion's length in its group, from 0."""

    name, version = "rank", "1"

    def __call__(self, rollouts: gd.Rollouts, ctx: Any = None) -> Signal:
        labels, n = rollouts.groups()
        sizes = np.array([len(rollouts.text(i)) for i in range(len(rollouts))])
        values = np.empty(len(sizes))
        for group in range(n):
            rows = np.flatnonzero(labels == group)
            values[rows] = np.argsort(np.argsort(sizes[rows]))
        return Signal(values, "rollout")


def test_group_rewards_find_their_group() -> None:
    completions, prompts = ["a", "bbb", "cc", "dddd", "e", "ffff"], ["p"] * 3 + ["q"] * 3
    assert call(reward_func(Rank()), completions, prompts)[0] == [0, 2, 1, 1, 0, 2]
    same = ["p"] * 6  # two groups of the same prompt stand side by side
    assert call(reward_func(Rank(), group_size=3), completions, same)[0] == [0, 2, 1, 1, 0, 2]
    with pytest.raises(DataError, match="6 completions are no whole number of groups of 4"):
        call(reward_func(Rank(), group_size=4), completions, same)


class StepLengths:
    """Characters of every step."""

    name, version = "lengths", "1"

    def __call__(self, rollouts: gd.Rollouts, ctx: Any = None) -> Signal:
        ends = rollouts.partitions["step"]
        starts = np.concatenate([[0, *row[:-1].tolist()] for row in ends])
        return Signal(ends.values - starts, "step")


class Letters:
    """A tokenizer of one byte per token."""

    def token_bytes(self, ids: Any) -> list[bytes]:
        return [bytes([i]) for i in ids]


def test_rewards_of_steps_are_reduced_and_kept() -> None:
    texts = ["ab\nc", "a\nb\ncd"]
    ids = [list(text.encode()) for text in texts]
    for how, expected in (("sum", [4.0, 6.0]), ("mean", [2.0, 2.0]), ("last", [1.0, 2.0])):
        function = reward_func(StepLengths(), steps="newline", tokenizer=Letters(), reduce=how)
        assert call(function, texts, ids=ids)[0] == expected
        assert function.captured is not None
        assert function.captured[1].level == "step"
        assert function.captured[1].values.tolist() == [3, 1, 2, 2, 2]
    with pytest.raises(RecipeError, match="tokenizer"):
        call(reward_func(StepLengths(), steps="newline"), texts, ids=ids)


class Broken:
    name, version = "broken", "1"

    def __call__(self, rollouts: gd.Rollouts, ctx: Any = None) -> Signal:
        raise ConnectionError("the judge is gone")


def test_a_reward_that_dies_does_what_the_user_chose() -> None:
    with pytest.raises(ConnectionError, match="judge is gone"):
        call(reward_func(Broken()), ["a", "b"])
    assert call(reward_func(Broken(), on_error="none"), ["a", "b"])[0] == [None, None]
    assert call(reward_func(Broken(), on_error=-1.0), ["a", "b"])[0] == [-1.0, -1.0]
    with pytest.raises(RecipeError, match="on_error"):
        reward_func(Broken(), on_error="zero")


def test_a_ground_truth_that_the_trainer_dropped() -> None:
    with pytest.raises(
        DataError, match=r"'match' has no verdict.*\(level\).*reference=COLUMN.*unused_columns"
    ):
        call(reward_func("verify.match"), ["4", "5"], level=[1, 2])
    some = call(reward_func("verify.match"), ["4", "5"], answer=[None, None])
    assert some[0] == [None, None]  # the column is there


def test_columns_that_a_reward_needs() -> None:
    tests = reward_func(gd.reward(lambda meta: float(meta["tests"]), name="tests"), needs=["tests"])
    assert call(tests, ["a"], tests=[0.5])[0] == [0.5]
    with pytest.raises(DataError, match=r"'tests' needs the dataset columns tests, .*hands over level"):
        call(tests, ["a"], level=[1])


def test_a_tokenizer_that_is_not_the_policys() -> None:
    function = reward_func(StepLengths(), steps="newline", tokenizer=Letters())
    assert call(function, ["ab"], ids=[[97, 98]])[0] == [2.0]
    with pytest.raises(DataError, match=r"not the policy's: completion 0 is 'ab', and its tokens are b'de'"):
        call(function, ["ab", "c"], ids=[[100, 101], [102]])


def test_versions_of_trl() -> None:
    trl_version.check_version("1.16.0")
    trl_version.check_version("2.0.0.dev0")
    for old in ("1.15.2", "0.29", "unknown"):
        with pytest.raises(TrainingError, match=rf"needs trl >= 1\.16, and {old} is installed"):
            trl_version.check_version(old)
    with pytest.raises(TrainingError, match=r"trl 3\.0 has no _calculate_rewards .*>= 1\.16 .*1\.16\.0"):
        trl_version.check_methods(
            type("GRPOTrainer", (), {name: 1 for name in trl_version.NEEDED[1:]}), "3.0"
        )


def test_training_progress_reaches_the_reward() -> None:
    class Progress:
        name, version = "progress", "1"

        def __call__(self, rollouts: gd.Rollouts, ctx: Any = None) -> Signal:
            return Signal(np.full(len(rollouts), ctx.progress), "rollout")

    assert call(reward_func(Progress()), ["a"])[0] == [0.25]


def test_it_survives_pickling() -> None:
    function = pickle.loads(pickle.dumps(reward_func("verify.match")))
    assert call(function, ["4"], label=["4"])[0] == [1.0]


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="solution: expected 2 entries"):
        call(reward_func("verify.match"), ["4", "5"], solution=["4"])
