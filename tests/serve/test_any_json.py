"""Any JSON at any route: never a 5xx, and the server goes on."""

from __future__ import annotations

import json
from typing import Any

from asking import ask, post, record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["4", "\ud800", "\x00", "a" * 300, "rollout", "step", "token", "group", "outcome"]),
)
NAMES = st.sampled_from(
    [
        "id",
        "group",
        "prompt",
        "completion",
        "reference",
        "meta",
        "images",
        "truncated",
        "tokens",
        "acted",
        "logprobs",
        "values",
        "advantages",
        "steps",
        "turns",
        "partitions",
        "state",
        "node",
        "signals",
        "level",
        "role",
        "content",
        "outcome",
        "causes",
        "x",
    ]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
SIGNALS = st.dictionaries(
    st.sampled_from(["outcome", "steps", "match"]),
    st.fixed_dictionaries({"level": LEAVES, "values": st.lists(st.floats() | st.none(), max_size=4)}),
    max_size=2,
)
RECORDS = st.dictionaries(NAMES, VALUES, max_size=4).flatmap(
    lambda some: st.fixed_dictionaries(
        {},
        optional={
            "completion": st.text(max_size=6) | VALUES,
            "tokens": st.lists(st.integers(0, 9), max_size=4),
            "steps": st.lists(st.integers(-1, 6), max_size=3),
            "group": st.integers(0, 2) | st.text(max_size=2),
            "signals": SIGNALS,
            "reference": VALUES,
        },
    ).map(lambda more: some | more)
)
METHODS = st.sampled_from(
    ["grpo", "rloo", "gae", "outcome_and_steps", "pure", "gigpo", "levels", "tp-grpo-thought"]
)
BODIES = st.one_of(
    st.tuples(st.just("/score"), st.fixed_dictionaries({"records": st.lists(RECORDS, max_size=4)})),
    st.tuples(
        st.just("/credit"),
        st.fixed_dictionaries(
            {"records": st.lists(RECORDS, max_size=4), "method": METHODS},
            optional={
                "settings": st.dictionaries(st.sampled_from(["eps", "gamma", "levels"]), VALUES, max_size=2)
            },
        ),
    ),
    st.tuples(
        st.just("/openrlhf"),
        st.dictionaries(st.sampled_from(["query", "prompts", "labels"]), st.lists(VALUES, max_size=3)),
    ),
    st.tuples(st.sampled_from(["/score", "/credit", "/openrlhf"]), VALUES),
)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(BODIES)
def test_never_a_server_error(open_server: str, asked: tuple[str, Any]) -> None:
    path, body = asked
    status, _, content = ask(open_server, "POST", path, json.dumps(body).encode())
    assert status < 500, content
    json.loads(content)
    assert post(open_server, "/score", {"records": [record(1)], "rewards": ["match"]})[0] == 200
