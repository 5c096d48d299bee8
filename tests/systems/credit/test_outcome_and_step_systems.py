"""Worked examples: PRIME, iStar, PURE, GiGPO, SALT."""

from __future__ import annotations

import numpy as np
import pytest
from cases import close, credit, read, record

from guerdon.data import Signal
from guerdon.registry import build
from guerdon.systems.credit import oprl_istar as istar
from guerdon.systems.credit import prime

# -- prime -------------------------------------------------------------------------------------------------

PROCESS = [[0.2, 0.4], [-0.1, 0.1, 0.3], [0, 0.2], [0.5, 0.1]]
PRIMED = [record([len(q)], implicit=q, outcome=acc) for q, acc in zip(PROCESS, [1, 0, 0, 1], strict=True)]


def test_prime_probability_and_loss():
    rollouts = read([record([3], implicit=[1.2, -0.4, 2.0], outcome=1)])
    p = prime.outcome_probability(rollouts, rollouts.signals["implicit"], 0.05)
    assert p.values[0] == pytest.approx(0.534943, abs=5e-7)
    for right, loss in ((1.0, 0.625595), (0.0, 0.765595)):
        got = prime.cross_entropy(p, Signal([right], "rollout"))
        assert got.values[0] == pytest.approx(loss, abs=5e-7)
    report = build("credit", {"use": "prime"}).explain(rollouts)[1]
    assert report["implicit"]["cross_entropy"] == pytest.approx(0.625595, abs=5e-7)


def test_prime_baselines_per_source():
    """Without returns (gamma 0) a source's own values show: the verifier on the last token only."""
    got = credit("prime", PRIMED, loo="code", norm="none", whiten=False, gamma=0.0)
    third = 2 / 3
    close(
        got,
        [
            [0, 0.266667 + third],
            [-0.4, -0.133333, 0.133333 - third],
            [-0.266667, -third],
            [0.4, -0.133333 + third],
        ],
    )
    got = credit("prime", PRIMED, loo="paper", norm="none", whiten=False, gamma=0.0)
    close(
        got,
        [
            [0.033333, 0.233333 + third],
            [-0.333333, -0.133333, 0.066667 - third],
            [-0.233333, -0.033333 - third],
            [0.333333, -0.066667 + third],
        ],
    )


def test_prime_returns_and_whitening():
    got = credit("prime", PRIMED, loo="code", norm="none", whiten=False)
    close(
        got,
        [
            [0.933333, 0.933333],
            [-1.066667, -0.666667, -0.533333],
            [-0.933333, -0.666667],
            [0.933333, 0.533333],
        ],
    )
    got = credit("prime", PRIMED, variant="release", norm="none")
    close(got[:1], [[1.141553, 1.141553]])


def test_prime_scales_by_the_largest_suffix_sum():
    scaled = credit("prime", PRIMED, whiten=False, gamma=0.0)
    plain = credit(
        "prime",
        [
            r
            | {
                "signals": {
                    **r["signals"],
                    "implicit": {
                        "level": "token",
                        "values": [x / (0.6 + 1e-6) for x in r["signals"]["implicit"]["values"]],
                    },
                }
            }
            for r in PRIMED
        ],
        norm="none",
        whiten=False,
        gamma=0.0,
    )
    close(scaled, plain)


# -- oprl-istar --------------------------------------------------------------------------------------------

SCORES = [[0.05, 0.15], [-0.02, 0.04, -0.05]]
STARRED = [
    record(len(s), implicit=[x / 0.05 for x in s], outcome=o) for s, o in zip(SCORES, [1, 0], strict=True)
]


def test_istar_step_scores_and_loss():
    rollouts = read([record([2, 1], implicit=[2, -1, 0.4], outcome=1)])
    advantage, report = build("credit", {"use": "oprl-istar", "norm": "none", "baseline": "rloo"}).explain(
        rollouts
    )
    assert report["implicit"]["spans"] == 2
    np.testing.assert_allclose(advantage.values, 1 + np.array([0.015, 0.015, -0.03 + 0.0]) * [2, 2, 1])
    rollouts = read(STARRED)
    steps = Signal(np.concatenate(SCORES), "step", "s")
    outcome = rollouts.signals["outcome"]
    for aggregate, loss in (("mean", 0.639659), ("sum", 0.584745)):
        q = istar.trajectory_score(rollouts, steps, aggregate)
        assert istar.preference_loss(rollouts, q, outcome) == pytest.approx(loss, abs=5e-7)
        told = build("credit", {"use": "oprl-istar", "aggregate": aggregate}).explain(rollouts)[1]
        assert told["implicit"]["preference_loss"] == pytest.approx(loss, abs=5e-7)
    q = istar.trajectory_score(rollouts, steps)
    np.testing.assert_allclose(q.values, [0.1, -0.01])
    assert istar.preference_loss(rollouts, q, Signal([1.0, 1.0], "rollout")) == 0.0


