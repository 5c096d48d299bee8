"""Ratings, and what all rewards by a judge share."""

from __future__ import annotations

import math
import types

import numpy as np
import pytest
from judge_rules import Ruled, better, contains, group

from guerdon import Context, Rollouts, registry
from guerdon.errors import RecipeError
from guerdon.judge import Judge, NamedEngine, checklist, pairwise, rate
from guerdon.judge.exchange import Reply
from guerdon.scoring import Row, SampleReward


def test_unit_and_raw_scales():
    judge = Judge(Ruled(lambda found: f"[[{len(found['answer'])}]]"))
    batch = group("a", "aaaa", "a" * 10)
    assert judge.rate(scale="raw")(batch).values.tolist() == [1, 4, 10]
    total, parts = judge.rate().explain(batch)
    assert total.values == pytest.approx([0, 1 / 3, 1]) and total.name == "judge.rate"
    assert parts["rating"].values.tolist() == [1, 4, 10] and parts["read"].values.tolist() == [1, 1, 1]


def test_blank_answers_are_not_asked_about():
    client = Ruled(lambda found: "[[10]]")
    judge = Judge(client)
    batch = group("", " \n\t", "good")
    assert judge.rate()(batch).values.tolist() == [0, 0, 1] and len(client.asked) == 1
    signal = judge.rate(blank="nan")(batch)
    assert signal.missing == 2 and signal.cause_counts() == {"the answer is empty": 2}
    assert judge.rate(blank="ask")(batch).values.tolist() == [1, 1, 1]


def test_missing_material_is_a_cause_not_a_question():
    client = Ruled(lambda found: "[[5]]")
    judge = Judge(client)
    batch = Rollouts(prompt=["q", "q", None], completion=["a", "b", "c"], reference=[None, "r", "r"])
    signal = judge.rate("rating_reference")(batch)
    assert np.isnan(signal.values).tolist() == [True, False, True] and len(client.asked) == 1
    assert signal.causes[0] == "no reference: the judge's template 'rating_reference' shows it"
    assert signal.causes[2].startswith("no prompt")


def test_what_a_template_is_shown():
    client = Ruled(lambda found: "[[5]]")
    template = {
        "messages": [{"role": "user", "content": "{{prompt}}{{answer}}{{reference}}{{meta.rubric}}"}],
        "verdict": "rating",
    }
    template["messages"][0]["content"] = "{{prompt}}\n{{answer}}\n{{reference}}\n{{meta.rubric}}"
    messages = [
        {"role": "system", "content": "be nice"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ]
    batch = Rollouts(
        prompt=[messages],
        completion=[[{"role": "assistant", "content": "one"}, {"role": "assistant", "content": "two"}]],
        reference=[{"x": 1}],
        meta=[{"rubric": ["r1", "r2"]}],
    )
    assert Judge(client).rate(template)(batch).missing == 0
    assert client.asked == [
        {
            "prompt": "[system]\nbe nice\n\n[user]\nhi",
            "answer": "one\ntwo",
            "reference": '{"x": 1}',
            "meta.rubric": '["r1", "r2"]',
        }
    ]


def test_shortened_material_is_counted():
    judge = Judge(Ruled(lambda found: f"[[{1 + ('left out' in found['answer'])}]]"))
    signal = judge.rate(scale="raw")(group("short", "x" * 30_000))
    assert signal.values.tolist() == [1, 2] and judge.usage.shortened == 1


def test_probability_verdicts():
    def rule(found, query):
        assert query.labels == ("Yes", "No")
        if found["answer"] == "none":
            return Reply("Yes")
        if found["answer"] == "empty":
            return Reply("I", label_logprobs={})
        return Reply("Yes", label_logprobs={"Yes": math.log(0.6), "No": math.log(0.2)})

    judge = Judge(Ruled(rule))
    batch = Rollouts(prompt=["q"] * 3, completion=["x", "none", "empty"], reference=["r"] * 3)
    signal = judge.rate("correct", read="logprobs")(batch)
    assert signal.values[0] == pytest.approx(0.75)
    assert signal.causes == {
        1: "judge: the endpoint offers no log-probs",
        2: "judge: Yes No together are less likely than 0.5",
    }
    digits = {str(k): math.log(p) for k, p in zip((3, 4, 5), (0.2, 0.5, 0.3), strict=True)}
    expected = Judge(Ruled(lambda found: Reply("4", label_logprobs=digits))).rate(
        "digit", read="logprobs", scale="raw"
    )
    assert expected(group("x")).values[0] == pytest.approx(4.1)
    with pytest.raises(RecipeError, match="labels"):
        judge.rate("rating", read="logprobs")


def test_a_judge_serves_rubrics():
    from guerdon.verify.rubrics import ask, read_level

    judge = Judge(Ruled(lambda found, query: None if "bad" in query.text() else "Yes."))
    levels = [read_level(answer) for answer in ask(judge, ["good", "bad", "good"])]
    assert levels[0] == levels[2] == 1.0 and levels[1].cause == "judge: silence"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda judge: judge.rate(votes=0), "votes"),
        (lambda judge: judge.rate(read="logs"), "read"),
        (lambda judge: judge.rate(scale="percent"), "scale"),
        (lambda judge: judge.rate(min_votes=2), "min_votes"),
        (lambda judge: judge.rate(blank="zero"), "blank"),
        (lambda judge: judge.rate(on_error="ignore"), "on_error"),
        (lambda judge: judge.pairwise("rating"), "win shares"),
        (lambda judge: judge.pairwise(rule="best"), "rule"),
        (lambda judge: judge.pairwise(opponents=0), "opponents"),
        (lambda judge: judge.pairwise(min_share=2), "min_share"),
        (lambda judge: judge.checklist([]), "empty"),
        (lambda judge: judge.checklist(["a"], template="rating"), "from 1 to 10"),
        (lambda judge: judge.checklist(["a"], combine="sum"), "combine"),
        (lambda judge: judge.checklist(["a"], unclear="zero"), "unclear"),
        (lambda judge: judge.checklist(["a"], together=True, read="logprobs"), "together"),
        (lambda judge: judge.ask("one prompt"), "list"),
        (lambda judge: judge.ask([7]), "text or messages"),
        (lambda judge: Judge(judge.client, price_in=-1), "price_in"),
        (lambda judge: Judge(judge.client, sampling={"temprature": 1}), "sampling"),
        (lambda judge: rate(judge=judge, url="http://x/v1"), "not both"),
        (lambda judge: rate(model="m"), "url and model, or engine"),
        (lambda judge: rate(url="http://x/v1"), "url and model"),
    ],
)
def test_settings_out_of_range(call, message):
    with pytest.raises(RecipeError, match=message):
        call(Judge(Ruled(better)))


