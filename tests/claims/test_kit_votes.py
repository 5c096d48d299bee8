"""Byte-level models in experiments: exact chances, what is learned from and what not, the worlds they see."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon.claims import kit_votes as kit
from guerdon.claims.intrinsic import co_reward, con_rag, knowrl, nous, ssr_zero
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import Sampling
from guerdon.intrinsic.beliefs import Belief
from guerdon.tasks.base import Problem


def ones(rollouts, ctx):
    return np.ones(len(rollouts))


def said_a(rollouts, ctx):
    return Signal(
        np.array([float(rollouts.text(i) == "a") for i in range(len(rollouts))]), "rollout", "said a"
    )


@pytest.fixture(scope="module")
def coin():
    """A model that answers a or b."""
    return kit.imitate(
        kit.lab(0, context=16, dim=16, layers=1),
        lambda rng: [("q:", str(rng.choice(["a", "b"]))) for _ in range(32)],
        steps=80,
        seed=0,
        lr=1e-2,
    )


def test_chances_are_those_of_the_texts_with_their_end(coin):
    found = kit.chance_of(coin, ["q:"] * 2, ["a", "b"])
    assert found.sum() == pytest.approx(1.0, abs=0.1) and found.min() > 0.2
    drawn = kit.drawn(coin, [Problem("q:", "a", {"k": 1})], 400, 2, 3)
    share = np.mean([drawn.text(i) == "a" for i in range(400)])
    assert share == pytest.approx(found[0], abs=0.1)
    assert drawn.reference == ["a"] * 400 and drawn.meta[0] == {"k": 1}


def test_only_the_reward_is_learned_from(coin):
    def learn(truth):
        engine = kit.copy_of(coin)
        return kit.learn(
            engine,
            lambda step: [Problem("q:", "b")] * 2,
            said_a,
            truth,
            kit.Loop(steps=12, group=8, tokens=2, lr=1e-2, every=4),
            0,
            lambda model: float(kit.chance_of(model, ["q:"], ["a"])[0]),
            lambda text: text,
        )

    one, other = learn(ones), learn(lambda r, ctx: 1 - said_a(r, ctx).values)
    assert one.curve == other.curve and len(one.curve) == 4
    assert one.curve[-1] > one.curve[0] + 0.2
    assert one.watched["truth last"] == 1.0 and other.watched["truth last"] < other.watched["truth first"]
    entry = one.measured(7.0, more=2.0)
    assert entry["value"] == 7.0 and entry["more"] == 2.0 and entry["collapse warned"] == 0.0


def test_a_price_on_distance_holds_the_model(coin):
    def end(kl):
        learned = kit.learn(
            kit.copy_of(coin),
            lambda step: [Problem("q:", "b")] * 2,
            said_a,
            ones,
            kit.Loop(steps=8, group=8, tokens=2, lr=1e-2, every=8, temperature=0.7, kl=kl),
            0,
            lambda model: float(kit.chance_of(model, ["q:"], ["a"])[0]),
            lambda text: text,
        )
        return abs(learned.curve[-1] - learned.curve[0])

    assert end(100.0) < 0.5 * end(0.0)


def test_two_wordings_share_their_fact_and_not_their_habit():
    questions = co_reward.Questions(0)
    assert len(questions.problems) == 104 and questions.teacher.sum(axis=1) == pytest.approx(np.ones(104))
    for a, b in zip(questions.problems[::2], questions.problems[1::2], strict=True):
        assert a.reference == b.reference and a.meta == b.meta and a.prompt != b.prompt
    wrong = questions.teacher.copy()
    wrong[np.arange(104), [int(p.reference) for p in questions.problems]] = 0
    assert (wrong[::2].argmax(1) != wrong[1::2].argmax(1)).all()
    assert [p.meta["pair"] for p in questions.batch(1, 2)][::2] == [
        p.meta["pair"] for p in questions.batch(1, 2)
    ][1::2]


def test_similarity_within_a_paraphrase():
    rollouts = Rollouts(completion=["A B", "A B", "A C", "D D", "D D", "X X"], group=np.repeat([0, 1], 3))
    values = con_rag.within(rollouts, Context()).values
    assert values[0] == values[1] > values[2] > 0 and values[3] == values[4] == 0.5 and values[5] == 0
    facts = con_rag.Facts(0)
    assert len(facts.problems) == 104
    assert all(
        habit != problem.reference for (habit, _), problem in zip(facts.habits, facts.problems, strict=True)
    )


def test_what_a_user_can_say():
    world, rng = nous.World(0), np.random.default_rng(0)
    wants, _ = world.user(rng)
    belief = Belief(world.prior)
    name = max(nous.NAMES, key=lambda n: len(world.prior[n]))
    known = nous.learned_from(belief, world.answer(name, wants, 1.0, belief, rng))
    assert known.attributes[name] == {wants[name]: pytest.approx(1.0)}
    assert world.answer(name, wants, 1.0, known, rng) == {}
    assert world.answer("?", wants, 1.0, belief, rng) == {}
    world.vague[name] = 1.0
    narrowed = nous.learned_from(belief, world.answer(name, wants, 0.0, belief, rng))
    assert wants[name] in narrowed.attributes[name]
    assert len(narrowed.attributes[name]) == len(world.prior[name]) - 1
    assert nous.asked(world, belief) == "abcdefgh?"
    assert nous.asked(world, known) == "abcdefgh?".replace(name, "-")
    assert nous.asked(world, narrowed) == "abcdefgh?".replace(name, name.upper())


def test_questions_until_most_is_known():
    world = nous.World(0)
    world.vague = dict.fromkeys(nous.NAMES, 0.0)
    assert nous.turns_needed(world, lambda beliefs, turn: ["?"] * len(beliefs), 4) == nous.TURNS
    in_order = nous.turns_needed(world, lambda beliefs, turn: [nous.NAMES[turn % 8]] * len(beliefs), 4)
    assert nous.greedy_turns(world, 4) <= in_order <= 8


def test_what_counts_as_resolved():
    prior = {"a": {"0": 0.5, "1": 0.25, "2": 0.25}}
    meta = [{"prior": prior, "evidence": [e]} for e in ({"a": "1"}, {"a": ["0"]}, {"a": ["0", "2"]}, {})]
    assert nous.counted(Rollouts(completion=["a"] * 4, meta=meta)).values.tolist() == [1, 0, 1, 0]


def test_a_translation_is_worth_its_right_words():
    languages = ssr_zero.Languages(0)
    words = np.array([0, 3, 5])
    right = ssr_zero.spelt(languages.right[words], ssr_zero.TARGET)
    source = ssr_zero.spelt(words, ssr_zero.SOURCE)
    texts = [right, right[:2], right + "A", "x" + right[1:]]
    assert languages.quality([source] * 4, texts).tolist() == [1.0, 0.0, 0.0, pytest.approx(2 / 3)]
    assert (languages.graded != languages.right).sum() == 1


def test_the_grader_is_asked_word_beside_word():
    asked = []

    class Echo:
        def generate(self, prompts, n, limits: Sampling):
            asked.extend(prompts)
            return Rollouts(completion=["66"] * len(prompts), group=np.arange(len(prompts)))

    rollouts = Rollouts(prompt=["T abc>"] * 3, completion=["XYZ", "XYZW!", "X"], group=np.zeros(3, np.int64))
    reward = ssr_zero.ssr_zero(extract="text", engine=ssr_zero.Grader(Echo()))
    assert reward(rollouts).values == pytest.approx([0.66] * 3)
    assert asked == ["J aXbYcZ:", "J aXbYcZ-W:", "J aXb-c-:"]


def test_an_agent_writes_the_tasks_it_judges():
    agent = knowrl.Agent(0)
    assert len(agent.tasks) == 260 and len(agent.seeds) == 100 and agent.can[agent.seeds].sum() == 50
    assert agent.problem(agent.tasks[int(agent.seeds[0])]).reference == "infeasible"

    class Writer:
        def generate(self, prompts, n, sampling):
            texts = [text for _ in prompts for text in ("c7", "c7", "7c", "d0", "zz", "")]
            return Rollouts(completion=texts, group=np.repeat(np.arange(len(prompts)), 6))

    assert [p.prompt for p in agent.written(Writer(), 0)] == ["c7?", "d0?", "c7?", "d0?"]