def test_istar_step_baselines():
    got = credit("oprl-istar", STARRED, norm="none")
    close(got, [[1 + 0.02, 1 + 0.145], [-1 - 0.0675, -1 + 0.0075, -1 - 0.105]])
    for released in ({"first_step_baseline": True}, {"variant": "release"}):
        got = credit("oprl-istar", STARRED, norm="none", **released)
        close(got, [[1 + 0.07, 1 + 0.27], [-1 - 0.07, -1 + 0.05, -1 - 0.13]])


def test_istar_divides_by_the_largest_step_score():
    got = credit("oprl-istar", STARRED, weight=2.0)
    close(
        got,
        [
            [1 + 0.04 / 0.150001, 1 + 0.29 / 0.150001],
            [-1 - 0.135 / 0.150001, -1 + 0.015 / 0.150001, -1 - 0.21 / 0.150001],
        ],
    )


def test_istar_whitens_each_level():
    got = credit("oprl-istar", STARRED, norm="none", baseline="reinforce_plus_baseline")
    steps = np.concatenate(SCORES) - np.mean(np.concatenate(SCORES))
    white = lambda x: (x - x.mean()) / np.sqrt(x.var(ddof=1) + 1e-8)  # noqa: E731
    expected = white(np.array([0.5, 0.5, -0.5, -0.5, -0.5])) + white(steps)
    np.testing.assert_allclose(np.concatenate(got), expected, atol=1e-9)


# -- pure --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("r", "form", "expected"),
    [
        ([0.5, 0.2, 0.6], "softmin", [0.220843, 0.197537, 0.010289]),
        ([0.9, -0.5, 0.8], "softmin", [-0.499996, -0.499997, 0.000002]),
        ([0.9, -0.5, 0.8], "min", [-0.5, -0.5, 0.8]),
        ([0.9, -0.5, 0.8], "sum", [1.2, 0.3, 0.8]),
    ],
)
def test_pure_forms(r, form, expected):
    close(credit("pure", [record(3, prm=r)], form=form, vr_coef=0.0, baseline="none"), [expected])


def test_pure_baselines_per_token():
    # totals P = [-.3, .5] over 10 and 20 tokens: per-token baselines .5/20 and -.3/10
    records = [record([10], prm=[-0.3]), record([20], prm=[0.5])]
    close(credit("pure", records, vr_coef=0.0), [[-0.3 - 0.25] * 10, [0.5 + 0.6] * 20])
    got = credit("pure", records, vr_coef=0.0, count_separator=False)
    close(got, [[-0.3 - 0.025 * 9] * 10, [0.5 + 0.03 * 19] * 20])
    close(credit("pure", records, vr_coef=0.0, baseline="step"), [[-0.8] * 10, [0.8] * 20])
    close(credit("pure", records, vr_coef=0.0, baseline="return"), [[-0.3 - 0.5] * 10, [0.5 + 0.3] * 20])
    got = credit("pure", records, vr_coef=0.0, baseline="return", t_max=40)
    close(got, [[-0.3 - 10 / 40] * 10, [0.5 + 3 / 40] * 20])


def test_pure_with_the_outcome():
    records = [record([2, 1], prm=[0.5, 0.2], outcome=1), record([1, 2], prm=[0.1, 0.4], outcome=0)]
    plain = credit("pure", records, vr_coef=0.0, form="sum")
    got = credit("pure", records, vr_coef=0.5, form="sum")
    close(got, [[x + 0.5 for x in plain[0]], [x - 0.5 for x in plain[1]]])
    masked = credit("pure", records, form="sum", mask_separators=True)
    whole = credit("pure", records, form="sum")
    close(masked, [[whole[0][0], 0, 0], [0, whole[1][1], 0]])
    # the verl branch: the outcome joins the last step before the minimum is taken
    got = credit("pure", records, form="min", baseline="return")
    returns = [[0.5, 0.5, 1.2], [0.1, 0.4, 0.4]]
    means = [np.mean(returns[1]), np.mean(returns[0])]
    close(got, [[g - b for g in row] for row, b in zip(returns, means, strict=True)])
    white = np.concatenate(credit("pure", records, variant="verl"))
    assert abs(white.mean()) < 1e-12 and white.std(ddof=1) == pytest.approx(1, abs=1e-6)


def test_pure_takes_the_distance_to_the_reference_off():
    records = [record(2, prm=[0.5, 0.2], logprobs=[-1.0, -2.0], ref_logprobs=[-1.5, -1.0])]
    got = credit("pure", records, vr_coef=0.0, form="sum", baseline="none", kl_coef=0.1)
    close(got, [[0.7 - 0.1 * (0.5 - 1.0), 0.2 + 0.1]])


