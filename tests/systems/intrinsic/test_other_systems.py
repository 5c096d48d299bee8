"""Follow-ups, thoughts on text, reserved tokens, memories, beliefs, flows, self-judgement: worked numbers."""

import json
import math

import numpy as np
import pytest
import torch

from guerdon.context import Context
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.lab import LabEngine
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.flow import FlowField, min_max
from guerdon.intrinsic.flow_learning import train_on_correct
from guerdon.intrinsic.likelihoods import log_ratio, reduce_logprobs
from guerdon.registry import build
from guerdon.systems import find, slugs
from guerdon.systems.intrinsic import flr, laser, rlfr, rlp
from guerdon.systems.intrinsic.ssr_zero import question, read_score


def tiny(seed=0):
    made = LabEngine(dim=32, layers=2, heads=2, context=400, device="cpu", seed=seed)
    with torch.no_grad():
        for parameter in made.parameters().values():
            if parameter.dim() == 2:
                parameter.mul_(4.0)
    return made


@pytest.fixture(scope="module")
def engine():
    return tiny()


@pytest.fixture
def ctx(engine):
    return Context(engines={"policy": engine})


def logprobs(engine, prompt, ids):
    rows = Rollouts(prompt=[prompt], tokens=Ragged.from_lists([ids], dtype=np.int32))
    return engine.logprobs(rows).values.astype(float)


def test_the_family_is_complete_and_documented():
    family = {slug for slug, module in slugs().items() if ".intrinsic." in module}
    assert family == set(
        [
            "flr",
            "memory-r-plus",
            "co-reward",
            "crew",
            "self-aligned-reward",
            "nous",
            "rlfr",
            "rlp",
            "likelihood-rewards",
            "con-rag",
            "ssr-zero",
            "laser",
            "mm-upt",
            "empo",
            "rlpr",
            "dro-r3",
            "knowrl",
        ]
    )
    for slug in family:
        entry = find(slug)
        assert entry.kind == "reward" and entry.family == "intrinsic"
        assert "Reference:" in entry.factory.__doc__ and entry.arxiv in entry.factory.__doc__


def test_flr_by_hand():
    bank = {"d": (["a", "b"], ["c", "d"])}
    table = flr.by_dimension(np.array([[-1.0, -1.4, -2.0, -2.2]]), bank)
    assert flr.aggregate(table, ["d"], "mean")[0] == pytest.approx(0.9)
    swapped = flr.by_dimension(np.array([[-2.0, -2.2, -1.0, -1.4]]), bank)
    assert swapped[0, 0] == pytest.approx(-0.9)
    nested = reduce_logprobs(np.array([-0.5, -3, -1, -2, -2]), np.array([0, 1, 5]), "mean").mean()
    assert nested == pytest.approx(-1.25)
    assert flr.aggregate(np.array([[1.0, 3.0]]), ["x", "y"], "max")[0] == 3.0
    assert flr.aggregate(np.array([[1.0, 3.0]]), ["x", "y"], "x")[0] == 1.0
    pairs = flr.best_and_worst(np.array([0.1, 0.9, 0.5, 1.0, 1.0]), np.array([0, 0, 0, 1, 1]))
    assert pairs.tolist() == [[1, 0]]


def test_flr_on_an_engine(engine, ctx):
    bank = {"d": (["yes"], ["no"])}
    rollouts = Rollouts(prompt=["q", "q"], completion=["a", "bb"])
    got = build("reward", {"use": "flr", "phrases": bank, "opening": " U:"})(rollouts, ctx).values
    for value, answer in zip(got, ("a", "bb"), strict=True):
        parts = [
            logprobs(engine, "q", engine.tokenizer.encode(f"{answer} U:{f}"))[-len(f) :].mean()
            for f in ("yes", "no")
        ]
        assert value == pytest.approx(parts[0] - parts[1], abs=1e-3)


def test_rlp_by_hand():
    r = log_ratio(np.log([0.5, 0.25, 0.125]), np.log(0.25))
    np.testing.assert_allclose(r, [0.6931, 0, -0.6931], atol=1e-4)
    from guerdon.credit import rloo

    rows = Rollouts(prompt=["t"] * 3, group=np.zeros(3, int), tokens=Ragged.from_lists([[1]] * 3, np.int32))
    advantage = rloo()(rows, {"outcome": Signal(r, "rollout", "outcome")}).values
    np.testing.assert_allclose(advantage, [1.0397, 0, -1.0397], atol=1e-4)
    np.testing.assert_allclose(advantage, 3 / 2 * (r - r.mean()), atol=1e-12)
    assert rlp.averaged(1.0, 0.0, 0.999) == 0.999
    assert rlp.places_in_text("abcd", 2) == (["a", "abc"], ["b", "d"])


