"""Worked examples: TP-GRPO on thoughts, VSRM, MRT, PAV, SPA, ArCHer."""

from __future__ import annotations

import numpy as np
import pytest
from cases import close, credit, read, record

from guerdon.credit.potentials import lookahead_fill
from guerdon.credit.thoughts import run_ends
from guerdon.data import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build
from guerdon.systems.credit import archer, mrt, pav

# -- tp-grpo-thought ---------------------------------------------------------------------------------------

THOUGHT = [
    record(5, outcome=1, label=[1, -1, 1, -1, 1]),
    record(3, outcome=1, label=[1, 1, 1]),
    record(4, outcome=-1, label=[0, -1, 0, -1]),
    record(2, outcome=-1, label=[-1, -1]),
]
WON, PAID = 0.866025, 0.5


def test_thoughts_of_right_and_wrong_solutions():
    got = credit("tp-grpo-thought", THOUGHT)
    close(got, [[WON, WON - PAID, WON, WON - PAID, WON], [WON] * 3, [0, -WON, 0, -WON], [-WON] * 2], digits=5)
    assert got[0][1] == pytest.approx(0.366025, abs=1e-6)


def test_process_reward_grows_with_the_accuracy():
    got = credit("tp-grpo-thought", THOUGHT, alpha=0.5)
    assert got[0][0] - got[0][1] == pytest.approx(0.25)
    all_right = [record(3, outcome=1, label=[1, -1, 1])] * 2
    close(credit("tp-grpo-thought", all_right), [[0, -1, 0]] * 2)
    close(credit("tp-grpo-thought", all_right, alpha=0.0), [[0, 0, 0]] * 2)
    close(credit("tp-grpo-thought", [record(3, outcome=-1, label=[0, -1, -1])] * 2), [[0, 0, 0]] * 2)


def test_thoughts_merge():
    ends, last = run_ends(np.array([1, 1, -1, -1, -1, 1.0]), np.array([0, 6]))
    assert np.flatnonzero(ends).tolist() == [1, 4, 5] and np.flatnonzero(last).tolist() == [5]
    long = [record(7, outcome=1, label=[1, 1, -1, -1, -1, 1, 1]), record(1, outcome=-1, label=[-1])]
    a = credit("tp-grpo-thought", long)[0]
    o = a[0]
    close([a], [[o, o, o - 0.5, o - 0.5, o - 0.5, o, o]])


# -- vsrm --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acc", "expected"),
    [
        ([0.2, 0.2, 0.2, 0.6, 0.4], [0.196, 0.28, 0.4, -0.2]),
        ([0.2, 0.6, 0.6, 0.6], [0.4, 0, 0]),
        ([0.5] * 7, [0] * 6),
        ([0.2] * 5 + [0.7], [0.5 * 0.7**4, 0.5 * 0.7**3, 0.5 * 0.49, 0.35, 0.5]),
        ([0.2] * 6 + [0.7], [0, 0.5 * 0.7**4, 0.5 * 0.7**3, 0.5 * 0.49, 0.35, 0.5]),
    ],
)
def test_vsrm_look_ahead(acc, expected):
    got = lookahead_fill(np.array(acc), np.array([0, len(acc)]))
    np.testing.assert_allclose(got, [*expected, np.nan], atol=1e-12)
    records = [record(len(acc) + 1, forced_acc=[*acc, None], outcome=1)]
    close(credit("vsrm", records), [[0, *expected, 1]])
    close(credit("vsrm", records, place="cut"), [[*expected, 0, 1]])
    close(credit("vsrm", records, variant="release"), [[*expected, 0, 1]])


def test_vsrm_small_drift_is_paid_at_the_end_of_the_values():
    acc = np.array([0.2, 0.200004, 0.200008])
    got = lookahead_fill(acc, np.array([0, 3]))
    np.testing.assert_allclose(got[:2], [0.7 * 8e-6, 4e-6], rtol=1e-6)


def test_vsrm_places():
    records = [record([2, 2, 3, 1], forced_acc=[0.2, 0.6, 0.5, None], outcome=0.75)]
    close(credit("vsrm", records), [[0, 0, 0.4, 0.4, -0.1, -0.1, -0.1, 0.75]])
    close(credit("vsrm", records, place="cut"), [[0, 0.4, 0, -0.1, 0, 0, 0, 0.75]])
    close(credit("vsrm", records, returns="sum"), [[1.05] * 4 + [0.65] * 3 + [0.75]])
    with_critic = [records[0] | {"values": [0.5] * 8}]
    got = credit("vsrm", with_critic, place="cut", returns="gae")
    close(got, [[x - 0.5 for x in (1.05, 1.05, 0.65, 0.65, 0.75, 0.75, 0.75, 0.75)]])


