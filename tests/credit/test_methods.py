"""Credit methods: examples worked by hand, and what must hold for every composition."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from batches import BATCH_WIDE, DENSE, METHODS, OUTCOME, batches, make
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from guerdon import credit
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.data.kernels import segment_scan
from guerdon.errors import DataError, RecipeError

quick = settings(deadline=None, max_examples=25)
methods = st.sampled_from(sorted(METHODS))
outcome_methods = st.sampled_from(sorted(OUTCOME))
nan = np.nan


def change(rollouts, **values):
    """The rollouts with other values of some of their signals."""
    signals = {name: rollouts.signals[name].with_values(v) for name, v in values.items()}
    return rollouts.replace(signals=signals)


def per_rollout(rollouts, advantage):
    """Token advantages as one list per rollout."""
    return Ragged(advantage.values, rollouts.tokens.offsets).to_lists()


# -- by hand ---------------------------------------------------------------------------------------------

LENGTHS = [1, 2, 1, 4, 3, 1, 2]
REWARDS = [1.0, 0, 0, 1, 2, 4, 5]
GROUPS = [0, 0, 0, 0, 1, 1, 2]


def outcomes(rewards=REWARDS, group=GROUPS, lengths=LENGTHS, **columns):
    """Token rollouts with an outcome each."""
    return Rollouts(
        tokens=Ragged.from_lengths(np.zeros(sum(lengths), np.int32), lengths),
        group=np.array(group),
        signals={
            "outcome": Signal(rewards, "rollout", "outcome"),
            "baseline": Signal(np.full(len(rewards), 0.5), "rollout", "baseline"),
        },
        **columns,
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (credit.grpo(eps=0), [0.866025, -0.866025, -0.866025, 0.866025, -0.707107, 0.707107, 5]),
        (credit.grpo(eps=0, ddof=0), [1, -1, -1, 1, -1, 1, 5]),
        (credit.grpo(eps=1), [0.316987, -0.316987, -0.316987, 0.316987, -0.414214, 0.414214, 2.5]),
        (
            credit.grpo(eps=0, singleton="zero"),
            [0.866025, -0.866025, -0.866025, 0.866025, -0.707107, 0.707107, 0],
        ),
        (
            credit.grpo(eps=0, scale="batch"),
            [0.256174, -0.256174, -0.256174, 0.256174, -0.512348, 0.512348, 2.561738],
        ),
        (credit.grpo(scale="none"), [0.5, -0.5, -0.5, 0.5, -1, 1, 5]),
        (credit.dr_grpo(), [0.5, -0.5, -0.5, 0.5, -1, 1, 5]),
        (credit.dr_grpo(singleton="zero"), [0.5, -0.5, -0.5, 0.5, -1, 1, 0]),
        (credit.rloo(), [2 / 3, -2 / 3, -2 / 3, 2 / 3, -2, 2, 5]),
        (credit.rloo(singleton="zero"), [2 / 3, -2 / 3, -2 / 3, 2 / 3, -2, 2, 0]),
        # (1*1 + 4*1) / 8 = 0.625 and (3*2 + 1*4) / 4 = 2.5
        (credit.opo(), [0.375, -0.625, -0.625, 0.375, -0.5, 1.5, 5]),
        (credit.remax(), [0.5, -0.5, -0.5, 0.5, 1.5, 3.5, 4.5]),
        # 7 rewards, 5 of them not 0
        (credit.gpg(), [0.7, -0.7, -0.7, 0.7, -1.4, 1.4, 7]),
        (credit.pass_at_k(eps=0), [0, 0, 0, 0, 0, 1.414214, 0]),
        (credit.pass_at_k(scale="none"), [0, 0, 0, 0, 0, 2, 0]),
        # mean 9/14 and variance (56 - 81/14)/13 over 14 tokens
        (
            credit.reinforce_pp_baseline(eps=0),
            [-0.072687, -0.581500, -0.581500, -0.072687, -0.835907, 0.181719, 2.216971],
        ),
    ],
)
def test_outcome_methods(method, expected):
    rollouts = outcomes()
    got = method(rollouts)
    assert (got.level, got.name) == ("token", "advantage")
    assert_allclose(got.values, np.repeat(expected, LENGTHS), atol=2e-6)


def test_opo_weighs_by_the_tokens_the_policy_chose():
    acted = Ragged.from_lists([[1], [1, 0], [1], [0, 1, 1, 1], [1, 0, 0], [1], [1, 1]], bool)
    # (1*1 + 3*1) / 6 = 2/3 and (1*2 + 1*4) / 2 = 3
    got = credit.opo()(outcomes(acted=acted))
    expected = np.repeat([1 / 3, -2 / 3, -2 / 3, 1 / 3, -1, 1, 5], LENGTHS)
    assert_allclose(got.values, np.where(acted.values, expected, 0))


def test_pass_at_k_with_ties_missing_and_negative_rewards():
    rollouts = outcomes([-1.0, -3.0, nan, -2.0, 4.0, 4.0, nan])
    got = per_rollout(rollouts, credit.pass_at_k(scale="none")(rollouts))
    assert [row[0] for row in got] == [1, 0, 0, 0, 0, 0, 0]


def dense(acted=None):
    return Rollouts(
        tokens=Ragged.from_lists([[0, 0, 0], [0]], np.int32),
        acted=None if acted is None else Ragged.from_lists(acted, bool),
        values=Ragged.from_lists([[1.0, 1, 2], [0.5]]),
        signals={"reward": Signal([1.0, 2, 4, 2], "token", "reward")},
    )


@pytest.mark.parametrize(
    ("method", "acted", "expected"),
    [
        # returns 3 4 4 2: mean 3.25, variance 2.75/3
        (credit.reinforce_pp(gamma=0.5, eps=0), None, [-0.261116, 0.783349, 0.783349, -1.305582]),
        # returns 3 . 4 2: mean 3, variance 1
        (credit.reinforce_pp(gamma=0.5, eps=0), [[1, 0, 1], [1]], [0, 0, 1, -1]),
        # deltas 0.5 2 2 and 1.5
        (credit.gae(gamma=0.5, lam=0.5, whiten=False), None, [1.125, 2.5, 2, 1.5]),
        # deltas 1 . 2 and 1.5
        (credit.gae(gamma=0.5, lam=0.5, whiten=False), [[1, 0, 1], [1]], [1.5, 0, 2, 1.5]),
        (credit.gae(gamma=0.5, lam=0.5, eps=0), [[1, 0, 1], [1]], [-0.577350, 0, 1.154701, -0.577350]),
    ],
)
def test_dense_methods(method, acted, expected):
    assert_allclose(method(dense(acted)).values, expected, atol=2e-6)


def stepped(**columns):
    """Two rollouts of one group: steps of 1 and 2 tokens, and of 2 and 1."""
    return Rollouts(
        tokens=Ragged.from_lists([[0] * 3, [0] * 3], np.int32),
        group=[0, 0],
        partitions={"step": Ragged.from_lists([[1, 3], [2, 3]])},
        signals={
            "outcome": Signal([1.0, 0.0], "rollout", "outcome"),
            "steps": Signal([1.0, 0, 1, 1], "step", "steps"),
        },
        **columns,
    )


def test_outcome_and_steps():
    up, half = 0.707107, [0.5, -1.5, 0.5, 0.5]  # pooled: mean 0.75, deviation 0.5
    expected = [up + half[0], up + half[1], up + half[1], -up + half[2], -up + half[2], -up + half[3]]
    assert_allclose(credit.outcome_and_steps(eps=0)(stepped()).values, expected, atol=2e-6)
    # by position: 1 and 1, then 0 and 1
    method = credit.outcome_and_steps(eps=0, weight=2, pool=("prompt", "index"))
    assert_allclose(method(stepped()).values, [up, -up, -up, -up, -up, up], atol=2e-6)


def test_anchor_states_compare_steps_taken_from_the_same_state():
    method = credit.levels(
        [
            {
                "source": "steps",
                "group": ["prompt", "state"],
                "baseline": {"use": "mean", "singleton": "zero"},
                "weight": 2,
            }
        ]
    )
    rollouts = stepped(state=[-(2**63), 2**63 - 1, 5, 2**63 - 1])
    # the steps of value 0 and 1 share a state, the others are alone
    assert_allclose(method(rollouts).values, [0, -1, -1, 0, 0, 1])
    assert_array_equal(method(stepped(state=[1, 2, 3, 4])).values, np.zeros(6))


def test_levels_add_up_with_their_weights_and_may_share_a_source():
    method = credit.levels(
        [
            {"source": "outcome"},
            {"source": "outcome", "baseline": "mean", "weight": 10},
            {"source": "steps", "backup": {"use": "reward_to_go", "gamma": 0.5}, "weight": -1},
        ]
    )
    advantage, reports = method.explain(stepped())
    assert_allclose(advantage.values, [6 - 1, 6, 6, -5 - 1.5, -5 - 1.5, -5 - 1])
    assert list(reports) == ["outcome", "outcome.2", "steps"]
    assert reports["outcome.2"]["groups"] == 1
    assert "groups" not in reports["outcome"]


def test_text_gets_one_advantage_per_rollout_or_step():
    signals = {"outcome": Signal([1.0, 3.0], "rollout", "outcome")}
    text = Rollouts(completion=["abcd", "ab"], group=[0, 0], signals=signals)
    got = credit.dr_grpo()(text)
    assert (got.level, got.values.tolist()) == ("rollout", [-1, 1])
    assert_allclose(credit.opo()(text).values, [1 - 10 / 6, 3 - 10 / 6])  # characters weigh
    steps = text.replace(partitions={"step": Ragged.from_lists([[1, 4], [2]])})
    got = credit.dr_grpo()(steps)
    assert (got.level, got.values.tolist()) == ("step", [-1, -1, 1])


# -- for every method ------------------------------------------------------------------------------------


@quick
@given(methods, batches())
def test_one_finite_advantage_per_token_and_nothing_where_the_policy_did_not_act(name, rollouts):
    got = METHODS[name](rollouts)
    assert got.values.shape == (rollouts.tokens.total,)
    assert np.isfinite(got.values).all()
    assert (got.values[~rollouts.acted.values] == 0).all()


@quick
@given(methods, batches(), st.integers(0, 99))
def test_what_the_policy_did_not_write_changes_nothing(name, rollouts, seed):
    rng = np.random.default_rng(seed)
    acted = rollouts.acted.values
    noise = np.where(acted, 0, rng.normal(size=len(acted)) * 100)
    silent = rollouts.reduce(Signal(acted, "token"), "step").values == 0
    other = change(
        rollouts,
        reward=rollouts.signals["reward"].values + noise,
        steps=np.where(silent, 50.0, rollouts.signals["steps"].values),
    ).replace(values=rollouts.values.with_values(rollouts.values.values + noise.astype(np.float32)))
    if name == "anchored":  # what an environment's step earns is part of the returns before it
        other = other.replace(signals={"steps": rollouts.signals["steps"]})
    assert_allclose(METHODS[name](other).values, METHODS[name](rollouts).values, atol=1e-9)


@quick
@given(methods, batches(), st.randoms(use_true_random=False))
def test_reordered_rollouts_get_the_same_advantages(name, rollouts, random):
    order = list(range(len(rollouts)))
    random.shuffle(order)
    expected = rollouts.tokens.with_values(METHODS[name](rollouts).values).select(order)
    got = METHODS[name](rollouts.select(order))
    assert_allclose(got.values, expected.values, atol=1e-9)


@quick
@given(methods, batches())
def test_groups_do_not_interact(name, rollouts):
    assume(name not in BATCH_WIDE)
    whole = rollouts.tokens.with_values(METHODS[name](rollouts).values)
    for group in np.unique(rollouts.group):
        mine = rollouts.group == group
        got = METHODS[name](rollouts.select(mine))
        assert_allclose(got.values, whole.select(mine).values, atol=1e-9)


@quick
@given(methods, batches())
def test_inputs_stay_as_they_were_and_explaining_changes_nothing(name, rollouts):
    before = rollouts.select(np.arange(len(rollouts)))
    got = METHODS[name](rollouts)
    explained, _ = METHODS[name].explain(rollouts, rollouts.signals)
    assert rollouts == before
    assert_array_equal(got.values, explained.values)
    assert not any(np.may_share_memory(got.values, s.values) for s in rollouts.signals.values())


@pytest.mark.parametrize("level", ["token", "rollout"])
def test_raw_values_are_copied_not_handed_through(level):
    rollouts = dense() if level == "token" else Rollouts(completion=["a"] * 4)
    signals = {"x": Signal([1.0, nan, 3, 4], level, "x")}
    method = credit.levels([{"source": "x", "weight": 2}])
    got = method(rollouts, signals)
    assert_array_equal(got.values, [2, 0, 6, 8])
    assert_array_equal(signals["x"].values, [1, nan, 3, 4])


# -- outcome methods -------------------------------------------------------------------------------------


@quick
@given(outcome_methods, batches())
def test_every_token_of_a_rollout_gets_the_same(name, rollouts):
    got = Ragged(METHODS[name](rollouts).values, rollouts.tokens.offsets)
    for row, acted in zip(got, rollouts.acted, strict=True):
        assert len(set(row[acted])) <= 1


@quick
@given(outcome_methods, batches(missing=(0.4,)))
def test_a_missing_outcome_gets_nothing_and_is_as_good_as_absent(name, rollouts):
    scored = ~np.isnan(rollouts.signals["outcome"].values)
    advantage, reports = METHODS[name].explain(rollouts)
    got = rollouts.tokens.with_values(advantage.values)
    assert (got.select(~scored).values == 0).all()
    assert reports["outcome"]["missing"] == reports["outcome"]["dropped"] == (~scored).sum()
    if scored.any():
        assert_allclose(got.select(scored).values, METHODS[name](rollouts.select(scored)).values, atol=1e-9)


@quick
@given(outcome_methods, batches(), st.sampled_from([0.1, -3.7, 1 / 3]))
def test_equal_rewards_give_exactly_nothing(name, rollouts, value):
    assume(name not in ("remax", "reinforce_pp_baseline"))  # compared with another signal; with other groups
    rollouts = change(rollouts, outcome=np.full(len(rollouts), value))
    labels, n = rollouts.groups()
    several = np.bincount(labels, minlength=n)[labels] > 1
    got = rollouts.tokens.with_values(METHODS[name](rollouts).values)
    assert (got.select(several).values == 0).all()


@quick
@given(st.sampled_from([0.0, 1e-6]), st.sampled_from(["group", "batch"]))
def test_no_spread_at_all_is_no_reason_to_divide_by_nothing(eps, scale):
    method = credit.grpo(scale=scale, eps=eps)
    assert_array_equal(method(outcomes([2.0] * 7, [0] * 7)).values, np.zeros(14))
    alone = method(outcomes([2.0] * 7, range(7))).values
    assert_allclose(alone, np.full(14, 2.0), rtol=1e-5)  # kept raw, not blown up by 1/eps


CENTRED = [
    credit.grpo(singleton="zero"),
    credit.grpo(singleton="zero", scale="batch"),
    credit.dr_grpo(singleton="zero"),
    credit.rloo(singleton="zero"),
    credit.opo(singleton="zero"),
    credit.reinforce_pp_baseline(singleton="zero"),
    credit.pass_at_k(),
]


@quick
@given(st.sampled_from(CENTRED), batches(), st.sampled_from([-3.0, 0.25, 100.0]))
def test_a_constant_added_to_all_rewards_cancels(method, rollouts, shift):
    moved = change(rollouts, outcome=rollouts.signals["outcome"].values + shift)
    assert_allclose(method(moved).values, method(rollouts).values, atol=1e-7)


@quick
@given(batches(), st.sampled_from([0.01, 3.0, 1000.0]), st.sampled_from(["group", "batch"]))
def test_the_scale_of_rewards_cancels_where_advantages_are_scaled(rollouts, factor, scale):
    outcome = rollouts.signals["outcome"].values
    scaled = change(rollouts, outcome=outcome * factor)
    method = credit.grpo(scale=scale, eps=0, singleton="zero")
    assert_allclose(method(scaled).values, method(rollouts).values, atol=1e-9)
    if scale == "group":
        best = credit.pass_at_k(eps=0)
        assert_allclose(best(scaled).values, best(rollouts).values, atol=1e-9)


@quick
@given(batches())
def test_leave_one_out_is_the_mean_centred_reward_times_n_over_n_minus_1(rollouts):
    labels, n = rollouts.groups()
    present = ~np.isnan(rollouts.signals["outcome"].values)
    size = np.bincount(labels[present], minlength=n)[labels].astype(float)
    factor = np.where(size > 1, size / np.maximum(size - 1, 1), 1.0)
    expected = credit.dr_grpo()(rollouts).values * np.repeat(factor, rollouts.lengths)
    assert_allclose(credit.rloo()(rollouts).values, expected, atol=1e-9)


@quick
@given(batches(missing=(0.0,)))
def test_grpo_against_the_statistics_module(rollouts):
    outcome, expected = rollouts.signals["outcome"].values, []
    for i, group in enumerate(rollouts.group):
        mine = outcome[rollouts.group == group].tolist()
        mean, std = (statistics.fmean(mine), statistics.stdev(mine)) if len(mine) > 1 else (0.0, 1.0)
        expected.append((outcome[i] - mean) / (std + 1e-6))
    wide = np.repeat(expected, rollouts.lengths)
    assert_allclose(credit.grpo()(rollouts).values, np.where(rollouts.acted.values, wide, 0), atol=1e-9)


# -- dense methods ---------------------------------------------------------------------------------------


@quick
@given(st.sampled_from(["reinforce_pp", "gae", "reinforce_pp_baseline"]), batches(missing=(0.0,)))
def test_whitened_advantages_have_mean_0_and_variance_1(name, rollouts):
    got = METHODS[name](rollouts).values[rollouts.acted.values]
    assume(len(got) > 1 and np.ptp(got) > 1e-3)
    assert_allclose([got.mean(), got.var(ddof=1)], [0, 1], atol=1e-4)


@quick
@given(batches(), st.sampled_from([0.0, 0.7, 1.0]))
def test_gae_reductions(rollouts, gamma):
    """lam = 1 gives returns minus values; without a critic that is reward-to-go."""
    acted = rollouts.acted.values
    reward = rollouts.signals["reward"].values
    returns = segment_scan(reward, rollouts.tokens.offsets, gamma, mask=acted)
    got = credit.gae(gamma, 1.0, whiten=False)(rollouts).values
    assert_allclose(got, np.where(acted, returns - rollouts.values.values, 0), atol=1e-9)
    blind = rollouts.replace(values=rollouts.values.with_values(np.zeros(rollouts.tokens.total)))
    for lam in (0.0, 1.0):
        got = credit.gae(gamma, lam, whiten=False)(blind).values
        assert_allclose(got, returns if lam else np.where(acted, reward, 0), atol=1e-9)
    assert_allclose(
        credit.gae(gamma, 1.0)(blind).values, credit.reinforce_pp(gamma)(rollouts).values, atol=1e-6
    )


@quick
@given(batches(missing=(0.0,)))
def test_steps_without_a_say_leave_the_outcome(rollouts):
    grpo = credit.grpo()(rollouts).values
    assert_allclose(credit.outcome_and_steps(weight=0.0)(rollouts).values, grpo, atol=1e-9)
    level = change(rollouts, steps=np.full(rollouts.count("step"), 0.7))
    assert_allclose(credit.outcome_and_steps()(level).values, grpo, atol=1e-9)


def test_missing_token_rewards_cost_what_comes_before_them_and_are_counted():
    rollouts = change(dense(), reward=np.array([1.0, nan, 4, 2]))
    advantage, reports = credit.gae(whiten=False).explain(rollouts)
    assert_allclose(advantage.values, [0, 0, 2, 1.5])
    assert (reports["reward"]["missing"], reports["reward"]["dropped"]) == (1, 2)
    white = credit.reinforce_pp(eps=0)(rollouts).values
    assert_allclose(white, [0, 0, np.sqrt(0.5), -np.sqrt(0.5)])  # the others are whitened without them


def test_a_token_no_level_speaks_for_does_not_enter_the_whitening():
    method = credit.levels([{"source": "outcome"}, {"source": "steps"}], whiten=True)
    rollouts = change(stepped(), outcome=[nan, 2.0], steps=[nan, 1.0, nan, 4.0])
    # sums: missing, 1, 1, 2, 2, 6
    values = np.array([1.0, 1, 2, 2, 6])
    expected = (values - values.mean()) / values.std(ddof=1)
    assert_allclose(method(rollouts).values, [0, *expected], atol=1e-6)


def test_a_critic_that_says_nan_is_noticed():
    rollouts = dense().replace(values=Ragged.from_lists([[1.0, nan, 2], [0.5]]))
    advantage, reports = credit.gae().explain(rollouts)
    assert np.isfinite(advantage.values).all()
    assert (reports["reward"]["missing"], reports["reward"]["dropped"]) == (0, 2)


# -- reports ---------------------------------------------------------------------------------------------


def test_reports():
    rollouts = outcomes([1.0, 0, nan, 1, 2, 2, 5])
    report = credit.dr_grpo().explain(rollouts)[1]["outcome"]
    assert report == {
        "spans": 7,
        "missing": 1,
        "dropped": 1,
        "abs_advantage": pytest.approx((1 / 3 + 2 / 3 + 1 / 3 + 0 + 0 + 5) / 6),
        "groups": 3,
        "group_size": 2,
        "singletons": pytest.approx(1 / 3),
        "uniform": 0.5,
    }
    nothing = credit.dr_grpo().explain(outcomes([nan] * 7))[1]["outcome"]
    assert (nothing["groups"], nothing["abs_advantage"], nothing["dropped"]) == (0, 0, 7)


def test_a_step_the_environment_wrote_is_in_no_group():
    acted = Ragged.from_lists([[1, 0, 0], [1, 1, 1]], bool)
    advantage, reports = credit.levels([{"source": "steps", "baseline": "mean"}]).explain(
        stepped(acted=acted)
    )
    assert_allclose(advantage.values, np.zeros(6))  # without it the steps are 1, 1 and 1
    assert reports["steps"]["group_size"] == 3


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda: credit.grpo()(outcomes(), {}),
            "grpo needs the signal 'outcome' at level 'rollout'.*carry: none",
        ),
        (
            lambda: credit.gae()(outcomes()),
            "gae needs the signal 'reward' at level 'token'.*carry: baseline, outcome",
        ),
        (lambda: credit.gae()(dense().replace(values=None)), "gae needs the column 'values'"),
        (
            lambda: credit.remax()(dense(), {"outcome": Signal([1, 2], "rollout")}),
            "remax needs the signal 'baseline'",
        ),
        (
            lambda: credit.grpo()(stepped(), {"outcome": Signal([1.0, 2, 3, 4], "step")}),
            "grpo needs 'outcome' at level 'rollout', but it is at 'step'",
        ),
        (lambda: credit.grpo()(stepped(), {"outcome": Signal([1.0], "rollout")}), "'outcome' has 1 values"),
        (
            lambda: credit.grpo()(stepped(), {"outcome": np.ones(2)}),
            "grpo: 'outcome' must be a Signal, not ndarray",
        ),
        (lambda: credit.grpo()(outcomes().select([])), "grpo: there are no rollouts"),
        (lambda: credit.grpo()(outcomes([np.inf, 0, 0, 1, 2, 4, 5])), "'outcome' is infinite at rollout 0"),
        (
            lambda: credit.grpo()(outcomes([nan, 0, -np.inf, 1, 2, 4, 5])),
            "'outcome' is infinite at rollout 2",
        ),
        (lambda: credit.gae()(dense().replace(values=Ragged.from_lists([[1, np.inf, 2], [0]]))), "infinite"),
        (lambda: credit.outcome_and_steps()(outcomes()), "outcome_and_steps needs the signal 'steps'"),
        (
            lambda: credit.levels([{"source": "steps", "group": ["state"], "baseline": "mean"}])(stepped()),
            'levels needs per-step state keys: column "state"',
        ),
        (
            lambda: credit.levels([{"source": "outcome", "group": ["node"], "baseline": "mean"}])(
                stepped(node=[1, 2, 3, 4])
            ),
            "groups by 'node', which exists per step, not per rollout",
        ),
        (
            lambda: credit.levels([{"source": "steps", "backup": "gae"}])(stepped()),
            "one reward per token, not per step",
        ),
        (
            lambda: credit.levels([{"source": "rate"}])(outcomes(), {"rate": Signal([1.0, 2, 3], "group")}),
            "'rate' is one value per group; spread it",
        ),
        (
            lambda: credit.levels([{"source": "steps", "span": "step"}])(outcomes()),
            "needs the signal 'steps'",
        ),
    ],
)
def test_inputs_that_are_missing_or_do_not_fit(run, message):
    with pytest.raises(DataError, match=message):
        run()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: credit.grpo(scale="std"), "scale must be one of group, batch, none; got 'std'"),
        (lambda: credit.grpo(singleton="drop"), "singleton must be one of raw, zero"),
        (lambda: credit.grpo(eps=-1.0), "eps must be a number, 0 or more; got -1.0"),
        (lambda: credit.grpo(eps="1e-6"), "eps must be a number"),
        (lambda: credit.grpo(eps=nan), "eps must be a number"),
        (lambda: credit.grpo(ddof=-1), "ddof must be a number"),
        (lambda: credit.pass_at_k(scale="batch"), "pass_at_k: scale must be group or none"),
        (lambda: credit.pass_at_k(eps=None), "eps must be a number"),
        (lambda: credit.reinforce_pp(eps="x"), "eps must be a number"),
        (lambda: credit.reinforce_pp(gamma=1.5), r"gamma must be a number in \[0, 1\], got 1.5"),
        (lambda: credit.gae(lam="0.9"), r"lam must be a number in \[0, 1\], got '0.9'"),
        (lambda: credit.gae(gamma=nan), "gamma must be a number"),
        (lambda: credit.outcome_and_steps(weight="2"), "weight of 'steps' must be a finite number"),
        (lambda: credit.outcome_and_steps(pool=("prompts",)), "unknown group key 'prompts' .valid: prompt"),
        (lambda: credit.Credit([]), "at least one level"),
        (lambda: credit.levels([]), "at least one level"),
        (lambda: credit.levels(["outcome"]), "levels.0: expected a mapping with at least the field 'source'"),
        (lambda: credit.levels([{"source": "a"}, {"span": "step"}]), "levels.1: expected a mapping"),
        (
            lambda: credit.levels([{"source": "a", "wieght": 1}]),
            "levels.0.wieght: unknown field; did you mean 'weight'",
        ),
        (
            lambda: credit.levels([{"source": "a", "weight": nan}]),
            "levels.0: the weight of 'a' must be a finite",
        ),
        (
            lambda: credit.levels([{"source": "a", "baseline": "meen"}]),
            "levels.0.baseline: unknown name 'meen'.*'mean'",
        ),
        (lambda: credit.levels([{"source": "a", "baseline": 3}]), "levels.0.baseline: unknown name 3"),
        (lambda: credit.levels([{"source": "a", "baseline": None}]), "levels.0.baseline: unknown name None"),
        (
            lambda: credit.levels([{"source": "a", "baseline": {"use": "mean", "eps": 1}}]),
            "levels.0.baseline.eps: unknown field",
        ),
        (
            lambda: credit.levels([{"source": "a", "baseline": {"use": "mean", "singleton": "drop"}}]),
            "levels.0.baseline: singleton must be",
        ),
        (
            lambda: credit.levels([{"source": "a", "backup": {"use": "reward_to_go", "gamma": 2}}]),
            "levels.0.backup: gamma must be",
        ),
        (
            lambda: credit.levels([{"source": "a", "group": ["prompt", "turn"]}]),
            "levels.0: unknown group key 'turn'",
        ),
        (lambda: credit.levels([{"source": "a", "group": None}]), "levels.0: "),
        (
            lambda: credit.levels([{"source": "a", "group": []}]),
            "levels.0: a grouping needs at least one key",
        ),
    ],
)
def test_parameters_that_mean_nothing(build, message):
    with pytest.raises(RecipeError, match=message):
        build()


def test_a_large_batch_of_every_kind_of_row_runs_through_every_method():
    rng = np.random.default_rng(3)
    rollouts = make(rng.integers(0, 40, 300), rng.integers(0, 50, 300), seed=4, missing=0.1)
    for name, method in METHODS.items():
        advantage, reports = method.explain(rollouts)
        assert np.isfinite(advantage.values).all(), name
        assert all(np.isfinite(list(report.values())).all() for report in reports.values()), name
    assert set(METHODS) == set(OUTCOME) | set(DENSE)
