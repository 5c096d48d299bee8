"""Traces, tasks and environments of the verifiers package itself; `make verifiers` gets it for this."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("verifiers.v1", reason="verifiers >= 0.4 is not installed (make verifiers)")

import verifiers.v1 as vf
from verifiers.v1 import graph
from verifiers.v1.trace import WireTrace
from verifiers.v1.types import AssistantMessage, Response, ToolMessage, TurnTokens, UserMessage
from vf_sums import Sum, SumData

import guerdon as gd
from guerdon.adapters.verifiers import annotate, from_traces, to_traces
from guerdon.adapters.verifiers_rewards import score_together, task_reward
from guerdon.data import io
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build


def new(key: str = "k", **more: Any) -> Any:
    about = {"type": "Sum", "data": {"prompt": "2 + 2 =", "answer": "4"}, "key": key}
    return WireTrace.model_validate({"task": about, "agent": {"config": {}}} | more)


def turn(trace: Any, prompt: list[Any], spans: list[tuple[int, int]], ids: list[int], reply: str) -> int:
    """A turn as the package commits it: a prompt of one token per message and a generation prompt."""
    new_ids = [100 + i for i in range(len(ids))]
    prompt_ids = [*range(1, len(prompt) + 1), 99]
    response = Response(
        id="r",
        created=0,
        model="m",
        message=AssistantMessage(content=reply),
        finish_reason="stop",
        tokens=TurnTokens(
            prompt_ids=prompt_ids,
            completion_ids=ids or new_ids,
            completion_logprobs=[-0.123456789 * (i + 1) for i in range(len(ids))],
            message_spans=spans,
        ),
    )
    return graph.prepare_turn(trace, prompt).commit(response)


def committed(reply: str = "4", key: str = "k") -> Any:
    trace = new(key)
    turn(trace, [UserMessage(content="2 + 2 =")], [(0, 1)], [7, 8], reply)
    return trace


@st.composite
def traces(draw: st.DrawFn) -> Any:
    """A graph as the package's types hold it: branches, tools, log-probabilities of every digit."""
    made = new(draw(st.sampled_from("ab")))
    made.nodes.append(graph.MessageNode(message=UserMessage(content="q"), token_ids=[1], mask=[False]))
    floats = st.floats(-30, 0, allow_nan=False)
    for _ in range(draw(st.integers(1, 5))):
        parent = draw(st.integers(0, len(made.nodes) - 1))
        if made.nodes[parent].sampled and draw(st.booleans()):
            answer = ToolMessage(content="t", tool_call_id="c")
            own = [7] * draw(st.integers(0, 2))
            made.nodes.append(
                graph.MessageNode(parent=parent, message=answer, token_ids=own, mask=[False] * len(own))
            )
            parent = len(made.nodes) - 1
        scaffold, chosen = draw(st.integers(0, 2)), draw(st.integers(1, 3))
        each = st.lists(floats, min_size=chosen, max_size=chosen)
        made.nodes.append(
            graph.MessageNode(
                parent=parent,
                message=AssistantMessage(content="a"),
                sampled=True,
                token_ids=draw(
                    st.lists(st.integers(0, 50), min_size=scaffold + chosen, max_size=scaffold + chosen)
                ),
                mask=[False] * scaffold + [True] * chosen,
                logprobs=draw(each),
                advantages=draw(st.none() | each),
                entropies=draw(st.none() | each),
                reference_logprobs=draw(st.none() | each),
            )
        )
        made.calls.append(
            vf.trace.ModelCall(
                node=len(made.nodes) - 1, finish_reason=draw(st.sampled_from(["stop", "length"]))
            )
        )
    return made


def dump(trace: Any) -> Any:
    return trace.model_dump(mode="json", context={"float_decimals": None})


@settings(deadline=None, max_examples=60)
@given(st.lists(traces(), min_size=1, max_size=3))
def test_there_and_back_nothing_is_lost(given_traces: list[Any]) -> None:
    before = [dump(trace) for trace in given_traces]
    rollouts = from_traces(given_traces)
    again = [WireTrace.model_validate(each) for each in to_traces(rollouts)]
    assert [dump(trace) for trace in again] == before
    annotate(given_traces, rollouts)
    assert [dump(trace) for trace in given_traces] == before


