"""Ratings, pairs in both orders, checklists: hand-worked cases over a judge that follows a rule."""

from __future__ import annotations

import asyncio
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon import Context, Rollouts, registry
from guerdon.errors import DataError, RecipeError
from guerdon.judge import Judge, NamedEngine, checklist, pairwise, rate, resolve
from guerdon.judge.criteria import checked_criteria, combined
from guerdon.judge.exchange import Reply, failure
from guerdon.judge.orders import consistent, schedule, win_rates

FENCE = re.compile(r"^<<<([A-Z_.0-9]+) ([0-9a-f]{12})\n(.*?)\n\1 \2>>>$", re.MULTILINE | re.DOTALL)


class Ruled:
    """A judge that applies a function to the fenced material: {place: text} -> reply text, Reply or None."""

    body = {}
    batch = 7
    concurrency = 2
    lease = 10.0
    identity = "ruled"

    def __init__(self, rule):
        self.rule, self.asked = rule, []

    async def complete(self, queries, sampling):
        await asyncio.sleep(0)
        replies = []
        for query in queries:
            found = {name.lower(): text for name, _, text in FENCE.findall(query.text())}
            self.asked.append(found)
            said = self.rule(found) if self.rule.__code__.co_argcount == 1 else self.rule(found, query)
            replies.append(said if isinstance(said, Reply) else failure("silence") if said is None else Reply(said))
        return replies

    async def close(self):
        pass


def better(found):
    """Prefers the longer answer."""
    a, b = len(found["answer_a"]), len(found["answer_b"])
    return "[[A=B]]" if a == b else "[[A>B]]" if a > b else "[[B>>A]]"


def group(*texts, group=None, **columns):
    return Rollouts(prompt=["q"] * len(texts), completion=list(texts), group=group or [0] * len(texts), **columns)


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
    messages = [{"role": "system", "content": "be nice"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]
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
    expected = Judge(Ruled(lambda found: Reply("4", label_logprobs=digits))).rate("digit", read="logprobs", scale="raw")
    assert expected(group("x")).values[0] == pytest.approx(4.1)
    with pytest.raises(RecipeError, match="labels"):
        judge.rate("rating", read="logprobs")


# -- pairs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "backward", "mean", "agree", "sign"),
    [
        (1, 1, 1, 1, 1),
        (1, 0.5, 0.75, 0.5, 1),
        (1, 0, 0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5, 0.5, 0.5),
        (0, 0.5, 0.25, 0.5, 0),
        (0.75, 1, 0.875, 1, 1),
    ],
)
def test_resolve(forward, backward, mean, agree, sign):
    for rule, expected in (("mean", mean), ("agree", agree), ("sign", sign)):
        assert resolve(forward, backward, rule) == resolve(backward, forward, rule) == expected
        assert resolve(1 - forward, 1 - backward, rule) == 1 - expected
        assert math.isnan(resolve(math.nan, 1, rule)) and math.isnan(resolve(1, math.nan, rule))


def test_sign_rule_is_judgebench_two_game_counter():
    # label A>B; second verdict already flipped: (A>B, A>B) right; (A>B, A=B) right; (A>B, B>A) not; ties not
    assert [resolve(f, b, "sign") > 0.5 for f, b in [(1, 1), (1, 0.5), (1, 0), (0.5, 0.5)]] == [True, True, False, False]
    assert consistent(1, 1) == consistent(0.5, 0.5) == 1 and consistent(1, 0.5) == 0


def test_win_rates_of_a_group():
    client = Ruled(better)
    judge = Judge(client)
    total, parts = judge.pairwise().explain(group("a", "aaa", "aa", "aaa"))
    # "aaa" twice: one player, tying with itself
    assert total.values == pytest.approx([0, (1 + 1 + 0.5) / 3, 1 / 3, (1 + 1 + 0.5) / 3])
    assert len(client.asked) == 6 and total.level == "rollout"
    assert parts["consistency"].values.tolist() == [1, 1, 1, 1]
    assert parts["first_place"].values.tolist() == [0.5] * 4 and parts["judged"].values.tolist() == [1] * 4


