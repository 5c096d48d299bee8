"""Message graphs to Rollouts and back, on plain dicts in the shape of verifiers' traces."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import guerdon as gd
from guerdon.adapters.verifiers import from_traces, to_traces
from guerdon.data import io
from guerdon.errors import DataError


def node(parent: int | None, role: str, tokens: list[int], chosen: int = 0, **more: Any) -> dict[str, Any]:
    """A message whose last `chosen` tokens were sampled."""
    mask = [False] * (len(tokens) - chosen) + [True] * chosen
    return {
        "parent": parent,
        "message": {"role": role, "content": f"{role} {tokens}"},
        "sampled": chosen > 0,
        "token_ids": tokens,
        "mask": mask,
        "logprobs": [-0.5 * (i + 1) for i in range(chosen)],
        "finish_reason": "stop" if chosen else None,
    } | more


def branching() -> dict[str, Any]:
    """system, user, assistant, then two continuations after two tool answers."""
    return {
        "id": "t1",
        "task": {"type": "Search", "data": {"question": "q", "answer": "42"}, "key": "task-1", "hash": None},
        "agent": {"name": "solver"},
        "nodes": [
            node(None, "system", [1, 2]),
            node(0, "user", [3]),
            node(1, "assistant", [4, 5, 6], 2),
            node(2, "tool", [7, 8]),
            node(3, "assistant", [9, 10], 1),
            node(2, "tool", [11]),
            node(5, "assistant", [12, 13, 14], 3, finish_reason="length"),
        ],
        "rewards": {"correct": {"score": 1.0, "weight": 2.0}, "style": {"score": 0.5, "weight": 1.0}},
        "metrics": {"turns": 2.0},
        "info": {},
    }


def test_a_worked_example() -> None:
    rollouts = from_traces([branching()])
    assert rollouts.tokens is not None and rollouts.acted is not None and rollouts.logprobs is not None
    assert rollouts.tokens.to_lists() == [[4, 5, 6, 7, 8, 9, 10], [4, 5, 6, 11, 12, 13, 14]]
    assert rollouts.acted.to_lists() == [
        [False, True, True, False, False, False, True],
        [False, True, True, False, True, True, True],
    ]
    nan = float("nan")
    np.testing.assert_array_equal(rollouts.logprobs[0], np.float32([nan, -0.5, -1, nan, nan, nan, -0.5]))
    assert rollouts.partitions["step"].to_lists() == [[5, 7], [4, 7]]
    assert rollouts.node is not None
    assert rollouts.node[0] == rollouts.node[2] and len(set(rollouts.node.tolist())) == 3
    assert rollouts.groups()[1] == 1
    assert rollouts.truncated.tolist() == [False, True]
    assert [m["role"] for m in (rollouts.prompt or [])[0]] == ["system", "user"]
    assert [m["role"] for m in (rollouts.completion or [])[1]] == ["assistant", "tool", "assistant"]
    assert rollouts.signals["outcome"].values.tolist() == [2.5, 2.5]
    assert (rollouts.reference or [])[0]["answer"] == "42"


def test_the_way_back_is_the_same_trace() -> None:
    traces = [branching(), branching() | {"id": "t2", "rewards": {"correct": None}}]
    before = copy.deepcopy(traces)
    assert to_traces(from_traces(traces)) == before
    assert traces == before


def test_credit_lands_on_nodes_compactly() -> None:
    rollouts = from_traces([branching()])
    assert rollouts.tokens is not None
    values = np.arange(14, dtype=float)
    (trace,) = to_traces(rollouts.replace(advantages=rollouts.tokens.with_values(values)), ["correct"])
    found = [node.get("advantages") for node in trace["nodes"]]
    # node 2 lies on both paths: the mean of (1, 2) and (8, 9)
    assert found == [None, None, [4.5, 5.5], None, [6.0], None, [11.0, 12.0, 13.0]]
    assert trace["rewards"]["correct"] == {"score": 1.0, "weight": 1.0}
    again = from_traces([trace])
    assert again.advantages is not None
    assert again.advantages[0].tolist() == [0, 4.5, 5.5, 0, 0, 0, 6.0]


def test_paths_that_agree_give_a_shared_node_that_very_number() -> None:
    trace = branching()
    trace["nodes"].append(node(2, "assistant", [15], 1))
    rollouts = from_traces([trace])
    assert rollouts.tokens is not None and len(rollouts) == 3
    odd = -11.55592878375062  # (odd + odd + odd) / 3 is another number
    values = np.full(rollouts.tokens.total, odd)
    (again,) = to_traces(rollouts.replace(advantages=rollouts.tokens.with_values(values)))
    assert again["nodes"][2]["advantages"] == [odd, odd]


def test_a_method_for_groups_runs_on_traces() -> None:
    traces = [
        branching() | {"id": str(i), "rewards": {"correct": {"score": float(i), "weight": 1.0}}}
        for i in range(3)
    ]
    for trace in traces:
        trace["nodes"] = trace["nodes"][:5]
    rollouts = from_traces(traces)
    advantage = gd.credit.rloo()(rollouts)
    assert rollouts.tokens is not None
    credited = to_traces(rollouts.replace(advantages=rollouts.tokens.with_values(advantage.values)))
    assert [trace["nodes"][4]["advantages"] for trace in credited] == [[-1.5], [0.0], [1.5]]


def test_through_a_file(tmp_path: Path) -> None:
    io.write(from_traces([branching()]), tmp_path / "r.jsonl")
    assert to_traces(io.read(tmp_path / "r.jsonl")) == [branching()]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    nodes = [node(None, "user", [1])]
    for _ in range(draw(st.integers(1, 6))):
        parent = draw(st.integers(0, len(nodes) - 1))
        scaffold, chosen = draw(st.integers(0, 2)), draw(st.integers(1, 3))
        if nodes[parent]["sampled"] and draw(st.booleans()):
            nodes.append(node(parent, "tool", [7] * draw(st.integers(0, 2))))
            parent = len(nodes) - 1
        nodes.append(node(parent, "assistant", list(range(scaffold + chosen)), chosen))
    return branching() | {"nodes": nodes}


@settings(deadline=None)
@given(st.lists(graphs(), min_size=1, max_size=3))
def test_any_graph_comes_back(traces: list[dict[str, Any]]) -> None:
    rollouts = from_traces(json.loads(json.dumps(traces)))
    assert to_traces(rollouts) == traces
    leaves = sum(len(t["nodes"]) - len({n["parent"] for n in t["nodes"]} - {None}) for t in traces)
    assert len(rollouts) == leaves


def test_rollouts_from_elsewhere_become_chains_and_come_back() -> None:
    chat = [
        {"role": "assistant", "content": "call"},
        {"role": "tool", "content": "result"},
        {"role": "assistant", "content": "done"},
    ]
    rollouts = gd.Rollouts(
        prompt=["why?", "why?"],
        completion=["because", chat],
        tokens=gd.Ragged.from_lists([[5, 6], [7, 8, 9, 10]], np.int32),
        acted=gd.Ragged.from_lists([[True, True], [True, False, False, True]], bool),
        logprobs=gd.Ragged.from_lists([[-1.0, -2.0], [-0.5, np.nan, np.nan, -0.25]], np.float32),
        advantages=gd.Ragged.from_lists([[0.5, 0.5], [1.0, 0.0, 0.0, -1.0]], np.float64),
        group=[3, 3],
        truncated=[False, True],
    )
    traces = to_traces(rollouts)
    assert [[n["token_ids"] for n in t["nodes"]] for t in traces] == [[[], [5, 6]], [[], [7], [8, 9], [10]]]
    assert [n.get("advantages") for n in traces[1]["nodes"]] == [None, [1.0], None, [-1.0]]
    again = from_traces(traces)
    for name in ("tokens", "acted", "advantages"):
        assert getattr(again, name) == getattr(rollouts, name)
    np.testing.assert_array_equal(again.logprobs.values, rollouts.logprobs.values)  # type: ignore[union-attr]
    assert again.truncated.tolist() == [False, True] and again.groups()[1] == 1
    assert (again.completion or [])[1] == chat


def test_broken_graphs_are_named() -> None:
    trace = branching()
    trace["nodes"][4]["mask"] = [True]
    with pytest.raises(DataError, match="trace 0: node 4: mask"):
        from_traces([trace])
    trace = branching()
    trace["nodes"][2]["logprobs"] = [-1.0]
    with pytest.raises(DataError, match="node 2: expected 2 logprobs"):
        from_traces([trace])
    trace = branching()
    trace["nodes"][1]["parent"] = 6
    with pytest.raises(DataError, match="node 1: parent 6"):
        from_traces([trace])
    with pytest.raises(DataError, match="no sampled message"):
        from_traces([branching() | {"nodes": [node(None, "user", [1])]}])
    with pytest.raises(DataError, match="signal 'nope'"):
        to_traces(from_traces([branching()]), ["nope"])