# -- gigpo -------------------------------------------------------------------------------------------------

WALKS = [
    record(3, outcome=10, env=[0, 0, 10], state=["s0", "s1", "s2"]),
    record(2, outcome=0, env=[0, 0], state=["s0", "s1"]),
    record(4, outcome=10, env=[0, 0, 0, 10], state=["s0", "s1", "s1", "s2"]),
]
STEPS = [[3.158750, 2.493750, 0], [-5.866250, -7.006250], [2.707500, 2.018750, 2.493750, 0]]


@pytest.mark.parametrize(("unit", "mean"), [("rollout", 6.666667), ("row", 7.777778)])
def test_gigpo_two_levels(unit, mean):
    got = credit("gigpo", WALKS, unit=unit)
    expected = [[r - mean + a for a in row] for r, row in zip([10, 0, 10], STEPS, strict=True)]
    close(got, expected, digits=5)
    scaled = credit("gigpo", WALKS, unit=unit, weight=0.8)
    close(
        scaled, [[a - 0.2 * s for a, s in zip(x, y, strict=True)] for x, y in zip(got, STEPS, strict=True)], 5
    )


def test_gigpo_release_counts_rows():
    close(credit("gigpo", WALKS, variant="release"), credit("gigpo", WALKS, unit="row"))


def test_gigpo_divided_by_the_deviation():
    records = [record(1, outcome=r, env=[0], state=[i]) for i, r in enumerate([10, 0, 0, 10])]
    close(credit("gigpo", records, scale="std"), [[0.866025], [-0.866025], [-0.866025], [0.866025]])


def test_gigpo_group_of_one():
    alone = [record(2, outcome=4, env=[0, 4], state=[1, 2])]
    close(credit("gigpo", alone), [[4, 4]])
    close(credit("gigpo", alone, scale="std"), [[4 / (1 + 1e-6)] * 2])
    close(credit("gigpo", alone, singleton="zero"), [[0, 0]])


# -- salt --------------------------------------------------------------------------------------------------


def walk(outcome, *edges, final="end"):
    """A rollout from (state, action) pairs."""
    states, actions = [list(each) for each in zip(*edges, strict=True)]
    return record(len(edges), outcome=outcome, state=states, meta={"actions": actions, "final_state": final})


def test_salt_two_rollouts():
    walks = [
        walk(1, ("s0", "go"), ("s1", "left"), final="w"),
        walk(0, ("s0", " GO"), ("s1", "right"), final="l"),
    ]
    close(credit("salt", walks), [[0, 0.7071], [0, -0.7071]], digits=4)
    apart = credit("salt", walks, normalise_actions=False)
    close(apart, [[0.7071] * 2, [-0.7071] * 2], digits=4)


def test_salt_three_rollouts():
    walks = [
        walk(1, ("s0", "go"), ("s1", "a"), ("s2", "x"), final="f1"),
        walk(1, ("s0", "go"), ("s1", "a"), ("s2", "y"), final="f2"),
        walk(-2, ("s0", "go"), ("s1", "b"), ("s3", "z"), final="f3"),
    ]
    close(credit("salt", walks, base="mean"), [[0, 1, 1], [0, 1, 1], [0, -2, -2]])


def test_salt_same_pair_with_another_past_or_result():
    walks = [
        walk(1, ("a", "x"), ("s", "go"), final="f"),
        walk(0, ("b", "x"), ("s", "go"), final="f"),
        walk(0, ("b", "x"), ("s", "go"), final="elsewhere"),
    ]
    base = [2 / 3, -1 / 3, -1 / 3]
    shared = np.mean(base[:2])
    close(credit("salt", walks, base="mean"), [[base[0], shared], [base[1], shared], [base[2], base[2]]])
    for window in (2, None):
        got = credit("salt", walks, base="mean", history_window=window)
        close(got, [[b, b] for b in base])


def test_salt_counts_instances_or_rollouts():
    walks = [walk(1, ("s", "go"), ("s", "go"), final="s"), walk(-0.5, ("s", "go"), final="s")]
    base = [0.75, -0.75]
    close(credit("salt", walks, base="mean"), [[0.25] * 2, [0.25]])
    close(credit("salt", walks, base="mean", unit="rollout"), [[0, 0], [0]])
    assert base[0] + base[1] == 0


def test_salt_never_merges_what_could_not_be_parsed():
    walks = [walk(1, ("s", None), final="f"), walk(0, ("s", None), final="f")]
    close(credit("salt", walks, base="mean"), [[0.5], [-0.5]])