def test_groups_do_not_meet_and_singles_are_missing():
    client = Ruled(better)
    total = Judge(client).pairwise()(group("a", "aa", "aaa", "aaaa", "x", group=[5, 9, 5, 9, 1]))
    assert total.values[:4].tolist() == [0, 0, 1, 1] and len(client.asked) == 4
    assert total.causes == {4: "a group of one: nothing to compare with"}


def test_pure_position_bias_is_a_tie_and_is_reported():
    client = Ruled(lambda found: "[[A>>B]]")
    for rule in ("mean", "agree", "sign"):
        total, parts = Judge(client).pairwise(rule=rule).explain(group("a", "bb", "ccc"))
        assert total.values.tolist() == [0.5] * 3
        assert parts["consistency"].values.tolist() == [0] * 3 and parts["first_place"].values.tolist() == [1] * 3


def test_blank_and_equal_answers_need_no_judge():
    client = Ruled(better)
    total, parts = Judge(client).pairwise().explain(group("", "aa", "  ", "aa"))
    assert total.values == pytest.approx([1 / 6, 5 / 6, 1 / 6, 5 / 6]) and client.asked == []
    assert parts["consistency"].values.tolist() == [1] * 4
    everyone = Judge(client).pairwise()(group("same", "same"))
    assert everyone.values.tolist() == [0.5, 0.5] and client.asked == []


def test_unread_orders_leave_the_pair_missing():
    def rule(found):
        return None if "bad" in found["answer_a"] else better(found)

    total, parts = Judge(Ruled(rule)).pairwise().explain(group("a", "aa", "bad", "aaaaa"))
    # every pair with "bad" lacks one order
    assert total.values[[0, 1, 3]].tolist() == [0, 0.5, 1]
    assert total.causes == {2: "judge: silence"} and parts["judged"].values == pytest.approx([2 / 3, 2 / 3, 0, 2 / 3])
    strict = Judge(Ruled(rule)).pairwise(min_share=0.9)(group("a", "aa", "bad", "aaaaa"))
    assert strict.missing == 4 and set(strict.causes.values()) == {"judge: silence"}
    filled = Judge(Ruled(rule)).pairwise(on_error=0.5)(group("a", "aa", "bad", "aaaaa"))
    assert filled.values[2] == 0.5
    with pytest.raises(DataError, match="row 2"):
        Judge(Ruled(rule)).pairwise(on_error="raise")(group("a", "aa", "bad", "aaaaa"))


def test_fewer_opponents():
    assert schedule(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert schedule(5, 2) == [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)]
    assert schedule(2, 1) == [(0, 1)] and schedule(1) == [] and schedule(0) == []
    client = Ruled(better)
    total, parts = Judge(client).pairwise(opponents=2).explain(group(*["a" * k for k in range(1, 9)]))
    assert len(client.asked) == 16 and total.missing == 0
    assert total.values[0] == 0 and total.values[7] == 1 and parts["judged"].values.tolist() == [1] * 8


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab", min_size=0, max_size=4), min_size=1, max_size=6), st.randoms())
def test_win_rates_follow_their_rollouts(texts, random):
    order = list(range(len(texts)))
    random.shuffle(order)
    reward = Judge(Ruled(better)).pairwise()
    first, second = reward(group(*texts)).values, reward(group(*[texts[i] for i in order])).values
    np.testing.assert_allclose(second, first[order])
    if len(texts) > 1:
        assert np.mean(first) == pytest.approx(0.5)


def test_win_rate_kernel():
    shares = np.array([[np.inf, 1, np.nan], [0, np.inf, np.inf], [np.nan, np.inf, np.inf]])
    rates, known = win_rates(shares, [0, 1, 2])
    np.testing.assert_allclose(rates, [1, 0, np.nan])
    np.testing.assert_allclose(known, [0.5, 1, 0])


# -- checklists --------------------------------------------------------------------------------------


def contains(found):
    return "Yes" if found["criterion"].split()[-1] in found["answer"] else "No"


