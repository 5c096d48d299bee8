"""Worked examples: PORTool, MatchTIR, ProRAG, IGPO, CAPO."""

from __future__ import annotations

import numpy as np
import pytest
from cases import close, credit, read, record

from guerdon.credit import View
from guerdon.credit.trees import NodeRewards
from guerdon.credit.votes import voted
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build
from guerdon.systems.credit import _call_matching as matching
from guerdon.systems.credit.matchtir import turn_rewards, word_f1

# -- portool -----------------------------------------------------------------------------------------------

A, A1, A2, B, B1, B2 = range(6)
TREE = [
    record(2, outcome=1, call_ok=[1, 0], node=[A, A1]),
    record(2, outcome=0, call_ok=[1, -1], node=[A, A2]),
    record(3, outcome=1, call_ok=[0, 1, 1], node=[B, B1, B2]),
]


def test_portool_values_of_nodes():
    rollouts = read(TREE)
    view = View(rollouts, rollouts.signals, "rollout", "portool")
    value = NodeRewards(0.95, 0.0)(view).values
    np.testing.assert_allclose(value, [0.475, 1, 0.475, 0, 0.9025, 0.95, 1])
    np.testing.assert_allclose(NodeRewards(0.95, 0.0, "max")(view).values[:3], [0.95, 1, 0.95])
    got = NodeRewards(0.95, 0.1)(view).values
    np.testing.assert_allclose(got, value + 0.1 * np.array([1, 0, 1, -1, 0, 1, 1]))


def test_portool_forks():
    got = credit("portool", TREE, eta=0.0, w_fork=1.0, w_traj=0.0)
    close(got, [[-0.707104, 0.707106], [-0.707104, -0.707106], [0.707104, 0, 0]])
    swapped = credit("portool", [TREE[1], TREE[0], TREE[2]], eta=0.0, w_fork=1.0, w_traj=0.0)
    close([swapped[1], swapped[0], swapped[2]], got)


def test_portool_rollouts_and_shared_steps():
    fork = credit("portool", TREE, w_traj=0.0)
    reward = np.array([1 + 0.1 * 0.5, 0.0, 1 + 0.1 * 2 / 3])
    z = 0.5 * (reward - reward.mean()) / (reward.std(ddof=1) + 1e-6)
    both = (z[0] + z[1]) / 2
    rest = [[both, z[0]], [both, z[1]], [z[2]] * 3]
    add = lambda x, y: [[a + b for a, b in zip(r, s, strict=True)] for r, s in zip(x, y, strict=True)]  # noqa: E731
    mean = credit("portool", TREE)
    close(mean, add(fork, rest))
    close(credit("portool", TREE, shared="own"), add(fork, [[z[0]] * 2, [z[1]] * 2, [z[2]] * 3]))
    once = [[mean[0][0] / 2, mean[0][1]], [mean[1][0] / 2, mean[1][1]], mean[2]]
    close(credit("portool", TREE, shared="once"), once)


def test_portool_counts_a_shared_sibling_once():
    """Two leaves below a, one below b: a and b are one sibling each, so the deviations are opposite."""
    got = credit("portool", TREE, w_traj=0.0)
    assert got[0][0] == pytest.approx(-got[2][0])
    close(credit("portool", TREE[2:]), [[0, 0, 0]])


# -- matchtir ----------------------------------------------------------------------------------------------


def test_matchtir_similarity():
    gold = {"name": "Find", "parameters": {"a": 1, "c": 3}}
    assert matching.call_similarity(gold, {"name": "find", "arguments": {"a": 1, "b": 2}}) == pytest.approx(
        0.583333, abs=5e-7
    )
    assert matching.call_similarity(gold, {"name": "other", "arguments": {"a": 1, "c": 3}}) == 0
    assert matching.call_similarity(gold, {"name": "find", "arguments": {"a": 1, "c": 3}}) == 1
    assert matching.call_similarity({"name": "f"}, {"name": "f"}) == 1
    assert matching.call_similarity(gold, {"name": "find", "arguments": {"a": "1", "c": 3}}) == 0.75


def test_matchtir_matching():
    scores = np.array([[0.9, 0.8], [0.85, 0.1]])
    assert matching.matched_scores(scores, "greedy").sum() == pytest.approx(1.0)
    assert matching.matched_scores(scores).sum() == pytest.approx(1.65)
    plan = matching.sinkhorn(-scores, 0.1)
    np.testing.assert_allclose(plan, [[0.018663, 0.481337], [0.481337, 0.018663]], atol=5e-7)
    np.testing.assert_allclose(matching.matched_scores(scores, "ot"), [0.401866, 0.411002], atol=5e-7)
    assert matching.matched_scores(np.zeros((2, 0)), "ot").tolist() == [0, 0]
    with pytest.raises(RecipeError, match="reg must be above 0"):
        matching.sinkhorn(-scores, 0.0)


