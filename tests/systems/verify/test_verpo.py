"""VeRPO: density weights and the two-level advantage."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon import verify
from guerdon.credit import Credit, Level, Mean, by
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.sandbox import why_not
from guerdon.scoring import SampleReward, Verdict, missing
from guerdon.systems.verify.verpo import verpo
from guerdon.verify.unit_test_weights import crowding, density_weights, pass_rates

P = [[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]


def single(passed, group=None) -> Rollouts:
    n = len(passed)
    group = np.zeros(n, int) if group is None else group
    return Rollouts(completion=["x"] * n, group=group, meta=[{"passed": p} for p in passed])


def test_worked_example():
    rates = pass_rates(np.array(P))
    np.testing.assert_allclose(rates, [1, 1, 0.6667, 0.3333], atol=5e-5)
    np.testing.assert_allclose(crowding(rates), [2.0039, 2.0039, 1.0116, 1.0039], atol=5e-5)
    weights = density_weights(rates)
    np.testing.assert_allclose(weights, [0.0675, 0.0675, 0.2606, 0.5114], atol=5e-5)
    total, parts = verpo(gamma=1.0).explain(single(P))
    np.testing.assert_allclose(parts["turn"].values, [0.3956, 0.1351, 0.9071], atol=5e-5)
    np.testing.assert_allclose(parts["turn_advantage"].values, [-0.0836, -0.3442, 0.4278], atol=5e-5)
    np.testing.assert_allclose(parts["trajectory_advantage"].values, [-0.3333, -0.3333, 0.6667], atol=5e-5)
    np.testing.assert_allclose(total.values, [-0.4170, -0.6775, 1.0945], atol=5e-5)
    assert (
        parts["turn"].values.mean()
        == pytest.approx(float(weights @ rates))
        == pytest.approx(0.4793, abs=5e-5)
    )


def several_turns() -> Rollouts:
    """Three attempts of two, one and three turns."""
    passed = [[[1, 0], [1, 1]], [[0, 0]], [[1, 0], [0, 1], [1, 1]]]
    ends = [[2, 4], [3], [1, 2, 5]]
    return Rollouts(
        completion=["abcd", "abc", "abcde"],
        group=[0, 0, 0],
        meta=[{"passed": p} for p in passed],
        partitions={"turn": Ragged.from_lists(ends, np.int64)},
    )


def test_turns_share_one_group_and_late_success_is_discounted():
    total, parts = verpo(gamma=0.9).explain(several_turns())
    assert total.level == "turn" and parts["trajectory"].level == "rollout"
    np.testing.assert_allclose(parts["trajectory"].values, [0.81, 0.0, 0.729])
    rates = np.array([4 / 6, 3 / 6])
    np.testing.assert_allclose(parts["turn"].values[0], density_weights(rates)[0])
    assert parts["turn_advantage"].values.sum() == pytest.approx(0)


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 3), st.floats(0.01, 1), st.floats(-2, 2), st.floats(0.1, 1))
def test_is_the_sum_of_two_mean_centred_credit_levels(alpha, sigma, beta, gamma):
    rollouts = several_turns()
    total, parts = verpo(alpha=alpha, sigma=sigma, beta=beta, gamma=gamma).explain(rollouts)
    credit = Credit(
        [
            Level("trajectory", span="rollout", group=by("prompt"), baseline=Mean()),
            Level("turn", span="turn", group=by("prompt"), baseline=Mean(), weight=beta),
        ]
    )
    np.testing.assert_allclose(credit(rollouts, parts).values, total.values, atol=1e-12)


def test_a_group_of_one_has_no_advantage_and_a_missing_row_does_not_count():
    total, _ = verpo().explain(single([[1, 0]]))
    assert total.values.tolist() == [0.0]
    whole = verpo()(single(P)).values
    some, parts = verpo().explain(single([*P, None, [1, 2, 0, 0], []]))
    np.testing.assert_allclose(some.values[:3], whole)
    assert np.isnan(some.values[3:]).all() and set(some.causes) == {3, 4, 5} == set(parts["turn"].causes)


def test_groups_do_not_mix_and_unequal_tests_are_a_cause():
    both = verpo()(single([*P, [1, 0], [1, 1]], group=[7, 7, 7, 2, 2])).values
    np.testing.assert_allclose(both[:3], verpo()(single(P)).values)
    np.testing.assert_allclose(both[3:], verpo()(single([[1, 0], [1, 1]])).values)
    unequal = verpo()(single([[1, 0], [1, 1, 1]]))
    assert np.isnan(unequal.values).all() and "different numbers of tests" in unequal.causes[0]


def test_tests_that_all_or_none_pass_do_not_tell_attempts_apart():
    total = verpo()(single([[1, 0, 1], [1, 0, 0]])).values
    alone = verpo(sigma=1e-9)(single([[1], [0]])).values
    assert total[0] > total[1] and alone[0] > alone[1]
    assert np.allclose(verpo()(single([[1, 0], [1, 0]])).values, 0)


class Ran(SampleReward):
    """Stands for a reward that runs programs: the completion says which tests pass."""

    name = "ran"

    def score(self, row):
        if row.completion == "lost":
            return missing("its worker was lost")
        tests = [SimpleNamespace(passed=mark == "+") for mark in row.completion]
        return Verdict(float(all(t.passed for t in tests)), None, {"tests": tests})


def test_tests_may_be_run_by_a_reward():
    rollouts = Rollouts(completion=["+++-", "++--", "++++", "lost", ""], group=[0] * 5)
    total = verpo(gamma=1.0, tests=Ran())(rollouts)
    by_hand = verpo(gamma=1.0)(single([*P, None, [0, 0, 0, 0]]))
    np.testing.assert_allclose(total.values, by_hand.values)
    assert total.causes[3] == "no pass matrix: its worker was lost" and not np.isnan(total.values[4])
    nothing = verpo(tests=Ran())(Rollouts(completion=["", ""], group=[0, 0]))
    assert np.isnan(nothing.values).all() and nothing.causes


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "isolated")
def test_programs_run_in_the_sandbox():
    asserts = ["assert f(0) == 1", "assert f(1) == 2", "assert f(2) == 4", "assert f(3) == 8"]
    programs = [
        "def f(x): return {0: 1, 1: 2, 2: 4}.get(x)",
        "def f(x): return 1 + x",
        "```python\ndef f(x): return 2**x\n```",
        "def f(x): while",
        "import os\nos._exit(0)",
    ]
    ran = verpo(gamma=1.0, tests=verify.code(stop=False))(
        Rollouts(completion=programs, group=[0] * 5, reference=[asserts] * 5)
    )
    np.testing.assert_allclose(ran.values, verpo(gamma=1.0)(single([*P, [0] * 4, [0] * 4])).values)