@settings(deadline=None, max_examples=60)
@given(st.lists(traces(), min_size=1, max_size=3))
def test_rows_are_the_branches_of_the_package(given_traces: list[Any]) -> None:
    rollouts = from_traces(given_traces)
    branches = [branch for trace in given_traces for branch in trace.branches if any(branch.sampled_mask)]
    assert len(branches) == len(rollouts)
    assert rollouts.tokens is not None and rollouts.acted is not None and rollouts.logprobs is not None
    for row, branch in enumerate(branches):
        n = len(rollouts.tokens[row])
        chosen = rollouts.acted[row]
        assert branch.token_ids[-n:] == rollouts.tokens[row].tolist()
        assert branch.sampled_mask[-n:] == chosen.tolist()
        np.testing.assert_array_equal(
            np.float32(branch.logprobs[-n:])[chosen], rollouts.logprobs[row][chosen]
        )
        reason = branch.calls[-1].finish_reason
        assert rollouts.truncated[row] == (reason == "length")


@settings(deadline=None, max_examples=60)
@given(st.lists(traces(), min_size=1, max_size=3))
def test_advantages_are_where_the_package_reads_them(given_traces: list[Any]) -> None:
    rollouts = from_traces(given_traces, keep=False)
    assert rollouts.tokens is not None and rollouts.acted is not None and rollouts.node is not None
    per_node = {key: i + 1.0 for i, key in enumerate(dict.fromkeys(rollouts.node.tolist()))}
    per_step = Signal(np.array([per_node[key] for key in rollouts.node.tolist()]), "step")
    values = rollouts.spread(per_step, to="token").values
    annotate(given_traces, rollouts.replace(advantages=rollouts.tokens.with_values(values)))
    branches = [branch for trace in given_traces for branch in trace.branches if any(branch.sampled_mask)]
    for row, branch in enumerate(branches):
        bounds = rollouts.tokens.offsets[row : row + 2]
        expected = np.where(rollouts.acted[row], values[slice(*bounds)], 0.0)
        assert branch.advantages is not None
        assert branch.advantages[-len(expected) :] == expected.tolist()


def test_credit_equals_the_native_call() -> None:
    given_traces = [committed() for _ in range(3)]
    for i, trace in enumerate(given_traces):
        trace.record_reward("right", float(i > 0), 2.0)
    rollouts = from_traces(given_traces)
    assert rollouts.tokens is not None
    advantage = gd.credit.grpo()(rollouts)
    native = gd.credit.grpo()(
        gd.Rollouts(
            tokens=gd.Ragged.from_lists([[99, 7, 8]] * 3, np.int32),
            acted=gd.Ragged.from_lists([[False, True, True]] * 3, bool),
            group=[0, 0, 0],
            signals={"outcome": Signal(np.array([0.0, 2.0, 2.0]), "rollout")},
        )
    )
    annotate(given_traces, rollouts.replace(advantages=rollouts.tokens.with_values(advantage.values)))
    found = [trace.nodes[-1].advantages for trace in given_traces]
    assert found == native.values.reshape(3, 3)[:, 1:].tolist()


def test_edited_columns_are_written_back() -> None:
    trace = committed()
    rollouts = from_traces([trace])
    assert rollouts.tokens is not None and rollouts.logprobs is not None and rollouts.acted is not None
    edited = rollouts.replace(
        tokens=rollouts.tokens.with_values(np.array([99, 7, 5], np.int32)),
        acted=rollouts.acted.with_values(np.array([False, False, True])),
        logprobs=rollouts.logprobs.with_values(np.float32([np.nan, np.nan, -0.5])),
        ref_logprobs=rollouts.logprobs.with_values(np.float32([np.nan, np.nan, -0.25])),
    )
    (written,) = [WireTrace.model_validate(each) for each in to_traces(edited)]
    annotate([trace], edited)
    for node in (trace.nodes[-1], written.nodes[-1]):
        assert node.token_ids == [99, 7, 5] and node.mask == [False, False, True]
        assert node.logprobs == [-0.5] and node.reference_logprobs == [-0.25]
    short = gd.Rollouts(
        tokens=gd.Ragged.from_lists([[99, 7]], np.int32), meta=rollouts.meta, completion=rollouts.completion
    )
    with pytest.raises(DataError, match="row 0: 2 tokens, but its path in trace 0 has 3"):
        annotate([trace], short)