def test_criteria_are_parts_of_their_own():
    judge = Judge(Ruled(contains))
    criteria = [{"text": "says x", "name": "x", "points": 5}, {"text": "says y", "name": "y", "points": 3}]
    criteria.append({"text": "says z", "name": "z", "points": -4})
    batch = group("x z", "z", "x y")
    total, parts = judge.checklist(criteria, combine="positive").explain(batch)
    assert total.values == pytest.approx([0.125, -0.5, 1.0])
    assert {name: part.values.tolist() for name, part in parts.items()} == {
        "x": [1, 0, 1],
        "y": [0, 0, 1],
        "z": [1, 1, 0],
    }
    assert judge.checklist(criteria, combine="raw")(batch).values.tolist() == [1, -4, 8]
    assert judge.checklist(criteria)(batch).values == pytest.approx([2 / 3, 1 / 3, 2 / 3])


def test_combinations_of_the_papers():
    assert combined([1] * 4, [1, 0, 1, 1]) == 0.75
    assert combined([-6, -2], [1, 0], "positive") == 0 and combined([-6, -2], [1, 0], "signed_fallback") == -0.75
    assert combined([1] * 4, [1, 0.5, 0, 1]) == 0.625 and math.isnan(combined([], []))


def test_criteria_by_row():
    client = Ruled(contains)
    batch = group("x", "y", "z", "w", meta=[{"criteria": ["has x", "has y"]}, {"criteria": ["has y"]}, {}, {"criteria": [7]}])
    total, parts = Judge(client).checklist().explain(batch)
    assert total.values[:2].tolist() == [0.5, 1.0] and len(client.asked) == 3
    assert total.causes[2] == "no criteria: meta['criteria'] must be a list of them" and "criterion 1" in total.causes[3]
    assert parts["2"].causes[1] == "no such criterion" and parts["1"].values[:2].tolist() == [1, 1]


def test_all_criteria_in_one_question():
    def rule(found):
        lines = [line.split(". ", 1)[1] for line in found["criteria"].splitlines()]
        marks = [int(line.split()[-1] in found["answer"]) for line in lines]
        return f"{marks[:-1] if 'short' in found['answer'] else marks}"

    client = Ruled(rule)
    judge = Judge(client)
    reward = judge.checklist(["has x", "has\ny", "has z"], together=True)
    total, parts = reward.explain(group("x z", "short x", "y"))
    assert total.values[[0, 2]] == pytest.approx([2 / 3, 1 / 3]) and len(client.asked) == 3
    assert total.causes == {1: "judge: no list of as many verdicts as criteria in the reply"}
    assert parts["2"].values[2] == 1 and judge.usage.unread == 1


def test_partial_levels():
    words = {"a": "full", "b": "partial", "c": "none"}
    client = Ruled(lambda found: words[found["criterion"]])
    assert Judge(client).checklist(["a", "b", "c"], partial=True)(group("x")).values[0] == 0.5
    both = Judge(Ruled(lambda found: "[1, 0.5, 0, 1]"))
    assert both.checklist(list("abcd"), partial=True, together=True)(group("x")).values[0] == 0.625


def test_unclear_criteria():
    judge = Judge(Ruled(lambda found: {"a": "Yes", "b": "maybe", "c": "No"}[found["criterion"]]))
    batch = group("x")
    strict = judge.checklist(["a", "b", "c"])(batch)
    assert strict.causes == {0: "judge: no verdict in the reply"}
    assert judge.checklist(["a", "b", "c"], unclear="skip")(batch).values[0] == 0.5
    assert judge.checklist(["a", "b", "c"], unclear="unmet")(batch).values[0] == pytest.approx(1 / 3)
    assert judge.checklist(["b"], unclear="skip")(batch).missing == 1


@pytest.mark.parametrize("bad", ["text", [""], [7], [{"name": "x"}], [{"text": "x", "points": "many"}], [{"text": "a", "name": "n"}, {"text": "b", "name": "n"}]])
def test_bad_criteria(bad):
    with pytest.raises(RecipeError, match="criteri"):
        checked_criteria(bad)


# -- recipes -------------------------------------------------------------------------------------------


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
        for name, factory in (("judge.rate_test", rate), ("judge.pairwise_test", pairwise), ("judge.checklist_test", checklist)):
            registry.register("reward", name)(factory)
        spec = {"use": "judge.rate_test", "url": "http://127.0.0.1:9/v1", "model": "m", "votes": 3, "temperature": 0.7}
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