def test_rlp_on_an_engine(engine, ctx):
    rollouts = Rollouts(prompt=["1+1="] * 2, completion=["think", ""], reference=["2", "2"])
    reward = build("reward", {"use": "rlp"})
    got = reward(rollouts, ctx).values
    behind = logprobs(engine, "1+1=", engine.tokenizer.encode("think2"))[-1]
    bare = logprobs(engine, "1+1=", engine.tokenizer.encode("2"))[0]
    assert got[0] == pytest.approx(behind - bare, abs=1e-3) and got[1] == pytest.approx(0, abs=1e-4)
    teacher, other = rlp.Teacher(0.75), tiny(seed=5)
    teacher.at(engine, 0)
    teacher.at(other, 1)
    name = next(iter(engine.state_dict()))
    expected = 0.75 * engine.state_dict()[name] + 0.25 * other.state_dict()[name]
    torch.testing.assert_close(teacher.engine.state_dict()[name], expected)


def test_laser_by_hand():
    scores = laser.self_scores(np.array([-14, -22, -25]))
    assert scores.tolist() == pytest.approx([0.9, 0.1, -0.2])
    correct = np.array([1.0, 0.0, 0.0])
    assert laser.class_weights(correct).tolist() == [1.5, 0.75, 0.75]
    stats = type("S", (), {"logprobs": torch.tensor([-1.0, -14.0, -22.0, -3.0, -25.0])})()
    lengths, rows = np.array([2, 1, 2]), np.arange(3)
    plain = laser.calibration_loss(lengths, correct, alpha=1.0, balanced=False)(stats, rows)[0]
    assert plain.item() == pytest.approx(0.0200, abs=1e-5)
    balanced = laser.calibration_loss(lengths, correct, alpha=1.0)(stats, rows)[0]
    assert balanced.item() == pytest.approx(0.0175, abs=1e-5)
    a = np.array([1.1547, -0.5773, -0.5773])
    mixed = laser.mixed_advantages(a, scores, np.zeros(3, int))
    np.testing.assert_allclose(mixed, [1.1541, -0.5669, -0.5872], atol=1e-4)
    own = laser.mixed_advantages(a, scores, np.zeros(3, int), tau=1.0)
    np.testing.assert_allclose(own, [1.1488, -0.4730, -0.6757], atol=1e-4)
    flat = laser.mixed_advantages(a, np.full(3, 0.5), np.zeros(3, int))
    np.testing.assert_allclose(flat, a)
    assert laser.verification(np.array([0.9, 0.2, 0.1, 0.8]), np.array([1, 1, 0, 0]))["f1"] == 0.5


def test_laser_on_an_engine(engine, ctx):
    eos = engine.tokenizer.eos
    rollouts = Rollouts(prompt=["q", "q"], completion=["ab", "ab"], truncated=np.array([False, True]))
    got = build("reward", {"use": "laser", "token": 7, "c_ref": -5.0})(rollouts, ctx)
    expected = logprobs(engine, "q", [*engine.tokenizer.encode("ab"), eos, 7])[-1]
    assert got.values[0] == pytest.approx(0.1 * (expected + 5.0), abs=1e-4)
    assert np.isnan(got.values[1]) and got.causes == {1: laser.TRUNCATED}
    with pytest.raises(RecipeError, match="vocabulary"):
        build("reward", {"use": "laser", "token": 10**6})(rollouts, ctx)


def test_laser_calibration_trains(engine):
    clone = engine.clone(frozen=False)
    eos = clone.tokenizer.eos
    tokens = Ragged.from_lists([[65, eos, 7], [66, 67, eos, 7]], dtype=np.int32)
    rows = Rollouts(prompt=["q", "q"], tokens=tokens)
    loss = laser.calibration_loss(tokens.lengths, np.array([1.0, 0.0]), c_ref=-5.0, alpha=1.0)
    losses = [clone.train_step(rows, loss, lr=3e-3, entropy=False)["loss"] for _ in range(15)]
    assert losses[-1] < losses[0]


def embed(texts):
    table = {"q": (1.0, 0.0), "x": (1.0, 0.0), "y": (0.0, 1.0), "z": (0.6, 0.8)}
    return np.array([table[t] for t in texts])


def outcome(rollouts, ctx=None):
    return Signal(np.array([1.0, 0.0, 0.0])[: len(rollouts)], "rollout", "outcome")


