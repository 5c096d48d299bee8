"""verify.math as a reward: references, extraction, causes, failure policy, second opinions, threads."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import guerdon.verify as verify
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.verify.maths import workers

needs_math_verify = pytest.mark.skipif(not workers.available(), reason="math-verify is not installed")


def rollouts(*rows):
    return Rollouts(completion=[text for text, _ in rows], reference=[gold for _, gold in rows])


def values(reward, *rows):
    return reward(rollouts(*rows)).values.tolist()


def test_values_and_paths():
    reward = verify.math()
    rows = [("\\boxed{84/2}", "42"), ("A: 41", "42"), ("57 or 58", "57"), ("", "5"), ("\\boxed{}", "5")]
    assert values(reward, *rows) == [1.0, 0.0, 0.0, 0.0, 0.0]
    verdicts = reward.verdicts(rollouts(*rows))
    assert verdicts[0].detail == {"path": "rational", "answer": "84/2", "how": "boxed"}
    assert [v.detail["path"] for v in verdicts[3:]] == ["no answer", "empty"]
    assert reward.name == "verify.math" and reward.version


def test_the_factory_is_not_shadowed_by_a_module():
    importlib.import_module("guerdon.verify.maths.reward")
    assert callable(verify.math) and callable(verify.math_verify)
    assert verify.extract.last_boxed("\\boxed{1}") == "1"
    with pytest.raises(AttributeError, match="nothing_here"):
        verify.nothing_here  # noqa: B018


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("42", 1.0),
        (42, 1.0),
        (42.0, 1.0),
        (Fraction(84, 2), 1.0),
        (np.int64(42), 1.0),
        (["41", "42"], 1.0),
        (("41", 43), 0.0),
        ("She adds them up.\n#### 42", 1.0),
        ("It takes 20 + 22 = <<20+22=42>>42 days\nA: 42", 1.0),
        ("A long enough solution that ends with the answer \\boxed{42}.", 1.0),
    ],
)
def test_kinds_of_references(reference, value):
    assert values(verify.math(), ("\\boxed{42}", reference)) == [value]


@pytest.mark.parametrize(
    ("reference", "cause"),
    [
        (None, "missing reference"),
        ("", "missing reference"),
        ("  ", "missing reference"),
        ([], "missing reference"),
        ({"a": 1}, "reference is dict"),
        ([["1"], ["2"]], "nested references"),
    ],
)
def test_a_reference_that_cannot_be_used_is_a_cause(reference, cause):
    signal = verify.math()(rollouts(("\\boxed{42}", reference), ("\\boxed{1}", "1")))
    assert math.isnan(signal.values[0]) and signal.values[1] == 1.0
    assert signal.cause_counts() == {cause: 1}


def test_all_references_must_be_given():
    reward = verify.math(references="all")
    rows = [("x=2 or x=3", ["3", "2"]), ("\\boxed{2}", ["3", "2"]), ("\\boxed{2}", ["2"])]
    assert values(reward, *rows) == [1.0, 0.0, 1.0]


def test_extraction_is_configurable():
    text = "<answer>3</answer> \\boxed{4}"
    assert values(verify.math(extract="tag"), (text, "3")) == [1.0]
    assert values(verify.math(extract=["strict_tag", "boxed"]), (text, "3")) == [1.0]
    assert values(verify.math(extract=lambda text: text[-2]), (text, "4")) == [1.0]
    assert values(verify.math(extract="bare"), ("x=1, x=4", "1, 4"), ("The answer is 3", "3")) == [1.0, 1.0]
    assert values(verify.math(extract="boxed"), ("The answer is 3", "3")) == [0.0]


def test_parameters_are_checked():
    with pytest.raises(RecipeError, match="did you mean 'boxed'"):
        verify.math(extract="boxes")
    with pytest.raises(RecipeError, match="references"):
        verify.math(references="some")
    with pytest.raises(RecipeError, match="budget"):
        verify.math(budget=0)
    with pytest.raises(RecipeError, match="on_error"):
        verify.math(on_error="maybe")


def test_failure_policy():
    rows = [("\\boxed{9^{9^{9^9}}}", "3")]
    signal = verify.math()(rollouts(*rows))
    assert signal.cause_counts() == {"too large": 1}
    assert values(verify.math(on_error=-1.0), *rows) == [-1.0]
    with pytest.raises(DataError, match="too large"):
        verify.math(on_error="raise")(rollouts(*rows))


def test_messages_and_duplicates():
    messages = [{"role": "assistant", "content": "\\boxed{3}"}]
    signal = verify.math()(Rollouts(completion=[messages, messages, messages], reference=["3", "3", "4"]))
    assert signal.values.tolist() == [1.0, 1.0, 0.0]


def test_without_math_verify_the_fast_path_still_works(monkeypatch):
    monkeypatch.setattr(workers, "available", lambda: False)
    rows = [("\\boxed{\\int_0^1 x dx}", "1/2"), ("\\boxed{0.5}", "1/2")]
    signal = verify.math()(rollouts(*rows))
    assert math.isnan(signal.values[0]) and signal.values[1] == 1.0
    assert signal.cause_counts() == {"needs math-verify": 1}
    verdict = verify.math().verdicts(rollouts(*rows))[0]
    assert "pip install 'guerdon[math]'" in verdict.detail["why"]
    assert verify.math_equal("\\int_0^1 x dx", "1/2").cause == "needs math-verify"
    assert verify.math_verify()(rollouts(*rows)).cause_counts() == {"needs math-verify": 2}


def test_without_fallback_nothing_is_asked():
    signal = verify.math(fallback=False)(rollouts(("\\boxed{\\int_0^1 x dx}", "1/2")))
    assert signal.cause_counts() == {"unsupported": 1}


def test_math_equal_on_bare_answers():
    assert verify.math_equal("1, 4", "x=4 or x=1").value == 1.0
    verdict = verify.math_equal("\\frac12", "0.5")
    assert verdict.value == 1.0 and verdict.detail == {"path": "rational"}


def test_import_is_light():
    heavy = "{'sympy', 'math_verify', 'torch', 'multiprocessing'}"
    code = f"import sys, guerdon.verify as v; v.math; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_math_verify
def test_what_the_fast_path_leaves_open_goes_to_math_verify():
    reward = verify.math(processes=1)
    rows = [
        ("\\boxed{\\int_0^1 x dx}", "1/2"),
        ("\\boxed{\\sum_{n=1}^{100} n}", "5050"),
        ("\\boxed{\\sum_{n=1}^{100} n}", ["5051", "5049"]),
        ("\\boxed{\\lim_{x\\to 0}\\frac{\\sin x}{x}}", "1"),
        ("\\boxed{\\int_0^1 x^{x^{x}} dx}", "1"),
        ("\\boxed{7}", "7"),
    ]
    signal = reward(rollouts(*rows))
    assert signal.values.tolist()[:4] == [1.0, 1.0, 0.0, 1.0]
    assert signal.cause_counts() == {"too large": 1} and signal.values[5] == 1.0
    assert reward.verdicts(rollouts(*rows))[0].detail["path"] == "math-verify"


@needs_math_verify
def test_second_opinion_lists_differences():
    rows = [("\\boxed{1²}", "1"), ("\\boxed{5}", "5"), ("\\boxed{v/r}", "\\frac{V}{R}")]
    opinion = verify.second_opinion(rollouts(*rows), verify.math(), verify.math_verify(processes=1))
    assert opinion.rows == 3
    assert {d.row for d in opinion.differences} >= {2}
    assert "verify.math against verify.math_verify" in opinion.table()
    assert "row 2" in opinion.table() and "more" in opinion.table(limit=0)
    both = verify.math(second_opinion=True, processes=1).verdicts(rollouts(*rows))
    assert both[1].detail["second"] == 1.0 and both[1].detail["differs"] is False
    assert both[2].detail["differs"] is True
    assert both[1].detail["parts"] == {"second": 1.0, "differs": 0.0}
    assert both[2].detail["parts"]["differs"] == 1.0


@needs_math_verify
def test_from_threads_and_async_code():
    reward = verify.math(processes=1)
    batch = rollouts(("\\boxed{\\int_0^1 x dx}", "1/2"), ("\\boxed{2}", "3"))

    async def several():
        inside = reward(batch)  # a plain call while an event loop runs in this thread
        return [inside, *await asyncio.gather(*(asyncio.to_thread(reward, batch) for _ in range(4)))]

    with ThreadPoolExecutor(4) as pool:
        signals = [*pool.map(lambda _: reward(batch), range(4)), *asyncio.run(several())]
    assert all(signal.values.tolist() == [1.0, 0.0] for signal in signals)


def test_gsm8k_solutions_are_graded_as_their_labels_say():
    root = os.environ.get("GUERDON_DATA")
    if not root:
        pytest.skip("GUERDON_DATA is unset")
    models = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    with gzip.open(
        Path(root) / "gsm8k" / "model_solutions_first800.jsonl.gz", "rt", encoding="utf-8"
    ) as file:
        rows = [json.loads(line) for line in file]
    texts = [row[model]["solution"] for row in rows for model in models]
    golds = [row["ground_truth"] for row in rows for _ in models]
    labels = [row[model]["is_correct"] for row in rows for model in models]
    signal = verify.math(fallback=False)(Rollouts(completion=texts, reference=golds))
    assert signal.missing == 0 and signal.values.astype(bool).tolist() == labels