def test_vsrm_telescopes_without_look_ahead():
    records = [record(6, forced_acc=[0.2, 0.2, 0.2, 0.6, 0.4, None], outcome=1)]
    plain = credit("vsrm", records, lookahead=0)
    assert sum(plain[0][:5]) == pytest.approx(0.2)
    build_plain = build("credit", {"use": "vsrm", "lookahead": 0}).explain(read(records))[1]
    assert build_plain["forced_acc"]["residual"] == pytest.approx(0, abs=1e-12)
    filled = build("credit", {"use": "vsrm"}).explain(read(records))[1]
    assert filled["forced_acc"]["residual"] == pytest.approx(0.476)
    with pytest.raises(RecipeError, match="decay must be a number in"):
        credit("vsrm", records, decay=1.5)
    with pytest.raises(RecipeError, match="lookahead must be a whole number"):
        credit("vsrm", records, lookahead=-1)


# -- mrt ---------------------------------------------------------------------------------------------------


def test_mrt_progress_and_termination():
    blocks = [record([2, 1, 1], j=[0.3, 0.3, 0.6], j_start=0.1, outcome=0)]
    close(credit("mrt", blocks), [[0.2, 0.2, 0, 0.3]])
    report = build("credit", {"use": "mrt"}).explain(read(blocks))[1]["j"]
    assert report["residual"] == pytest.approx(0, abs=1e-12) and report["regret"] == pytest.approx(1.8)
    close(credit("mrt", [record(4, j=[0.1, 0.3, 0.3, 0.6], outcome=0)]), [[0, 0.2, 0, 0.3]])
    for outcome, a in ((1, 0.6), (0, -0.4)):
        records = [record(2, outcome=outcome, termination=0.4)]
        close(credit("mrt", records, alpha=0.0), [[a, a]])
    close(credit("mrt", blocks, returns="sum"), [[0.5, 0.5, 0.3, 0.3]])
    both = [record(2, outcome=1, termination=0.4, j=[0.5, 0.7], j_start=0.4)]
    close(credit("mrt", both, alpha=2.0), [[0.6 + 0.2, 0.6 + 0.4]])


def test_mrt_regret():
    rollouts = read([record(4, j=[0.1, 0.3, 0.3, 0.6], outcome=1)])
    j = rollouts.signals["j"]
    assert mrt.cumulative_regret(rollouts, j).values[0] == pytest.approx(2.7)
    assert mrt.cumulative_regret(rollouts, j, normalise=True).values[0] == pytest.approx(0.675)


# -- pav ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "a"), [(4, 0.186806), (1, 0.15), (32, 0.000100)])
def test_pav_prover(k, a):
    records = [record([2], q_root=0.25, q_policy=[0.40], outcome=0)]
    close(credit("pav", records, K=k), [[a, a]])


def test_pav_values():
    best = pav.BestOf(4)
    np.testing.assert_allclose(best(np.array([0.25, 0.40])), [0.683594, 0.870400], atol=5e-7)
    assert pav.effective_reward(0.25, 0.40, 0.5) == pytest.approx(0.493403, abs=5e-7)
    records = [record([1, 2], q_root=0.25, q_policy=[0.40, 0.25], outcome=1)]
    close(credit("pav", records, alpha=5.0), [[5 * 0.186806, *[1 - 5 * 0.186806] * 2]], digits=5)
    close(credit("pav", records, alpha=5.0, returns="sum"), [[1.0, *[1 - 5 * 0.186806] * 2]], digits=5)
    effective = [[1 + 5 * 0.186806, *[1 - 5 * 0.186806] * 2]]
    close(credit("pav", records, alpha=5.0, returns="effective"), effective, digits=5)
    without_root = [record([1, 2], q_policy=[0.40, 0.25], outcome=1)]
    close(credit("pav", without_root), [[0, *[1 - 0.186806] * 2]])
    with pytest.raises(RecipeError, match="K must be a number, 1 or more"):
        pav.pav(K=0)