TURNS = [
    record([2, 1], level="turn", turn_reward=[0.5, 1]),
    record([1, 1], level="turn", turn_reward=[0, 0.2]),
    record([1, 2, 1], level="turn", turn_reward=[1, 0, 0.5]),
]
FUSED = [[0.575577, 0.838436], [-1.154695, -1.004942], [0.579119, 0.166506, 0.538674]]


def test_matchtir_two_levels():
    got = credit("matchtir", TURNS)
    close([[got[0][0], got[0][2]], got[1], [got[2][0], got[2][1], got[2][3]]], FUSED)
    assert got[0][0] == got[0][1] and got[2][1] == got[2][2]
    zero = credit("matchtir", TURNS, singleton="zero")
    assert zero[2][3] == pytest.approx(0.538674 - 0.25, abs=1e-6)


def test_matchtir_gives_tool_text_nothing():
    masked = [
        record([3, 1], level="turn", turn_reward=[0.5, 1], acted=[1, 1, 0, 1]),
        record([2, 1], level="turn", turn_reward=[0, 0.2], acted=[1, 0, 1]),
        record([1, 2, 1], level="turn", turn_reward=[1, 0, 0.5]),
    ]
    got = credit("matchtir", masked)
    close([got[0], got[1]], [[FUSED[0][0]] * 2 + [0, FUSED[0][1]], [FUSED[1][0], 0, FUSED[1][1]]])


CALLS = [[{"name": "f", "arguments": {"a": 1}}, {"name": "f", "arguments": {"a": 2}}], [], []]


def test_matchtir_rewards_from_calls():
    wanted = [{"name": "f", "parameters": {"a": 2}}]
    assert turn_rewards(CALLS, wanted, "The cat!", "the dog cat") == pytest.approx([0.5, 0.0, 0.8])
    assert turn_rewards(CALLS, [], None, None, "ot") == [0, 0, 0]
    answering = [CALLS[0], CALLS[0]]
    assert turn_rewards(answering, wanted, "x", "y")[1] == 0  # the answer's own calls are not matched
    assert word_f1("don't", "don t") == 1.0 and word_f1("", "") == 0.0
    meta = {"calls": CALLS, "answer": "the cat"}
    reference = {"calls": wanted, "answer": "the dog cat"}
    made = [
        record(3, level="turn", meta=meta, reference=reference),
        record(3, level="turn", meta=meta | {"answer": "z"}, reference=reference),
    ]
    given = [
        record(3, level="turn", turn_reward=[0.5, 0, 0.8]),
        record(3, level="turn", turn_reward=[0.5, 0, 0]),
    ]
    close(credit("matchtir", made), credit("matchtir", given))
    with pytest.raises(DataError, match=r"row 1 has 3 turns, but `meta.calls` has 2 entries"):
        credit("matchtir", [made[0], record(3, level="turn", meta={"calls": [[], []]}, reference=reference)])
    with pytest.raises(DataError, match=r"needs the signal 'turn_reward' at level 'turn'"):
        credit("matchtir", [record(3, level="turn", outcome=1)])


# -- prorag ------------------------------------------------------------------------------------------------


def test_prorag_pools_tokens():
    records = [record([2, 1], outcome=3, step_score=[1.9, 1.5]), record([2], outcome=1, step_score=[1.2])]
    got = credit("prorag", records)
    close(got, [[1.051348, 1.051348, 0.668802], [-1.032221, -1.032221]])
    outcome_only = credit("prorag", records, weight=0.0)
    close(outcome_only, [[0.707057] * 3, [-0.707057] * 2])
    z = credit("prorag", records, weight=1.0)
    close(
        [[a - b for a, b in zip(x, y, strict=True)] for x, y in zip(z, outcome_only, strict=True)],
        [[1.147638, 1.147638, -0.127515], [-1.083880, -1.083880]],
    )
    by_step = np.array([1.9, 1.5, 1.2])
    by_step = 0.3 * (by_step - by_step.mean()) / by_step.std()
    got = credit("prorag", records, pool="step")
    close(got, [[0.707057 + by_step[0]] * 2 + [0.707057 + by_step[1]], [-0.707057 + by_step[2]] * 2], 5)


