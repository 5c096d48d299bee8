"""Calibration, reward distances, noise and behaviours: worked numbers and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import guerdon
from guerdon.audit import behaviours as b
from guerdon.audit import calibration as c
from guerdon.audit import noise
from guerdon.audit import reward_distance as rd
from guerdon.context import Context
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError

P, Y = (0.95, 0.85, 0.85, 0.35), (1, 1, 0, 0)


def test_calibration_numbers():
    assert c.calibration_error(c.equal_width(P, Y)) == pytest.approx(0.275)
    assert c.calibration_error(c.equal_mass(P, Y, 2)) == pytest.approx(0.25)
    assert c.brier(P, Y) == pytest.approx(0.2175) and c.auroc(P, Y) == pytest.approx(0.875)
    assert c.abstention_f(50, 30, 20) == pytest.approx(0.5556, abs=1e-4)
    assert c.abstention_f(0, 3, 2) == 0.0 and math.isnan(c.abstention_f(0, 0, 0))
    assert math.isnan(c.auroc([0.5], [1])) and math.isnan(c.brier([], []))
    assert len(c.equal_width([1.0, 0.9], [1, 1]).count) == 1  # 1.0 lies in the last bin
    with pytest.raises(DataError, match=r"1\.5 is outside"):
        c.brier([1.5], [1])


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=2, max_size=40))
def test_auroc_against_counting_and_monotone_maps(pairs):
    p, y = map(np.array, zip(*pairs, strict=True))
    p = np.round(p, 2)
    wins = [
        (a > d) + (a == d) / 2
        for a, u in zip(p, y, strict=True)
        if u
        for d, v in zip(p, y, strict=True)
        if not v
    ]
    if wins:
        assert c.auroc(p, y) == pytest.approx(np.mean(wins))
        assert c.auroc(p**3, y) == pytest.approx(c.auroc(p, y))


def test_temperature_moves_calibration_but_not_ranking():
    rng = np.random.default_rng(0)
    logit = rng.normal(size=4000)
    y = rng.random(4000) < 1 / (1 + np.exp(-logit))
    sharp = [1 / (1 + np.exp(-k * logit)) for k in (1.0, 4.0)]
    eces = [c.calibration_error(c.equal_width(p, y)) for p in sharp]
    assert eces[0] < 0.03 < 0.1 < eces[1] and c.auroc(sharp[0], y) == pytest.approx(c.auroc(sharp[1], y))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is 4. Confidence: 85%", 0.85),
        ("confidence is 0.3", 0.3),
        ("My confidence: almost certain (0.9-1.0)", 0.95),
        ("Confidence: very good chance", 0.75),
        ("Confidence: 40%. On reflection, confidence: 60 percent", 0.6),
        ("Confidence: 900", math.nan),
        ("I am done", math.nan),
    ],
)
def test_stated_confidence(text, value):
    assert c.stated_confidence(text) == pytest.approx(value, nan_ok=True)


def test_a_whole_calibration_report():
    texts = ["confidence: 90%", "confidence: 90%", "I don't know", "nothing said"]
    report = c.calibration(texts, [1, 0, 0, 1], [10, 20, 5, 7])
    assert (report["stated"], report["unstated"], report["abstained"]) == (2, 1, 1)
    assert report["ece"] == pytest.approx(0.4) and report["accuracy"] == 0.5


def two_states():
    transition = np.zeros((2, 2, 2))
    transition[:, 0, 0] = transition[:, 1, 1] = 1
    return rd.MDP(transition, np.array([0.5, 0.5]), 0.9)


def test_reward_distances():
    mdp, phi = two_states(), np.array([3.0, -2.0])
    R = np.zeros((2, 2, 2))
    R[:, 1] = 1
    assert rd.advantage_form(mdp, R) == pytest.approx(np.array([[-0.5, 0.5], [-0.5, 0.5]]))
    shaped = 2.5 * R + 0.9 * phi[None, None, :] - phi[:, None, None]
    in_state, single = np.array([[0.0, 0], [1, 1]]), np.array([[0.0, 1], [0, 0]])
    assert rd.advantage_form(mdp, in_state) == pytest.approx(np.array([[-0.45, 0.45], [-0.45, 0.45]]))
    assert rd.advantage_form(mdp, single) == pytest.approx(np.array([[-0.275, 0.275], [0.225, -0.225]]))
    for form in ("value", "least"):
        assert rd.distance(mdp, R, shaped, form) == pytest.approx(0, abs=1e-12)
        assert rd.distance(mdp, R, -R, form) == pytest.approx(2)
        assert rd.distance(mdp, R, in_state, form) == pytest.approx(0, abs=1e-12)
    assert rd.distance(mdp, R, single) == pytest.approx(1.34201, abs=1e-5)
    assert rd.distance(mdp, R, 0 * R) == pytest.approx(1)
    assert rd.regret(mdp, R, shaped) == pytest.approx(0, abs=1e-9) and rd.regret(mdp, R, -R) == pytest.approx(
        1
    )


@given(st.integers(0, 10**6))
def test_invariances_of_the_distance(seed):
    mdp, rng = rd.random_mdp(4, 3, 0.8, seed), np.random.default_rng(seed)
    R, other, phi = rng.normal(size=(4, 3, 4)), rng.normal(size=(4, 3, 4)), rng.normal(size=4)
    shaped = 3 * R + 0.8 * phi[None, None, :] - phi[:, None, None]
    moved = rng.normal(size=(4, 3, 4))
    moved -= (moved * mdp.transition).sum(-1, keepdims=True)
    for form in ("value", "least"):
        d = rd.distance(mdp, R, other, form)
        assert 0 <= d <= 2 + 1e-9 and d == pytest.approx(rd.distance(mdp, other, R, form))
        assert rd.distance(mdp, shaped + moved, other, form) == pytest.approx(d, abs=1e-8)


def test_starc_predicts_regret_better_than_epic_and_raw_distance():
    names, regrets = ("value", "least", "epic", "none"), []
    found: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(80):
        mdp, rng = rd.random_mdp(8, 4, 0.9, seed), np.random.default_rng(1000 + seed)
        R, other, phi = rng.normal(size=(8, 4, 8)), rng.normal(size=(8, 4, 8)), rng.normal(size=8)
        proxy = R + rng.uniform(0, 3) * other + 0.9 * phi[None, None, :] - phi[:, None, None]
        regrets.append(rd.regret(mdp, R, proxy))
        for name in names:
            found[name].append(rd.distance(mdp, R, proxy, name))
    value, least, epic, raw = (c.spearman(found[name], regrets) for name in names)
    assert min(value, least) > epic > raw


def test_what_an_mdp_refuses():
    with pytest.raises(DataError, match="summing to 1"):
        rd.MDP(np.ones((2, 2, 2)), np.array([0.5, 0.5]), 0.9)
    with pytest.raises(DataError, match="gamma"):
        rd.MDP(two_states().transition, np.array([0.5, 0.5]), 1.0)
    with pytest.raises(RecipeError, match="form must be one of"):
        rd.distance(two_states(), np.zeros((2, 2)), np.zeros((2, 2)), "star")
    with pytest.raises(DataError, match="a reward must be"):
        rd.distance(two_states(), np.zeros((3, 2)), np.zeros((2, 2)))


def test_unreachable_states_do_not_count():
    transition = np.zeros((3, 1, 3))
    transition[:2, 0, 1] = transition[2, 0, 2] = 1
    mdp = rd.MDP(transition, np.array([1.0, 0, 0]), 0.5)
    a, b_ = np.array([[1.0], [0], [5]]), np.array([[1.0], [0], [-5]])
    assert rd.distance(mdp, a, b_, "least") == pytest.approx(0, abs=1e-12)


def rollouts(n=8, groups=1):
    return guerdon.Rollouts(
        prompt=[f"q{i * groups // n}" for i in range(n)],
        completion=["x"] * n,
        group=[i * groups // n for i in range(n)],
    )


def test_group_flips_invert_advantages_and_halve_the_gap():
    truth = np.array([1.0, 0, 0, 1, 0, 0, 0, 0])
    flipped = noise.Flipped(lambda r, ctx=None: Signal(truth, "rollout", "t"), 1.0)(rollouts()).values
    z = [(v - v.mean()) / v.std() for v in (truth, flipped)]
    assert z[0][:2] == pytest.approx([1.7320, -0.5774], abs=1e-4) and z[1] == pytest.approx(-z[0])
    n = 6000
    right = np.arange(n) % 2 == 0
    for each in ("group", "sample"):
        noisy = noise.Flipped(lambda r, ctx=None: Signal(right.astype(float), "rollout", "t"), 0.4, each)
        values = noisy(rollouts(n, n // 2)).values
        assert values[right].mean() - values[~right].mean() == pytest.approx(0.2, abs=0.06)
        again = noisy(rollouts(n, n // 2), Context(step=0)).values
        assert (values == again).all() and (
            noisy(rollouts(n, n // 2), Context(step=1)).values != values
        ).any()
    whole = noise.Flipped(lambda r, ctx=None: Signal(right.astype(float), "rollout", "t"), 0.4)(
        rollouts(n, n // 2)
    )
    pairs = (whole.values != right).reshape(-1, 2)
    assert (pairs[:, 0] == pairs[:, 1]).all()  # whole groups


def test_flips_leave_missing_and_unanswered_alone():
    values = np.array([1.0, math.nan, 0.5, 0.0])
    flip = noise.Flipped(lambda r, ctx=None: Signal(values, "rollout", "t"), 1.0, answered=lambda text: False)
    assert (flip(rollouts(4)).values == 0).all()
    flip = noise.Flipped(lambda r, ctx=None: Signal(values, "rollout", "t"), 1.0)
    assert flip(rollouts(4)).values == pytest.approx([0, math.nan, 0.5, 1], nan_ok=True)
    with pytest.raises(RecipeError, match=r"share in \[0, 1\]"):
        noise.Flipped(lambda r: None, 1.5)
    with pytest.raises(RecipeError, match="each must be one of"):
        noise.Flipped(lambda r: None, 0.5, "batch")


def test_random_and_majority_rewards():
    values = noise.RandomReward(0.5)(rollouts(4000, 500)).values
    assert values.mean() == pytest.approx(0.5, abs=0.03)
    batch = guerdon.Rollouts(completion=["1", "1", "2", "", "2"], group=[0, 0, 0, 0, 1], reference=["2"] * 5)
    majority = noise.MajorityReward(lambda text: text or None)
    assert majority(batch).values.tolist() == [1, 1, 0, 0, 1]
    wrong = noise.MajorityReward(lambda text: text or None, wrong_only=True)
    assert wrong(batch).values.tolist() == [1, 1, 0, 0, 0]


def test_damage_of_random_rewards():
    assert noise.random_damage(2, 8) == (1.5, 0.375) == noise.random_damage(6, 8)
    assert noise.random_damage(12, 16) == (3.0, 0.75)
    assert noise.damage([1, 1, 0, 0], [0, 1, 1, 0]) == pytest.approx(1.0)
    draws = np.random.default_rng(0).integers(0, 2, (20000, 8))
    found = [noise.damage([1, 1, 0, 0, 0, 0, 0, 0], row) for row in draws]
    assert np.mean(found) == pytest.approx(1.5, abs=0.02) and np.var(found) == pytest.approx(0.375, abs=0.02)


def test_entropy_step_and_clipping():
    policy = np.array([0.7, 0.2, 0.1])
    assert noise.entropy(policy) == pytest.approx(0.801819, abs=1e-6)
    first, exact = noise.entropy_step(policy, np.array([1.0, -1, -1]), 0.01)
    assert first == pytest.approx(-0.006232, abs=1e-6) and exact == pytest.approx(-0.006249, abs=1e-6)
    report = noise.clip_report(np.array([1.5, 0.5, 1.0, 1.5]), np.array([1.0, -1.0, 1.0, -1.0]))
    assert report == {"upper": 0.25, "lower": 0.25, "removed": pytest.approx(0.6)}


def test_reasoning_patterns():
    text = " ".join(b.PATTERNS[i] for i in range(14))
    hits = sum(phrase in text for phrase in b.PATTERNS)
    assert b.pattern_score(text) == pytest.approx(min(1, hits / 20))
    assert b.pattern_score("", cap=20) == 0.0 and len(b.PATTERNS) == 40 == len(set(b.PATTERNS))
    loop = "so we add one more time and look " * 40
    assert b.repetition(loop, 20) > 0.01 and b.repetition("a b c", 20) == 0.0
    assert b.repetition("a b a b a", 2) == pytest.approx(2 / 4)
    assert b.calibrated(0.42, 0.6) == pytest.approx(0.48) and b.calibrated(0.55, 0.6) == 0.55
    signal = guerdon.registry.build("reward", {"use": "audit.reasoning_patterns"})(
        guerdon.Rollouts(completion=[text])
    )
    assert signal.values[0] == pytest.approx(b.pattern_score(text))


def test_profiles():
    assert b.per_thousand(3, "word " * 120) == pytest.approx(25.0)
    assert b.jaccard("a b c d", "b c d e f") == pytest.approx(0.5) and b.jaccard("", "") == 0.0
    assert b.family_counts("An enthusiasm; thus it is")["causal"] == 1
    assert b.family_counts("Wait, let me check. Hmm, actually no.")["reflection"] == 4
    rng = np.random.default_rng(0)

    def trace(rate):
        return " ".join("wait" if rng.random() < rate / 1000 else "word" for _ in range(2000))

    found = [b.profile([trace(rate) for _ in range(100)])["reflection"] for rate in (5, 15)]
    for metric, rate in zip(found, (5, 15), strict=True):
        assert metric.value == pytest.approx(rate, rel=0.1) and metric.low <= metric.value <= metric.high
    report = b.profile(["a b c d"], ["b c d e f"])
    assert report["overlap"].value == pytest.approx(0.5) and report["length_ratio"].value == pytest.approx(
        0.8
    )


LABELLED = [
    (
        "3 + 5 = 8, which is not equal to 22. Let's try another way: 3 * 7 = 21.",
        {"verification", "backtracking"},
    ),
    ("First, we need to get 20 from the other numbers. 4 * 5 = 20.", {"subgoal"}),
    ("Working backwards from the target: 24 = 6 * 4, so we need a 6.", {"backward_chaining"}),
    ("3 * 5 + 7 = 22. Let me check that 22 is the target.", {"verification"}),
    ("That doesn't work. Instead, take 7 * 3 + 1.", {"backtracking"}),
    ("7 * 3 = 21 and 21 + 1 = 22.", set()),
    ("The answer is 22.", set()),
    ("Start from the target 24 and divide by the factors of the target.", {"backward_chaining"}),
    ("Wait, 12 is too low. Let us try something else.", {"verification", "backtracking"}),
    ("Break it down into two parts: to make 20, multiply 4 and 5.", {"subgoal"}),
]


def test_habits_against_labelled_traces():
    hits = misses = false = 0
    for text, habits in LABELLED:
        found = {habit for habit, count in b.habit_counts(text).items() if count}
        hits, misses, false = (
            hits + len(found & habits),
            misses + len(habits - found),
            false + len(found - habits),
        )
    assert hits / (hits + false) >= 0.9 and hits / (hits + misses) >= 0.9
