"""What holds for every general reward: row order, garbage, missing references, pickling."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest

from guerdon.data.rollouts import Rollouts
from guerdon.verify.answers_match import match
from guerdon.verify.box_overlap import boxes, points
from guerdon.verify.checklists import checklist
from guerdon.verify.choices import choice
from guerdon.verify.graphs import graph
from guerdon.verify.lengths import length, overlong, repeats
from guerdon.verify.rankings import ranking
from guerdon.verify.schemas import json_schema
from guerdon.verify.sql_reward import sql
from guerdon.verify.templates import pattern, tags
from guerdon.verify.text_overlap import bleu, chrf, edit, rouge
from guerdon.verify.tools import tool_calls

pytest.importorskip("sqlglot")
pytest.importorskip("jsonschema")


def yes(prompts: list[str]) -> list[str]:
    return ["yes"] * len(prompts)


NONE: dict = {}
CASES = {
    # factory, a completion worth more than the empty one, reference, meta, what the missing row lacks
    "match": (match(), "Paris", "paris", NONE, "reference"),
    "choice": (choice(), "B", "B", {"options": ["x", "y"]}, "reference"),
    "ranking": (ranking(), "[1, 2]", [1], NONE, "reference"),
    "boxes": (boxes(), "[0, 0, 2, 2]", [0, 0, 2, 2], NONE, "reference"),
    "points": (points(), "(1, 1)", [0, 0, 2, 2], NONE, "reference"),
    "bleu": (bleu(), "a b c d", "a b c d", NONE, "reference"),
    "chrf": (chrf(), "abc", "abc", NONE, "reference"),
    "rouge": (rouge(), "abc", "abc", NONE, "reference"),
    "edit": (edit(), "abc", "abc", NONE, "reference"),
    "graph": (graph(), '[["a", "b"]]', [["a", "b"]], NONE, "reference"),
    "tool_calls": (
        tool_calls(),
        '{"name": "f", "arguments": {}}',
        [{"name": "f", "arguments": {}}],
        NONE,
        "reference",
    ),
    "json_schema": (json_schema(), "{}", {"type": "object"}, NONE, "reference"),
    "sql": (sql(), "SELECT 1", "SELECT 1", {"setup": ""}, "reference"),
    "checklist": (checklist(yes, items=None), "x", ["item"], NONE, "empty checklist"),
    "length": (length(), "a b", None, {"target_length": 2}, "target"),
    "tags": (tags(("a",)), "<a>1</a>", None, NONE, None),
    "pattern": (pattern(".+"), "x", None, NONE, None),
    "repeats": (repeats(2), "a b a b", None, NONE, None),
    "overlong": (overlong(3, 2), "abcdef", None, NONE, None),
}
every = pytest.mark.parametrize("name", sorted(CASES))


def rollouts(name: str, *completions: str, **columns) -> Rollouts:
    _, good, reference, meta, _ = CASES[name]
    texts = list(completions) or [good, "", "§", good]
    given = {"reference": [reference] * len(texts), "meta": [dict(meta) for _ in texts]}
    return Rollouts(completion=texts, **{**given, **columns})


@every
def test_good_empty_and_strange_completions(name):
    reward = CASES[name][0]
    signal = reward(rollouts(name))
    good, empty, strange, again = signal.values
    assert good == again and not np.isnan(signal.values).any()
    if name in ("checklist", "repeats", "overlong"):
        assert abs(good) >= abs(empty)
    else:
        assert good == 1.0 and empty in (0.0, -0.0)
    assert np.isfinite(strange)


@every
def test_order_pickling_and_no_rows(name):
    reward = pickle.loads(pickle.dumps(CASES[name][0]))
    texts = [CASES[name][1], "", "a b a b", "[1, 2]", "{}", "<a>2</a>"]
    values = reward(rollouts(name, *texts)).values
    order = [3, 0, 5, 2, 4, 1]
    np.testing.assert_array_equal(reward(rollouts(name, *(texts[i] for i in order))).values, values[order])
    assert len(reward(rollouts(name).select([]))) == 0
    assert reward.version == CASES[name][0].version and isinstance(reward.name, str)
    parts = reward.parts(rollouts(name, *texts))
    assert parts and all(len(part) == 6 for part in parts.values())


@every
def test_what_is_missing_has_a_cause(name):
    reward, good, _, _, cause = CASES[name]
    if cause is None:
        pytest.skip("it looks at the completion only")
    meta = [{}] * 2 if name == "length" else [dict(CASES[name][3])] * 2
    signal = reward(rollouts(name, good, good, reference=[None, float("nan")], meta=meta))
    assert np.isnan(signal.values).all() and all(cause in text for text in signal.causes.values())


@every
def test_garbage_never_raises(name):
    rng = random.Random(1)
    pieces = [
        "{",
        "}",
        "[",
        "]",
        '"',
        ",",
        "1",
        "e999",
        "NaN",
        "<a>",
        "</a>",
        "```",
        "\\boxed{",
        "\x00",
        "\ud800",
        "é",
        " ",
        "\n",
    ]
    texts = ["".join(rng.choices(pieces, k=rng.randint(0, 40))) for _ in range(60)]
    signal = CASES[name][0](rollouts(name, *texts))
    assert not np.isinf(signal.values).any()
    references = [
        rng.choice([3, "x", [], {}, [None], {"a": 1}, True, "", [[1, 2]], {"rows": [[1]]}, {"$ref": 3}])
        for _ in texts
    ]
    signal = CASES[name][0](rollouts(name, *texts, reference=references))
    assert set(np.flatnonzero(np.isnan(signal.values)).tolist()) == set(signal.causes)