def test_memory_r_plus_scores_then_writes():
    rollouts = Rollouts(prompt=["q"] * 3, completion=["x", "y", "z"])
    reward = build("reward", {"use": "memory-r-plus", "embed": embed, "outcome": outcome})
    assert reward(rollouts).values.tolist() == [0, 0, 0]
    again = build("reward", {"use": "memory-r-plus", "embed": embed, "outcome": outcome})
    again.load_state_dict(json.loads(json.dumps(reward.state_dict())))
    second = reward(rollouts).values
    assert second.tolist() == again(rollouts).values.tolist()
    distance = -math.dist((0.6, 0.8), (1, 0))
    assert second[0] == 0.0
    assert second[1] == 0.0
    assert second[2] == pytest.approx((distance + math.sqrt(2)) / math.sqrt(2))
    released = build(
        "reward", {"use": "memory-r-plus", "embed": embed, "outcome": outcome, "variant": "release"}
    )
    released(rollouts)
    assert released.state["explore"].values[-1] == pytest.approx(0.0)
    with pytest.raises(DataError, match="needs an outcome"):
        build("reward", {"use": "memory-r-plus", "embed": embed})(rollouts)


def test_nous():
    prior = {"a": {"x": 0.5, "y": 0.25, "z": 0.25}, "b": dict.fromkeys("1234", 0.25)}
    rows = Rollouts(
        completion=["t", "t"], meta=[{"evidence": [{"b": "2"}, {"a": ["z"]}]}, {"evidence": None}]
    )
    whole = build("reward", {"use": "nous", "prior": prior, "level": "rollout"})(rows)
    assert whole.values[0] == pytest.approx(2.5817, abs=1e-4) and np.isnan(whole.values[1])
    turns = Rollouts(
        completion=["t"],
        meta=[{"evidence": [{"b": "2"}, {"a": ["z"]}]}],
        tokens=Ragged.from_lists([[1, 2, 3]], dtype=np.int32),
        partitions={"turn": Ragged.from_lists([[1, 3]], dtype=np.int64)},
    )
    got = build("reward", {"use": "nous", "prior": prior, "turn_cost": 0.1})(turns)
    assert got.level == "turn" and got.values.tolist() == pytest.approx([1.9, 0.4817], abs=1e-4)


def test_rlfr_by_hand():
    offsets = np.array([0, 4])
    scaled = min_max(np.array([0.2, 0.5, 1.0, 0.8]), offsets)
    r = rlfr.penalties(scaled, offsets)
    np.testing.assert_allclose(r, [0, 0, -0.01, -0.0075])
    r[-1] += 1.0
    np.testing.assert_allclose(np.cumsum(r[::-1])[::-1], [0.9825, 0.9825, 0.9825, 0.9925])


def test_rlfr_on_an_engine(engine, ctx):
    rollouts = engine.rollouts_from_text(["q", "q"], ["abcdef", "ghijkl"])
    torch.manual_seed(0)
    field = FlowField(engine.width, hidden=16, blocks=1)
    first = train_on_correct(field, engine, rollouts, np.array([True, False]), lr=1e-2)
    last = train_on_correct(field, engine, rollouts, np.array([True, False]), steps=40, lr=1e-2)
    assert last < first
    assert np.isnan(train_on_correct(field, engine, rollouts, np.array([False, False])))
    got = build("reward", {"use": "rlfr", "field": field})(rollouts, ctx)
    assert got.level == "token" and got.values.min() == pytest.approx(-0.01) and (got.values <= 0).all()
    assert got.values[0] == got.values[7] == 0.0
    with pytest.raises(DataError, match="trained field"):
        build("reward", {"use": "rlfr"})(rollouts, ctx)


@pytest.mark.parametrize(
    ("text", "score"),
    [("Score: 85/100", 85), ("I'd say 8 out of 10, so 80", 80), ("150", None), ("-5", None), ("none", None)],
)
def test_ssr_zero_reads_numbers(text, score):
    assert read_score(text) == score


def test_ssr_zero():
    class Judge:
        def generate(self, prompts, n, sampling):
            assert all("<<<TRANSLATION" in p for p in prompts)
            said = ["Score: 85/100", "60", "what?"][: len(prompts)]
            return Rollouts(prompt=prompts, completion=said)

    rows = Rollouts(
        prompt=["s"] * 4,
        completion=[f"<answer>{t}</answer>" for t in "abc"] + ["no tag"],
        meta=[{"comet": 0.5}] * 4,
    )
    ctx = Context(engines={"policy": Judge()})
    assert build("reward", {"use": "ssr-zero"})(rows, ctx).values.tolist() == [0.85, 0.6, 0, 0]
    mixed = build("reward", {"use": "ssr-zero", "metric": "comet"})(rows, ctx).values
    assert mixed.tolist() == pytest.approx([0.675, 0.55, 0.25, 0])
    assert "ignore" in question("s", "ignore")
    from guerdon.credit import grpo

    four = Rollouts(prompt=["s"] * 4, group=np.zeros(4, int), tokens=Ragged.from_lists([[1]] * 4, np.int32))
    got = grpo()(four, {"outcome": Signal(np.array([85.0, 60, 70, 85]), "rollout", "outcome")}).values
    np.testing.assert_allclose(got, [0.8165, -1.2247, -0.4082, 0.8165], atol=1e-4)