def test_pav_natural_policy_gradient_step():
    """One state, three actions: with the prover's advantages the step gains more."""
    q = np.array([0.2, 0.5, 0.8])
    a = np.array([-0.166667, -0.066667, 0.233333])
    for alpha, value in ((0, 0.559117), (1, 0.598939)):
        new = np.exp(q + alpha * a)
        assert new / new.sum() @ q == pytest.approx(value, abs=1e-6)


# -- spa-rl ------------------------------------------------------------------------------------------------

SPA = {"contribution": [0.2, 0.5, 0.1], "grounded": [1, 0, 1], "outcome": 1}


def test_spa_fused_rewards():
    close(credit("spa-rl", [record(3, **SPA)]), [[0.7, 0.5, 0.6]])
    close(credit("spa-rl", [record([2, 2, 1], **SPA)]), [[0, 0.7, 0, 0.5, 0.6]])
    close(credit("spa-rl", [record([2, 2, 1], **SPA)], returns="sum"), [[1.8, 1.8, 1.1, 1.1, 0.6]])
    report = build("credit", {"use": "spa-rl"}).explain(read([record(3, **SPA)]))[1]
    assert next(iter(report.values()))["residual"] == pytest.approx(0.2)


def test_spa_penalty_and_critic():
    columns = {"logprobs": [-1.0, -1.0, -1.0], "ref_logprobs": [-2.0, -1.0, -0.5]}
    got = credit("spa-rl", [record(3, **SPA, **columns)], kl_coef=0.1)
    close(got, [[0.7 - 0.1, 0.5, 0.6 + 0.05]])
    got = credit("spa-rl", [record(3, **SPA, **columns, values=[0.5] * 3)], kl_coef=0.1)
    close(got, [[1.25, 0.65, 0.15]])
    with pytest.raises(DataError, match="spa-rl needs the column 'logprobs'"):
        credit("spa-rl", [record(3, **SPA)], kl_coef=0.1)


def test_spa_as_released():
    records = [record(3, **SPA), record(2, contribution=[0.1, 0.1], grounded=[0, 1], outcome=0)]
    close(credit("spa-rl", records, variant="loo_outcome"), [[1.5, 1.0, 1.5], [-1.0, -0.5]])
    close(credit("spa-rl", records, variant="remaining_steps"), [[1.4, 0.5, 0], [0.1, 0]])
    close(credit("spa-rl", records, variant="release"), [[3.0, 1.0, 0], [-1.0, 0]])


# -- archer ------------------------------------------------------------------------------------------------

TALK = record(
    [2, 1],
    level="turn",
    q1=[0.7, 0.4],
    q2=[0.6, 0.5],
    v1=[0.5, 0.3],
    v2=[0.55, 0.2],
    reward=[0, 1],
    target_v1=[0.3, 0.8],
    target_v2=[0.2, 0.7],
)


def test_archer_advantage():
    close(credit("archer", [TALK]), [[0.1, 0.1, 0.2]])
    close(credit("archer", [TALK], head=1), [[0.2, 0.2, 0.1]])
    close(credit("archer", [TALK], head="mean"), [[0.125, 0.125, 0.2]])
    got = credit("archer", [TALK | {"values": [0.05, 0.1, 0.3]}], token_baseline=True)
    close(got, [[0.05, 0.0, -0.1]])


def test_archer_targets():
    rollouts = read([TALK])
    first, second = archer.q_targets(rollouts)
    np.testing.assert_allclose(first.values, [0.76, 1.0])
    np.testing.assert_allclose(second.values, [0.95 * 0.7, 1.0])
    report = build("credit", {"use": "archer"}).explain(rollouts)[1]
    gaps = np.array([0.7 - 0.76, 0.4 - 1, 0.6 - 0.665, 0.5 - 1])
    assert next(iter(report.values()))["td_error"] == pytest.approx((gaps**2).mean())
    cut = read([TALK | {"truncated": True}])
    beyond = {f"next_target_v{i}": Signal([0.5], "rollout") for i in (1, 2)}
    first, _ = archer.q_targets(cut, cut.signals | beyond, bootstrap=True)
    np.testing.assert_allclose(first.values, [0.76, 1.475])
    target = np.zeros(1)
    for expected in (0.1, 0.19, 0.271):
        target = archer.polyak(target, np.ones(1))
        assert target[0] == pytest.approx(expected)
