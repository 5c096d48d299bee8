"""What holds for every system of the family: row order, missing inputs, garbage, pickling, documents."""

from __future__ import annotations

import inspect
import json
import pickle
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.systems import find, slugs

pytest.importorskip("sqlglot")

SETUP = "CREATE TABLE t(a INT, b TEXT); INSERT INTO t VALUES (1,'x'),(2,'y'),(3,'z');"
CALLS = '<think>t</think>\n<tool_call>\n{"name": "f", "parameters": {"a": 1}}\n</tool_call>'
KEY = 'Step 1: {"action": "grow", "objects": ["cells"], "parameters": ["37 c"]}'
PROTOCOL = f"<think>t</think><key>{KEY}</key><orc>Step 1: grow cells 37 c</orc><note>n</note>"


def yes(prompts: list[str]) -> list[str]:
    return ["yes" if len(prompt) % 2 else "no" for prompt in prompts]


def levels(prompts: list[str]) -> list[str]:
    return [("full", "partial", "none")[len(prompt) % 3] for prompt in prompts]


def letters(prompts: list[str]) -> list[str]:
    return [f"the answer is {'ABC'[len(prompt) % 3]}" for prompt in prompts]


@dataclass
class Case:
    """A system with six rows it can score."""

    completions: list[Any]
    reference: Any = None
    meta: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    needs_reference: bool = True
    needs_meta: bool = False
    signals: Callable[[int], dict[str, Signal]] | None = None
    steps: bool = False

    def rollouts(self, **columns: Any) -> Rollouts:
        n = len(self.completions)
        given: dict[str, Any] = {
            "completion": self.completions,
            "prompt": [f"question {i // 2}" for i in range(n)],
            "group": np.arange(n) // 2,
            "reference": [self.reference] * n,
            "meta": [dict(self.meta) for _ in range(n)],
        }
        if self.steps:
            given["partitions"] = {"step": Ragged.from_lists([[1, 2, 3]] * n, np.int64)}
        given["signals"] = self.signals(n) if self.signals else {}
        return Rollouts(**{**given, **columns})


def step_signals(*names: str) -> Callable[[int], dict[str, Signal]]:
    def make(n: int) -> dict[str, Signal]:
        rng = np.random.default_rng(0)
        return {name: Signal(rng.random(3 * n).round(2), "step", name) for name in names}

    return make


def rm_signal(n: int) -> dict[str, Signal]:
    return {"r_RM": Signal(np.arange(n) * 0.5, "rollout", "r_RM")}


def fence(query: str) -> str:
    return f"```sql\n{query}\n```"


