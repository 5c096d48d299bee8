"""ACRE, R1-T1 and Shop-R1: worked examples and their pitfalls."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.systems.verify.acre import acre, cacr
from guerdon.systems.verify.r1_t1 import r1_t1
from guerdon.systems.verify.shop_r1 import self_certainty, shop_r1

ANIMALS = ["cat", "dog", "fox"]
FOX_CAT_DOG = [2, 0, 1]


def consistency(first: str, second: str, **meta) -> float:
    meta = {"options": ANIMALS, "second": second, "order": FOX_CAT_DOG, **meta}
    return acre()(
        Rollouts(completion=[f"<think>t</think><answer>{first}</answer>"], reference=["B"], meta=[meta])
    ).values[0]


@pytest.mark.parametrize(
    ("first", "second", "worth"),
    [
        ("B", "C", 1.0),  # dog, dog
        ("B", "B", 0.5),  # dog, then cat
        ("A", "B", 0.0),  # cat and cat: they agree and are wrong
        ("A", "C", 0.0),  # cat, then dog
        ("B", "no idea", 0.5),
        ("E", "C", 0.0),
        ("dog", "(C) dog", 1.0),
    ],
)
def test_worked_examples_of_acre(first, second, worth):
    assert consistency(first, second) == worth


def test_second_pass_is_asked_with_other_orders_and_mapped_back():
    asked = []

    def policy(prompts):
        asked.extend(prompts)
        letters = []
        for prompt in prompts:
            lines = [line for line in prompt.splitlines() if line.endswith("dog")]
            letters.append(f"The answer is {lines[0][0]}.")
        return letters

    trace = "<think>it barks {options}</think><answer>B</answer>"
    rollouts = Rollouts(
        completion=[trace, trace.replace("B<", "A<"), "<answer>B</answer>"],
        prompt=["Which barks?"] * 3,
        reference=["dog"] * 3,
        meta=[{"options": ANIMALS}] * 3,
    )
    total, parts = acre(second=policy, alpha3=0.1).explain(rollouts)
    assert total.values.tolist() == [1.0, 0.1, 1.0] and parts["second"].values.tolist() == [1.0] * 3
    assert all("A. cat\nB. dog\nC. fox" not in prompt for prompt in asked)
    assert "it barks {options}" in asked[0] and "<answer>" not in asked[0]
    assert acre(second=policy, alpha3=0.1)(rollouts.select([2, 0, 1])).values.tolist() == [1.0, 1.0, 0.1]


def test_acre_says_what_is_missing():
    def causes(reward=None, reference="B", **meta):
        signal = (reward or acre())(Rollouts(completion=["B"], reference=[reference], meta=[meta]))
        assert math.isnan(signal.values[0])
        return signal.causes[0]

    assert "options" in causes()
    assert "second" in causes(options=ANIMALS)
    assert "order" in causes(options=ANIMALS, second="A", order=[0, 1])
    assert "reference" in causes(reference=None, options=ANIMALS, second="A", order=FOX_CAT_DOG)
    assert "no other order" in causes(acre(second=lambda p: p), options=["cat", "none of the above"])
    assert "judge failed" in causes(acre(second=lambda p: 1 / 0), options=ANIMALS)
    with pytest.raises(RecipeError, match="alpha1"):
        acre(alpha1=0.2)


def test_equal_options_and_the_two_consistency_metrics():
    meta = {"options": ["dog", "Dog", "fox"], "second": "C", "order": FOX_CAT_DOG}
    total, parts = acre().explain(Rollouts(completion=["A"], reference=["B"], meta=[meta]))
    assert total.values[0] == 1.0 and parts["same"].values[0] == 1.0
    assert cacr([0, 1, None, 2], [0, 0, None, 2]) == 0.5 and math.isnan(cacr([], []))


# -- R1-T1 --------------------------------------------------------------------------------------------


def translated(text: str) -> str:
    return f"<think>how</think>\n<answer>{text}</answer>"


def r1(completion: str, comet: float | None = None, **parameters) -> float:
    meta = {} if comet is None else {"comet": comet}
    rollouts = Rollouts(completion=[completion], prompt=["Guten Tag"], reference=["Good day"], meta=[meta])
    return r1_t1(**parameters)(rollouts).values[0]


@pytest.mark.parametrize(("comet", "worth"), [(0.8437, 1.04), (-0.2, 0.2), (1.137, 1.34)])
def test_worked_examples_of_r1_t1(comet, worth):
    assert r1(translated("Hello"), comet) == pytest.approx(worth)
    assert r1(translated("Hello"), metric=lambda triples: [comet] * len(triples)) == pytest.approx(worth)


@pytest.mark.parametrize(
    "text",
    [
        translated("a") + "<answer>b</answer>",
        "<answer>a</answer><think>how</think>",
        "<answer>a</answer>",
        "<think>x<answer>a</answer></think>",
        "",
    ],
)
def test_format_gate_of_r1_t1(text):
    assert r1(text, 0.9) == 0.0


def test_chrf_stands_in_for_comet():
    assert r1(translated("Good day")) == pytest.approx(1.2)
    assert r1(translated("  ")) == pytest.approx(0.2)
    assert 0.2 < r1(translated("Good night")) < 1.2


def test_a_prompt_may_lend_its_think_tag():
    completion = "how</think><answer>Good day</answer>"
    for prompt in (
        "Translate. <think>",
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": "<think>\n"}],
    ):
        rollouts = Rollouts(completion=[completion], prompt=[prompt], reference=["Good day"])
        assert r1_t1()(rollouts).values[0] == pytest.approx(1.2)


def test_guards_against_copies_and_wrong_languages():
    assert r1(translated("Guten Tag"), 0.9) == pytest.approx(1.1)
    assert r1(translated("Guten Tag"), 0.9, refuse_copies=True) == 0.2
    assert r1(translated("Hola"), 0.9, guard=lambda text, language: False) == 0.2


def test_a_dead_metric_is_missing_not_asked_forever():
    def dead(triples):
        raise ConnectionError("refused")

    rollouts = Rollouts(completion=[translated("a"), "malformed"], prompt=["x"] * 2, reference=["y"] * 2)
    signal = r1_t1(metric=dead)(rollouts)
    assert math.isnan(signal.values[0]) and "refused" in signal.causes[0] and signal.values[1] == 0.0
    assert math.isnan(r1_t1(metric=lambda t: [math.nan] * len(t))(rollouts).values[0])
    assert math.isnan(r1_t1()(Rollouts(completion=[translated("a")])).values[0])


def test_a_comet_column_that_is_missing_is_not_replaced():
    rows = Rollouts(completion=[translated("Good day")] * 2, prompt=["x"] * 2, reference=["Good day"] * 2)
    rows = rows.with_signal(Signal(np.array([0.5, np.nan]), "rollout", "comet"))
    np.testing.assert_allclose(r1_t1()(rows).values, [0.7, np.nan])


def test_metric_gets_sources_and_equal_triples_once():
    asked = []

    def metric(triples):
        asked.extend(triples)
        return [0.5] * len(triples)

    rollouts = Rollouts(
        completion=[translated("a")] * 3,
        prompt=["p"] * 3,
        reference=["y"] * 3,
        meta=[{"source_text": "s"}] * 3,
    )
    assert r1_t1(metric=metric)(rollouts).values.tolist() == [0.7] * 3
    assert asked == [("s", "a", "y")]


# -- Shop-R1 ------------------------------------------------------------------------------------------

CLICK = {"type": "click", "name": "buy red shoes now"}
SUBMIT = {"type": "type_and_submit", "name": "search box", "text": "red shoes for men"}


def shop(gold: dict, said, **parameters) -> float:
    completion = json.dumps({"rationale": "because", "action": said})
    return shop_r1(**parameters)(Rollouts(completion=[completion], reference=[gold])).values[0]


def fixed(value: float):
    return lambda answer, golds: value


@pytest.mark.parametrize(
    ("gold", "said", "similarity", "worth"),
    [
        (CLICK, CLICK, 0.5, 0.5),  # below the threshold
        (CLICK, CLICK, 0.8, 800.5),
        ({"type": "terminate"}, {"type": "terminate"}, 0.0, 0.3),
        (CLICK, {"type": "terminate"}, 1.0, 0.0),
    ],
)
def test_worked_action_values(gold, said, similarity, worth):
    assert shop(gold, said, similarity=fixed(similarity)) == pytest.approx(0.5 + worth)


@pytest.mark.parametrize(("text", "worth"), [(0.8, 800.6), (0.4, 0.6)])
def test_worked_type_and_submit(text, worth):
    similarity = lambda answer, golds: 1.0 if answer == SUBMIT["name"] else text  # noqa: E731
    assert shop(SUBMIT, SUBMIT, similarity=similarity) == pytest.approx(0.5 + worth)


def test_rouge_and_presence_by_default():
    assert shop(CLICK, CLICK) == pytest.approx(0.5 + 1000.5)
    assert shop(CLICK, {"type": "click", "name": "something else"}) == pytest.approx(1.0)
    assert shop(CLICK, {"type": "click"}) == pytest.approx(0.8)
    assert shop(CLICK, {"type": "click", "name": 7}) == pytest.approx(0.8)
    assert shop({"type": "terminate"}, "terminate") == pytest.approx(0.8)
    assert shop(CLICK, CLICK, dars=0.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text", ["", "no JSON", '{"rationale": "x"}', "[1]", '```json\n{"rationale": 1, "action": {}}\n```']
)
def test_format_gate_of_shop_r1(text):
    total, parts = shop_r1().explain(Rollouts(completion=[text], reference=[CLICK]))
    assert total.values[0] == 0.0 and parts["format"].values[0] == 0.0
    if text.startswith("```"):
        assert shop_r1(fenced=True)(Rollouts(completion=[text], reference=[CLICK])).values[0] == 0.5


def test_self_certainty_of_the_worked_example():
    p = np.array([0.7, 0.1, 0.1, 0.1])
    entropy = float(-(p * np.log(p)).sum())
    rollouts = Rollouts(
        tokens=Ragged.from_lists([[1, 2], [3]], np.int32),
        entropy=Ragged.from_lists([[entropy, entropy], [math.log(4)]], np.float32),
    )
    assert round(self_certainty(rollouts, 4, per_vocabulary=False).values[0], 4) == 0.4458
    found = self_certainty(rollouts, 4)
    assert round(found.values[0], 4) == 0.1115 and abs(found.values[1]) < 1e-6


def test_certainty_is_added_where_it_is_asked_for():
    completion = json.dumps({"rationale": "r", "action": {"type": "terminate"}})
    rollouts = Rollouts(completion=[completion] * 2, reference=[{"type": "terminate"}] * 2)
    rollouts = rollouts.with_signal(Signal(np.array([2.0, np.nan]), "rollout", "s"))
    total = shop_r1(certainty="s")(rollouts)
    assert total.values[0] == pytest.approx(0.8 + 0.01) and math.isnan(total.values[1]) and 1 in total.causes
    assert shop_r1()(rollouts).values.tolist() == [0.8, 0.8]


def test_unknown_gold_types_are_missing():
    for reference in (None, {"type": "hover"}, "click", {"action": {"name": "x"}}):
        assert math.isnan(shop_r1()(Rollouts(completion=["{}"], reference=[reference])).values[0])