def test_their_own_json_is_rounded_and_ours_is_not() -> None:
    trace = committed()
    exact = float(np.float32(-0.123456789))
    for given_trace, expected in ((trace, exact), (trace.to_record(), pytest.approx(-0.1235))):
        rollouts = from_traces([given_trace])
        assert rollouts.logprobs is not None
        assert float(rollouts.logprobs.values[1]) == expected


def test_through_a_file(tmp_path: Path) -> None:
    trace = committed()
    io.write(from_traces([trace]), tmp_path / "r.parquet")
    (again,) = to_traces(io.read(tmp_path / "r.parquet"))
    assert dump(WireTrace.model_validate(again)) == dump(trace)


def test_rollouts_from_elsewhere_become_traces_of_the_package() -> None:
    rollouts = gd.Rollouts(
        prompt=["why?"],
        completion=["because"],
        tokens=gd.Ragged.from_lists([[5, 6]], np.int32),
        logprobs=gd.Ragged.from_lists([[-1.0, -2.0]], np.float32),
        advantages=gd.Ragged.from_lists([[0.5, -0.5]], np.float64),
        truncated=[True],
    )
    (trace,) = [WireTrace.model_validate(each) for each in to_traces(rollouts)]
    (branch,) = trace.branches
    assert branch.token_ids == [5, 6] and branch.logprobs == [-1, -2] and branch.advantages == [0.5, -0.5]
    assert trace.is_truncated and trace.last_reply == "because"
    assert from_traces([trace]).tokens == rollouts.tokens


def test_episodes_limits_and_agents_that_are_not_trained() -> None:
    judged = committed(key="j")
    judged.agent.trainable = False
    cut = committed()
    cut.stop("max_turns")
    episode = vf.WireEpisode(task=cut.task, traces=[cut, judged])
    rollouts = from_traces([episode])
    assert rollouts.truncated.tolist() == [True, False]
    assert [meta["verifiers"]["trainable"] for meta in rollouts.meta or []] == [True, False]
    assert len(from_traces([episode], trainable_only=True)) == 1


def test_traces_of_an_evaluation_have_text_only() -> None:
    trace = new()
    message = AssistantMessage(content="4")
    response = Response(id="r", created=0, model="m", message=message, finish_reason="stop")
    graph.prepare_turn(trace, [UserMessage(content="2 + 2 =")]).commit(response)
    rollouts = from_traces([trace])
    assert rollouts.tokens is None and rollouts.text(0) == "4"
    scored = rollouts.replace(signals={"right": Signal(np.array([1.0]), "rollout")})
    annotate([trace], scored, ["right"])
    assert trace.rewards["right"].score == 1.0
    assert to_traces(scored, ["right"])[0]["rewards"] == {"right": {"score": 1.0, "weight": 1.0}}


# -- rewards -----------------------------------------------------------------------------------------------


def scored(task: Any, trace: Any) -> Any:
    asyncio.run(task.score(trace))
    return trace.rewards


def sum_task(**config: Any) -> Any:
    return Sum(SumData(prompt="2 + 2 =", answer="4"), vf.TaskConfig(**config))


def test_a_reward_inside_a_task() -> None:
    for reply, expected in (("4", 1.0), ("the answer is 5", 0.0)):
        rewards = scored(sum_task(), committed(reply))
        assert (rewards["right"].score, rewards["right"].weight) == (expected, 1.0)
        assert rewards["short"].weight == 0.5
        native = gd.verify.match()(gd.Rollouts(completion=[reply], reference=["4"]))
        assert rewards["right"].score == native.values[0]