QUERIES = [
    fence(q)
    for q in (
        "SELECT a, b FROM t",
        "SELECT a FROM t LIMIT 2",
        "SELECT b, a FROM t",
        "SELEC",
        "SELECT 1 AS one",
    )
]
CASES = {
    "acre": Case(
        [f"<think>because</think><answer>{a}</answer>" for a in "ABCAB"] + ["?"],
        "B",
        {"options": ["x", "y", "z"]},
        {"second": letters},
        needs_meta=True,
    ),
    "reasoning-sql": Case(
        [*QUERIES, "none"], "SELECT a, b FROM t", {"setup": SETUP}, {"judge": yes, "seconds": 2}
    ),
    "mm-r5": Case(
        [f"<think>t</think><answer>[{a}]</answer>" for a in ("1, 2", "2, 1", "3, 1", "2", "x", "")], [[1], 3]
    ),
    "pagellm": Case(
        ['["a","b"]', '["b","a"]', '["a"]', "a\nb", "[]", "c"],
        ["a"],
        {"R_page": 0.5, "R_item": 0.25},
        needs_reference=False,
        needs_meta=True,
    ),
    "verpo": Case(list("abcdef"), None, {"passed": [1, 0, 1]}, needs_reference=False, needs_meta=True),
    "thoth-score": Case(
        [PROTOCOL, PROTOCOL.replace("grow", "spin"), "x", KEY, PROTOCOL + PROTOCOL, "<key></key>"], PROTOCOL
    ),
    "paverl-sql": Case([*QUERIES, "none"], "SELECT a, b FROM t", {"setup": SETUP}, {"seconds": 2}),
    "ircoco": Case(
        ["abc"] * 6,
        None,
        {"V0": 0.5},
        signals=step_signals("V"),
        steps=True,
        needs_reference=False,
        needs_meta=True,
    ),
    "orbit-rubric": Case(
        list("abcdef"),
        None,
        {"rubrics": [{"criterion": "c", "points": 3}, {"criterion": "d", "points": -2}]},
        {"judge": yes},
        needs_reference=False,
        needs_meta=True,
    ),
    "ace-rl": Case(
        ["w " * k for k in range(6)],
        None,
        {"constraints": ["c", "dd"], "target_length": 3},
        {"w": 0.3, "judge": levels},
        needs_reference=False,
        needs_meta=True,
    ),
    "lanser-cli": Case(
        ["abc"] * 6,
        None,
        {"D0": 2.0},
        signals=step_signals("D", "S", "alpha"),
        steps=True,
        needs_reference=False,
        needs_meta=True,
    ),
    "r1-t1": Case(
        [f"<think>t</think><answer>{a}</answer>" for a in ("good day", "day", "", "x")] + ["bad", ""],
        "good day",
    ),
    "arena-rag": Case(
        [
            f"<relevance>[{a}]</relevance><analysis>t</analysis><answer>Rome</answer>"
            for a in ("1", "2", "1,2", "", "x")
        ]
        + [""],
        ["Rome"],
        {"supporting_ids": [1, 2]},
    ),
    "autorule": Case(
        list("abcdef"),
        None,
        {"rules": ["be kind", "be brief"]},
        {"judge": yes},
        signals=rm_signal,
        needs_reference=False,
        needs_meta=True,
    ),
    "toolrl": Case(
        [CALLS, CALLS.replace("1", "2"), CALLS.replace("f", "g"), "", "<think>", CALLS + CALLS], CALLS
    ),
    "shop-r1": Case(
        [
            json.dumps({"rationale": "r", "action": {"type": k, "name": "buy"}})
            for k in ("click", "terminate", "hover")
        ]
        + ["", "{}", "x"],
        {"type": "click", "name": "buy now"},
    ),
}

every = pytest.mark.parametrize("slug", sorted(CASES))


def make(slug: str):
    return find(slug).factory(**CASES[slug].parameters)


def same(a: Signal, b: Signal) -> None:
    assert a.level == b.level
    np.testing.assert_allclose(a.values, b.values, atol=1e-12)


def test_every_verify_system_has_a_case():
    assert {slug for slug, module in slugs().items() if ".systems.verify." in module} == set(CASES)


@every
def test_rows_are_scored_and_parts_stay_apart(slug):
    rollouts = CASES[slug].rollouts()
    reward = make(slug)
    total, parts = reward.explain(rollouts)
    assert total.name == slug == reward.name and len(total) == rollouts.count(total.level)
    assert not np.isnan(total.values).all() and parts
    same(reward(rollouts), total)
    assert set(reward.parts(rollouts)) == set(parts)
    for signal in (total, *parts.values()):
        assert {int(i) for i in np.flatnonzero(np.isnan(signal.values))} == set(signal.causes)


@every
def test_row_order_does_not_matter(slug):
    rollouts = CASES[slug].rollouts()
    total = make(slug)(rollouts)
    order = np.array([4, 1, 5, 0, 3, 2])
    turned = make(slug)(rollouts.select(order))
    spans = len(total) // len(rollouts)
    expected = total.values.reshape(-1, spans)[order].reshape(-1)
    np.testing.assert_allclose(turned.values, expected, atol=1e-12)