def test_prorag_leaves_retrieved_text_out():
    records = [
        record([4, 1], outcome=3, step_score=[1.9, 1.5], acted=[1, 1, 0, 0, 1]),
        record([2], outcome=1, step_score=[1.2]),
    ]
    got = credit("prorag", records)
    close(got, [[1.051348, 1.051348, 0, 0, 0.668802], [-1.032221, -1.032221]])


# -- igpo --------------------------------------------------------------------------------------------------

ANSWERS = [
    record(3, level="turn", answer_logprob=[-2.3, -1.6, -0.7], outcome=1),
    record(3, level="turn", answer_logprob=[-2.3, -2.0, -2.1], outcome=0),
]


def test_igpo_returns():
    close(credit("igpo", ANSWERS), [[2.285559, 1.721826, 0.707106], [-2.285559, -1.947319, -0.707106]])
    close(
        credit("igpo", ANSWERS, gamma=0.0),
        [[0.563733, 1.014720, 0.707106], [-0.338240, -1.240213, -0.707106]],
    )
    report = build("credit", {"use": "igpo"}).explain(read(ANSWERS))[1]["answer_logprob"]
    assert report["residual"] == pytest.approx(0, abs=1e-12) and report["missing"] == 2


def test_igpo_probabilities():
    from guerdon.credit.potentials import gains

    np.testing.assert_allclose(
        gains(np.exp([-2.3, -1.6, -0.7]), np.array([0, 3])), [0.101638, 0.294689, np.nan], atol=5e-7
    )
    g = np.array([0.101638, 0.294689, np.exp(-2.0) - np.exp(-2.3), np.exp(-2.1) - np.exp(-2.0)])
    z = (g - g.mean()) / (g.std(ddof=1) + 1e-6)
    got = credit("igpo", ANSWERS, gain="prob", gamma=0.0)
    close([got[0][:2], got[1][:2]], [z[:2].tolist(), z[2:].tolist()], digits=5)
    close(credit("igpo", ANSWERS, variant="release"), credit("igpo", ANSWERS, gain="prob"))


def test_igpo_one_turn_has_its_outcome_only():
    records = [*ANSWERS, record(1, level="turn", answer_logprob=[-1.0], outcome=0.5)]
    got = credit("igpo", records)
    z = (np.array([1, 0, 0.5]) - 0.5) / 0.5
    assert got[2][0] == pytest.approx(z[2]) and got[0][2] == pytest.approx(z[0], abs=1e-5)


# -- capo --------------------------------------------------------------------------------------------------


def critiques(*votes):
    """Votes as step signals: each names the steps it finds wrong."""
    return {f"critique_{i + 1}": [float(k in vote) for k in range(4)] for i, vote in enumerate(votes)}


def test_capo_pooled_over_tokens():
    records = [
        record([2, 2], outcome=1, critique_1=[0, 1]),
        record([1, 2], outcome=0, critique_1=[1, 0]),
    ]
    close(
        credit("capo", records),
        [[1.155492, 1.155492, 0.256776, 0.256776], [-1.540656, -0.641940, -0.641940]],
    )


@pytest.mark.parametrize(
    ("vote", "wrong"),
    [
        ("strict", {1, 3}),
        ("majority", {1, 2, 3}),
        ("intersection", {3}),
        ("union", {1, 2, 3}),
        ("single", {1, 3}),
    ],
)
def test_capo_votes(vote, wrong):
    votes = critiques({1, 3}, {1, 2, 3}, {1, 3}, {2, 3})
    assert set(np.flatnonzero(voted(np.array(list(votes.values())), vote))) == wrong
    records = [record(4, outcome=1, **votes), record(4, outcome=0, **critiques(*[set()] * 4))]
    reward = np.array([2.0 - (k in wrong) for k in range(4)] + [0.0] * 4)
    expected = (reward - reward.mean()) / (reward.std(ddof=1) + 1e-6)
    got = np.concatenate(credit("capo", records, vote=vote))
    np.testing.assert_allclose(got, expected, atol=1e-9)


def test_capo_average_and_missing_votes():
    assert voted(np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, np.nan]]), "average").tolist()[0] == 0.5
    assert np.isnan(voted(np.array([[1.0, np.nan]]), "union")[1])
    with pytest.raises(DataError, match=r"capo needs the signals critique_1, critique_2"):
        credit("capo", [record(2, outcome=1)])