def test_recipes_name_the_wrong_field():
    pytest.importorskip("aiohttp", reason="needs guerdon[judge]")
    try:
        for name, factory in (
            ("judge.rate_test", rate),
            ("judge.pairwise_test", pairwise),
            ("judge.checklist_test", checklist),
        ):
            registry.register("reward", name)(factory)
        spec = {
            "use": "judge.rate_test",
            "url": "http://127.0.0.1:9/v1",
            "model": "m",
            "votes": 3,
            "temperature": 0.7,
        }
        reward = registry.build("reward", spec, "rewards.quality")
        assert reward.votes == 3 and reward.judge.sampling.temperature == 0.7
        with pytest.raises(RecipeError, match=r"rewards\.quality\.modle.*did you mean 'model'"):
            registry.build("reward", {**spec, "modle": "m"}, "rewards.quality")
        spec = {"use": "judge.checklist_test", "engine": "policy", "criteria": ["short"]}
        assert isinstance(registry.build("reward", spec).judge.client, NamedEngine)
    finally:
        for name in ("judge.rate_test", "judge.pairwise_test", "judge.checklist_test"):
            registry._ADDED["reward"].pop(name, None)


def test_versions_change_with_what_changes_verdicts():
    def version(judge=None, **options):
        return (judge or Judge(Ruled(better))).rate(**options).version

    base = version()
    assert base == version()
    others = [
        version(template="assessment"),
        version(scale="raw"),
        version(blank="ask"),
        version(Judge(Ruled(better), version="2")),
        version(Judge(Ruled(better), sampling={"temperature": 0.5})),
    ]
    assert len({base, *others}) == 1 + len(others)


def test_an_engine_that_is_not_there():
    with pytest.raises(RecipeError, match=r"no engine 'policy' here \(engines: reference\)"):
        Judge(NamedEngine("policy")).rate()(group("a"), Context(engines={"reference": object()}))


def test_public_names_are_not_hidden_by_modules():
    pytest.importorskip("aiohttp", reason="needs guerdon[judge]")
    import guerdon.judge as room

    for name in room.__all__:
        getattr(room, name)
    for name in room.__all__:
        assert not isinstance(getattr(room, name), types.ModuleType), name


def test_sample_shaped_rewards_score_rows_and_know_equal_ones():
    judge = Judge(Ruled(lambda found: f"[[{len(found['answer'])}]]"))
    reward = judge.rate()
    batch = group("a", "aaaa", "")
    assert isinstance(reward, SampleReward) and not isinstance(judge.pairwise(), SampleReward)
    np.testing.assert_array_equal(reward.signal(reward.verdicts(batch)).values, reward(batch).values)
    row = Row("q", "a", "unused", {"also": "unused"})
    assert reward.key(row) == reward.key(Row("q", "a")) != reward.key(Row("q", "b"))
    checks = Judge(Ruled(contains)).checklist()
    rows = [
        Row("q", "x", None, {"criteria": ["has x", "has y"]}),
        Row("q", "x", None, {"criteria": ["has x"]}),
    ]
    assert [verdict.value for verdict in checks.score_batch(rows)] == [0.5, 1.0]
    assert checks.key(rows[0]) != checks.key(rows[1])