@every
def test_groups_of_one_and_no_rows(slug):
    rollouts = CASES[slug].rollouts()
    assert len(make(slug)(rollouts.select([]))) == 0
    single = make(slug)(rollouts.select([0]))
    assert single.values.size and not np.isinf(single.values).any()


@every
def test_missing_references_are_missing_values_with_a_cause(slug):
    case = CASES[slug]
    if not case.needs_reference:
        pytest.skip("no reference is used")
    for reference in (None, float("nan")):
        signal = make(slug)(case.rollouts(reference=[reference] * 6))
        assert np.isnan(signal.values).all() and len(signal.causes) == 6
        assert all("reference" in cause or "answer" in cause for cause in signal.causes.values())


@every
def test_missing_metadata_is_a_missing_value_with_a_cause(slug):
    case = CASES[slug]
    if not case.needs_meta:
        pytest.skip("metadata is optional")
    for meta in ([{}] * 6, [None] * 6, None):
        signal = make(slug)(case.rollouts(meta=meta))
        first = np.arange(0, len(signal), len(signal) // 6)
        assert np.isnan(signal.values[first]).all() and set(first.tolist()) <= set(signal.causes)


@every
def test_one_bad_row_does_not_touch_the_others(slug):
    case = CASES[slug]
    rollouts = case.rollouts()
    metas = [dict(case.meta) for _ in range(6)]
    references = [case.reference] * 6
    metas[5], references[5] = {}, None
    broken = make(slug)(case.rollouts(meta=metas, reference=references))
    whole = make(slug)(rollouts)
    spans = len(whole) // 6
    # row 5 shares a group with row 4 only
    np.testing.assert_allclose(broken.values[: 4 * spans], whole.values[: 4 * spans], atol=1e-12)


@every
def test_garbage_never_raises(slug):
    case = CASES[slug]
    rng = random.Random(0)
    pieces = [
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "[1,",
        "]",
        "{",
        "}",
        '"',
        "```sql\n",
        "SELECT",
        "\n",
        "\x00",
        "é😀",
        "A",
        "Step 1: {",
        "<key>",
        "</key>",
        "\\boxed{",
        "NaN",
        "1e999",
    ]
    texts = ["".join(rng.choices(pieces, k=rng.randint(0, 25))) for _ in range(6)]
    if case.steps:
        texts = [text[:3].ljust(3, "x") for text in texts]
    signal = make(slug)(case.rollouts(completion=texts))
    assert not np.isinf(signal.values).any()
    references = [
        rng.choice([3, "x", [], {}, [None], {"a": 1}, True, "", [[1], 0], [["a"], 2], {"type": []}])
        for _ in range(6)
    ]
    metas = [{key: rng.choice([None, 3, "x", [], {}, [None], [[1]]]) for key in case.meta} for _ in range(6)]
    signal = make(slug)(case.rollouts(reference=references, meta=metas))
    assert not np.isinf(signal.values).any()
    assert {int(i) for i in np.flatnonzero(np.isnan(signal.values))} == set(signal.causes)


@every
def test_messages_are_read_as_their_text(slug):
    case = CASES[slug]
    if case.steps:
        pytest.skip("spans are given")
    chats = [[{"role": "assistant", "content": text}] for text in case.completions]
    same(make(slug)(case.rollouts(completion=chats)), make(slug)(case.rollouts()))


@every
def test_rewards_survive_pickling(slug):
    reward = make(slug)
    again = pickle.loads(pickle.dumps(reward))
    assert again.version == reward.version
    same(again(CASES[slug].rollouts()), reward(CASES[slug].rollouts()))


@every
def test_documentation_names_source_and_every_parameter(slug):
    entry = find(slug)
    document = inspect.getdoc(entry.factory) or ""
    assert "Reference:" in document and entry.arxiv in document and entry.family == "verify" and entry.title
    for name in inspect.signature(entry.factory).parameters:
        assert re.search(rf"\b{name}\b[^\n]*:", document) or re.search(
            rf"^\s+[^\n]*\b{name}\b", document, re.MULTILINE
        )