plugged = task_reward("verify.match", reference="answer", weight=3.0)


def test_a_reward_plugged_by_configuration() -> None:
    rewards = scored(sum_task(rewards={"also": {"fn": f"{__file__}:plugged"}}), committed("4"))
    assert (rewards["also"].score, rewards["also"].weight) == (1.0, 3.0)


def test_a_reward_of_steps_reads_tokens() -> None:
    class PerStep:
        name, version = "per_step", "1"

        def __call__(self, rollouts: gd.Rollouts, ctx: Any = None) -> Signal:
            return Signal(np.diff(np.concatenate([[0], rollouts.partitions["step"].values])), "step")

    trace = committed()
    function = task_reward(PerStep(), reads="tokens")
    assert asyncio.run(function(sum_task(), trace)) == 3.0


def test_a_verdict_that_is_missing() -> None:
    broken = gd.reward(lambda completion: None, name="broken")
    trace = committed()
    assert asyncio.run(task_reward(broken)(sum_task(), trace)) == {}
    assert asyncio.run(task_reward(broken, on_missing=-1)(sum_task(), trace)) == -1.0
    with pytest.raises(DataError, match="'broken' has no verdict: returned None"):
        asyncio.run(task_reward(broken, on_missing="raise")(sum_task(), trace))
    with pytest.raises(DataError, match=r"no field 'gold'; it has .*answer"):
        asyncio.run(task_reward(broken, reference="gold")(sum_task(), trace))
    with pytest.raises(RecipeError, match="on_missing"):
        task_reward(broken, on_missing="zero")


def test_all_traces_of_a_task_together() -> None:
    class Rank:
        name, version = "rank", "1"

        def __call__(self, rollouts: gd.Rollouts, ctx: Any = None) -> Signal:
            assert rollouts.groups()[1] == 1 and rollouts.reference == ["4"] * len(rollouts)
            sizes = [len(rollouts.text(i)) for i in range(len(rollouts))]
            return Signal(np.argsort(np.argsort(sizes)), "rollout")

    given_traces = [committed("4444"), committed("4"), committed("44")]
    score_together(Rank(), given_traces, reference="answer", weight=0.5)
    assert [trace.rewards["rank"].value for trace in given_traces] == [1.0, 0.0, 0.5]


# -- environments as tasks -----------------------------------------------------------------------------------


def test_an_environment_as_a_task() -> None:
    task = build("task", {"use": "verifiers", "taskset": "vf_sums", "config": {"largest": 4}})
    problems = task.problems("train", 20)
    assert len({problem.prompt for problem in problems}) == 20
    assert not {p.prompt for p in problems} & {p.prompt for p in task.problems("test", 2)}
    first = problems[0]
    a, b = int(first.prompt.split()[1]), int(first.prompt.split()[3])
    assert first.prompt == f"Add.\n\n{a} + {b} =" and first.reference == str(a + b)
    n = 4
    rollouts = gd.Rollouts(
        completion=[first.reference, "99", f"well, it must be {first.reference}", first.reference],
        reference=[first.reference] * n,
        meta=[first.meta] * 3 + [{}],
    )
    signal = task.outcome(rollouts)
    right = gd.verify.match()(rollouts).values
    assert signal.values[:3].tolist() == (right[:3] + np.array([0.5, 0.5, 0.0])).tolist()
    assert np.isnan(signal.values[3]) and "'verifiers'" in signal.causes[3]
    assert task.check("99", first.reference, first.meta) == 0.0


def test_environments_that_one_answer_does_not_settle_are_refused() -> None:
    with pytest.raises(RecipeError, match="taskset 'no_such_set'"):
        build("task", {"use": "verifiers", "taskset": "no_such_set"})
    with pytest.raises(RecipeError, match="largest"):
        build("task", {"use": "verifiers", "taskset": "vf_sums", "config": {"largest": "many"}})
