"""Tags, patterns, JSON, schemas, lengths, checklists, composites, diagnostics."""

from __future__ import annotations

import math
import pickle
import time

import numpy as np
import pytest

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, EngineError, RecipeError
from guerdon.scoring import Verdict, missing
from guerdon.verify.canonical import canonical_json
from guerdon.verify.checklists import checklist
from guerdon.verify.composite import Composite
from guerdon.verify.diagnostics import builtin, check, command, suppressions
from guerdon.verify.json_text import NotJSON, find_json, parse_json, same_json
from guerdon.verify.lengths import length, overlong, repeats, repetition, soft_limit
from guerdon.verify.markup import between, blocks, fences, finder, only_blocks
from guerdon.verify.rubrics import escaped, filled, item_prompt, read_level
from guerdon.verify.schemas import json_schema
from guerdon.verify.templates import pattern, tags


def score(reward, completion, reference=None, **meta) -> float:
    return reward(Rollouts(completion=[completion], reference=[reference], meta=[meta])).values[0]


# -- markup and templates -----------------------------------------------------------------------------


def test_blocks_and_fences():
    assert blocks("<a>1</a><a>2<a>3</a></a>", "a") == ["1", "2<a>3"] and blocks("<a>1", "a") == []
    assert between("[1\n]x[2]", "[", "]", one_line=True) == ["2"]
    assert (
        fences("```py\nx\n```\n```\ny\n```") == ["x", "y"]
        and fences("```x```") == ["x"]
        and fences("```\nx") == []
    )
    assert fences("```SQL select 1```", "sql") == ["select 1"] and fences("```sqlite\nx\n```", "sql") == []
    assert (
        finder("after:Answer:")("Answer: 3\nAnswer: 4 \n") == "4" and finder("last_line")("a\n b \n\n") == "b"
    )
    assert finder("tag:a")("<a> 1 </a>") == "1" and finder("first_tag:a")("<a>1</a><a>2</a>") == "1"
    assert (
        finder("fence:py")("```py\n1\n```") == "1"
        and finder("boxed")(r"\boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    )
    pickle.dumps(finder("tag:a"))


@pytest.mark.parametrize(
    "text", ["<a>" * 200_000, "```" * 200_001, "<a>x" * 100_000 + "</a>", "</a><a>" * 100_000]
)
def test_markup_is_linear(text):
    start = time.process_time()
    blocks(text, "a"), fences(text), only_blocks(text, ("a",)), between(text, "<a>", "</a>", one_line=True)
    assert time.process_time() - start < 5.0


@pytest.mark.parametrize(
    ("text", "strict", "once", "present"),
    [
        ("<think>a</think>\n<answer>b</answer> ", 1, 1, 1),
        ("so <think>a</think> x <answer>b</answer>.", 0, 1, 1),
        ("<answer>b</answer><think>a</think>", 0, 0, 1),
        ("<think>a</think><answer>b</answer><answer>c</answer>", 0, 0, 1),
        ("<think>a<answer>b</answer></think>", 0, 0, 1),
        ("<think>a</think><answer>b", 0, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_tags(text, strict, once, present):
    assert [score(tags(mode=mode), text) for mode in ("strict", "once", "present")] == [strict, once, present]


def test_tags_with_content_patterns_and_bad_parameters():
    assert score(tags(("a",), not_empty=True), "<a> </a>") == 0 and score(tags("a"), "<a> </a>") == 1
    assert (
        score(pattern(r"\d+"), " 42 ") == 1
        and score(pattern(r"\d+"), "x42") == 0
        and score(pattern(r"\d", whole=False), "x4") == 1
    )
    for bad in (lambda: tags(mode="exact"), lambda: tags(()), lambda: tags(("<a>",)), lambda: pattern("(")):
        with pytest.raises(RecipeError):
            bad()


# -- JSON ---------------------------------------------------------------------------------------------


def test_json_parsing_is_strict_and_safe():
    assert parse_json(' {"a": [1, 2.5, null]} ') == {"a": [1, 2.5, None]}
    for bad in (
        "{'a': 1}",
        "[1,]",
        "NaN",
        '{"a": Infinity}',
        "",
        "[" * 100_000,
        "1" * 10_000,
        "x" * 2_000_000,
    ):
        with pytest.raises(NotJSON):
            parse_json(bad)
    assert parse_json('{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(NotJSON, match="twice"):
        parse_json('{"a": 1, "a": 2}', unique_keys=True)
    assert find_json('so {"a": 1} and [2]') == {"a": 1} and find_json('x {"a": 1} [2]', (list,)) == [2]
    assert find_json("```json\n[1]\n``` then ```json\n[2]\n```") == [2]
    for bad in ("none", "{" * 5000, "3"):
        with pytest.raises(NotJSON):
            find_json(bad)


def test_json_equality_and_canonical_text():
    assert (
        same_json({"a": [1, None]}, {"a": [1.0, None]}) and not same_json(True, 1) and not same_json("3", 3)
    )
    assert not same_json([1], [1, 2]) and not same_json({"a": 1}, {"b": 1}) and not same_json(None, 0)
    assert (
        canonical_json({"b": 1.0, "a": "é\n", "c": [1e21, 1e-7, -0.0, True]})
        == '{"a":"é\\n","b":1,"c":[1e+21,1e-7,0,true]}'
    )
    with pytest.raises(ValueError):
        canonical_json([math.nan])


def test_schemas():
    pytest.importorskip("jsonschema")
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 0}}}
    reward = json_schema(schema, parse_weight=0.2)
    assert (
        score(reward, 'here: {"n": 3}') == 1.0
        and score(reward, '{"n": -1}') == pytest.approx(0.2)
        and score(reward, "x") == 0
    )
    assert score(json_schema(schema, strict=True), 'here: {"n": 3}') == 0.0
    assert (
        score(json_schema(), '{"n": 3}', schema) == 1.0
        and score(json_schema(), '{"n": 3}', schema=schema) == 1.0
    )
    assert math.isnan(score(json_schema(), "{}")) and math.isnan(score(json_schema(), "{}", {"type": 3}))
    with pytest.raises(RecipeError, match="not valid"):
        json_schema({"type": "nothing"})
    remote = {"$ref": "http://127.0.0.1:9/schema.json"}
    assert math.isnan(score(json_schema(), "{}", remote)), "nothing is fetched"


# -- lengths ------------------------------------------------------------------------------------------


def test_lengths():
    assert score(length(target=10), "w " * 10) == 1.0 and score(length(target=10), "w " * 20) == 0.0
    assert score(length(unit="characters"), "x" * 12, target_length=10) == pytest.approx(1 - 0.1 / 0.9)
    assert math.isnan(score(length(), "x")) and math.isnan(score(length(), "x", target_length=-1))
    assert [soft_limit(n, 10, 4) for n in (6, 8, 10, 11)] == [0.0, -0.5, -1.0, -1.0]
    tokens = Rollouts(tokens=Ragged.from_lists([[1] * 6, [1] * 8, [1] * 12], np.int32))
    assert overlong(10, 4)(tokens).values.tolist() == [0.0, -0.5, -1.0]
    for bad in (
        lambda: length(target=0),
        lambda: length(unit="lines"),
        lambda: overlong(4, 10),
        lambda: repeats(n=0),
    ):
        with pytest.raises(RecipeError):
            bad()


def test_repetition():
    assert repetition("a b c d e", 2) == 0.0 and repetition("a b a b a b", 2) == pytest.approx(1 - 2 / 5)
    assert repetition("a", 4) == 0.0 and score(repeats(2, penalty=0.5), "a b a b a b") == pytest.approx(-0.3)
    assert repetition("aaaa", 2, unit="characters") == pytest.approx(2 / 3)


# -- checklists ---------------------------------------------------------------------------------------


def test_prompts_cannot_be_closed_by_the_text():
    assert escaped("</text> a < b <i>") == "< /text> a < b < i>"
    prompt = item_prompt("q {item}", "t {answers}</text>", "is it short?")
    assert "q {item}" in prompt and "t {answers}< /text>" in prompt and prompt.count("is it short?") == 1
    assert filled("{a}{b}", {"a": "{b}", "b": "x"}) == "{b}x"
    chat = item_prompt([{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}], "t", "i")
    assert "user: hi\nassistant: " in chat


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        ("Yes.", 1),
        ("no", 0),
        (True, 1),
        (0, 0),
        ('{"criteria_met": false}', 0),
        ({"met": "yes"}, 1),
        (np.float64(1), 1),
    ],
)
def test_answers_that_can_be_read(answer, level):
    assert read_level(answer) == level


@pytest.mark.parametrize("answer", [None, "maybe", "yes and no", 2, "", {}, [], {"met": {}}, float("nan")])
def test_answers_that_cannot(answer):
    found = read_level(answer)
    assert isinstance(found, Verdict) and math.isnan(found.value) and found.cause


def test_checklist_reward():
    judge = lambda prompts: ["yes" if "short" in p.rsplit("Item:", 1)[1] else "no" for p in prompts]  # noqa: E731
    assert score(checklist(judge, items=["short", "kind"]), "x") == 0.5
    assert score(checklist(judge), "x", ["short"]) == 1.0
    assert score(checklist(scale="ternary"), "x", levels=["full", "partial"], items=["a", "b"]) == 0.75
    assert math.isnan(score(checklist(judge), "x", [])) and math.isnan(score(checklist(), "x", ["short"]))


# -- composites ---------------------------------------------------------------------------------------


def test_composite_keeps_parts_causes_and_policy():
    def parts(row):
        if row.completion == "boom":
            raise KeyError("field")
        return {
            "a": 1.0,
            "b": missing("no b") if row.completion == "half" else 2.0,
            "extra": 5.0,
            "unknown": 7.0,
        }

    reward = Composite("two", parts, {"a": 1.0, "b": 0.5, "extra": 0.0})
    total, found = reward.explain(Rollouts(completion=["full", "half", "boom"]))
    np.testing.assert_equal(total.values, [2.0, np.nan, np.nan])
    assert total.causes == {1: "b: no b", 2: "KeyError: 'field'"} and set(found) == {"a", "b", "extra"}
    assert found["a"].values[:2].tolist() == [1.0, 1.0] and found["b"].causes[1] == "no b"
    assert Composite("two", parts, {"a": 1.0, "b": 0.5}, on_error=0.0)(
        Rollouts(completion=["half"])
    ).values.tolist() == [0.0]
    with pytest.raises(DataError, match="row 0"):
        Composite("two", parts, {"b": 1.0}, on_error="raise")(Rollouts(completion=["half"]))
    with pytest.raises(RecipeError, match="weight"):
        Composite("two", parts, {"a": math.nan})


def test_composite_reads_signals_and_checks_batches():
    def parts(rows):
        return [{"s": row.meta["s"]} for row in rows]

    reward = Composite("s", parts, {"s": 1.0}, batch=True, signals=("s",))
    signals = {"s": Signal(np.array([1.0, 2.0, np.nan]), "rollout", "s")}
    total = reward(Rollouts(completion=["a", "a", "b"], meta=[{"s": 9}] * 3, signals=signals))
    np.testing.assert_equal(total.values, [1.0, 2.0, np.nan])
    short = Composite("s", lambda rows: [], {"s": 1.0}, batch=True)
    with pytest.raises(DataError, match="scored 0 of 1"):
        short(Rollouts(completion=["a"]))


# -- diagnostics --------------------------------------------------------------------------------------


def test_undefined_names_and_syntax_errors():
    source = (
        "import os\ndef f(a):\n    return a + q + os.sep\n"
        "g = lambda x: x + f(1)\ntry:\n    pass\nexcept OSError as e:\n    e\n"
    )
    assert [(d.line, d.rule) for d in check(source)] == [(3, "undefined-name")]
    assert [d.rule for d in check("def f(:\n")] == ["syntax-error"] and check("from x import *\ny\n") == []
    assert check("def f():\n    global g\n    g = 1\nprint(g, __name__)\n") == []
    assert len(builtin({"a.py": "x", "b.py": "(", "c.txt": "?"})) == 2
    assert check("(" * 50_000)[0].rule == "syntax-error"
    assert suppressions({"a.py": "x = 1  # type: ignore\ny = 2  # noqa: F821\n"}) == 2


def test_analysers_as_programs():
    pytest.importorskip("ruff")
    import sys

    ruff = command(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--isolated",
            "--no-cache",
            "--select",
            "F",
            "--output-format",
            "json",
        ]
    )
    assert [d.rule for d in ruff({"pkg/a.py": "print(missing_name)\n"})] == ["F821"]
    for bad in (command(["no-such-program"]), command([sys.executable, "-c", "print('hi')"])):
        with pytest.raises(EngineError, match="gave no diagnostics"):
            bad({"a.py": ""})
    with pytest.raises(EngineError, match="leads out"):
        ruff({"../a.py": ""})
