"""Worked examples of the shaped rewards, through the names that recipes and commands use."""

from __future__ import annotations

import math

import numpy as np
import pytest
from records import close, columns, credit, first, read, record, shaped

from guerdon.context import Context
from guerdon.data import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.registry import build
from guerdon.systems.shape import autothink, efficiency_steering, hybrid_multi_aspect, ppr_renorm, ton

# -- sophiavl-r1 -------------------------------------------------------------------------------------------

SOPHIA = columns(outcome=[1, 1, 0.3, 0], thinking=[0.4, 0.4, 0.9, 0.9])


def test_sophia_trust_and_reward():
    parts = shaped("sophiavl-r1", SOPHIA, T=1000, step=250)
    close(parts["trust"], [0.606531] * 4)
    close(parts["weight"], [0.141710] * 4)
    close(parts["reward"], [1.056684, 1.056684, 0.427539, 0.127539])


def test_sophia_reads_the_step_of_training():
    parts = shaped("sophiavl-r1", SOPHIA, Context(step=250), T=1000)
    close(parts["reward"], [1.056684, 1.056684, 0.427539, 0.127539])


def test_sophia_trusts_a_judge_that_prefers_right_answers():
    parts = shaped("sophiavl-r1", columns(outcome=[1, 0], thinking=[0.6, 0.45]), T=1000, step=0)
    close(parts["trust"], [1, 1])
    close(parts["weight"], [0.3, 0.3])
    late = shaped("sophiavl-r1", columns(outcome=[1, 0], thinking=[0.6, 0.45]), T=1000, step=500)
    close(late["reward"][:1], [1.109176])


def test_sophia_uniform_groups_and_release():
    assert shaped("sophiavl-r1", columns(outcome=[1, 0.95], thinking=[0.2, 0.9]))["reward"].tolist() == [
        1,
        0.95,
    ]
    assert shaped("sophiavl-r1", columns(outcome=[0, 0.1], thinking=[0.2, 0.9]))["reward"].tolist() == [
        0,
        0.1,
    ]
    released = shaped("sophiavl-r1", SOPHIA, variant="release", step=0)
    close(released["trust"], [math.exp(0.4 - 0.45)] * 4)  # the last answer is not judged
    assert released["reward"][3] == 0.0


def test_sophia_advantages():
    r = np.array([1.056684, 1.056684, 0.427539, 0.127539])
    close(first(credit("sophiavl-r1", SOPHIA, T=1000, step=250)), (r - r.mean()) / (r.std(ddof=1) + 1e-6), 5)


# -- clip-delta --------------------------------------------------------------------------------------------

PRM = [0.95, 0.9, 0.97, 0.6]


@pytest.mark.parametrize(
    ("parameters", "rewards", "returns"),
    [
        ({"delta": False}, [0, 0, 0, -0.3], [-0.3] * 4),
        ({"clip": False}, [0.05, -0.07, 0.97, 0], [0.95, 0.9, 0.97, 0]),
        ({"clip": False, "delta": "keep"}, [0.05, -0.07, 0.37, 0.6], [0.95, 0.9, 0.97, 0.6]),
        ({"delta": "keep"}, [0, 0, 0.3, -0.3], [0, 0, 0, -0.3]),
        ({}, [0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_clip_and_delta(parameters, rewards, returns):
    lost, won = [record(prm=PRM, outcome=0)], [record(prm=PRM, outcome=1)]
    close(shaped("clip-delta", lost, **parameters)["reward"], rewards)
    close(credit("clip-delta", lost, baseline="none", **parameters), [rewards])
    close(credit("clip-delta", lost, baseline="return", **parameters), [returns])
    close(credit("clip-delta", won, baseline="return", **parameters), [np.array(returns) + 1])
    half = shaped("clip-delta", won, alpha=0.5, **parameters)["reward"]
    close(half, 0.5 * np.array(rewards) + [0, 0, 0, 1])


def test_delta_of_one_step_is_nothing():
    assert shaped("clip-delta", [record(prm=[0.4], outcome=1)], clip=False)["reward"].tolist() == [1.0]
    assert shaped("clip-delta", [record(prm=[0.4], outcome=0)], clip=False, delta="keep")["reward"] == [0.4]


def test_a_critic_makes_clip_delta_gae():
    rows = [record(prm=PRM, outcome=1, values=[0.1, 0.2, 0.3, 0.4])]
    close(credit("clip-delta", rows, clip=False), [np.array([1.95, 1.9, 1.97, 1.0]) - [0.1, 0.2, 0.3, 0.4]])
    close(credit("clip-delta", rows, clip=False, baseline="none"), [[0.05, -0.07, 0.97, 1.0]])


# -- conciseness-reward ------------------------------------------------------------------------------------


def test_conciseness_multiplies_the_outcome():
    rows = columns(outcome=[1, 0], conciseness=[0.8, 0.8])
    parts = shaped("conciseness-reward", rows, alpha=0.5, s=0.6, difficulty=0.4)
    close(parts["reward"], [1.4, 0])
    default = shaped("conciseness-reward", rows, progress=0.25)
    close(default["reward"], [1 + 0.5 * 0.8 * (0.75 + 0.5), 0])
    follows = shaped("conciseness-reward", rows, Context(progress=0.25))
    assert follows["reward"].tolist() == default["reward"].tolist()
    off = shaped("conciseness-reward", rows, s=0.0, difficulty=0.0)
    assert off["reward"].tolist() == [1, 0]


def test_conciseness_variance_of_the_two_forms():
    k, p, mean_c, var_c = 0.5, 0.5, 0.55, 0.9**2 / 12
    square = var_c + mean_c**2
    product = p * (1 + 2 * k * mean_c + k * k * square) - (p * (1 + k * mean_c)) ** 2
    added = p * (1 - p) + k * k * var_c
    rng = np.random.default_rng(0)
    o, c = (rng.random(100_000) < p).astype(float), rng.uniform(0.1, 1, 100_000)
    shaping = build("shape", {"use": "conciseness-reward", "alpha": 1.0, "s": 0.5, "difficulty": 0.0})
    one = read([record(1, outcome=1, conciseness=1)]).select(np.zeros(100_000, int))
    signals = {"outcome": Signal(o, "rollout"), "conciseness": Signal(c, "rollout")}
    simulated = shaping.explain(one, signals=signals)["reward"].values.var()
    assert simulated == pytest.approx(product, rel=0.02)
    assert (o + k * c).var() == pytest.approx(added, rel=0.02)
    assert (simulated > (o + k * c).var()) == (product > added)


@pytest.mark.parametrize("bad", [{"s": 1.5}, {"s": -0.1}, {"progress": 2.0}, {"difficulty": -1}])
def test_conciseness_refuses_schedules_outside_the_unit(bad):
    with pytest.raises(RecipeError, match=next(iter(bad))):
        build("shape", {"use": "conciseness-reward", **bad})
    with pytest.raises(RecipeError, match=r"s must be a number in \[0, 1\]"):
        shaped("conciseness-reward", columns(outcome=[1], conciseness=[1]), s=lambda ctx: 1.2)


# -- ppr-renorm --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "o", "expected"), [(8, 1, 0.8), (8, 0, -0.2), (3, 1, 0.3), (3, 0, -0.7)])
def test_renorm_of_one_turn(p, o, expected):
    rows = [record(score=[p, None], max_score=[10, None], outcome=o)]
    close(shaped("ppr-renorm", rows)["reward"], [expected, o])


@pytest.mark.parametrize(("o", "expected"), [(0, [-0.333333, -0.4, 0]), (1, [0.666667, 0.6, 1])])
def test_renorm_of_a_rollout(o, expected):
    rows = [record(score=[4, 3, None], max_score=[6, 5, None], outcome=o)]
    close(shaped("ppr-renorm", rows)["reward"], expected)
    close(credit("ppr-renorm", rows), [expected])
    close(credit("ppr-renorm", rows, baseline="return"), [np.cumsum(expected[::-1])[::-1]], 5)


@pytest.mark.parametrize("judged", [(4, 0), (7, 6), (-1, 5), (None, 5), (3, None)])
def test_renorm_of_an_invalid_score(judged):
    for o in (0, 1):
        rows = [record(score=[judged[0], 3, None], max_score=[judged[1], 5, None], outcome=o)]
        parts = shaped("ppr-renorm", rows)
        close(parts["reward"], [o - 1, 0.6 + o - 1, o])
        assert np.isnan(parts["points"][0]) and parts["valid"] == [0.5]
        close(shaped("ppr-renorm", rows, invalid="drop")["reward"], [0, 0.6 + o - 1, o])
        assert np.isnan(shaped("ppr-renorm", rows, invalid="nan")["reward"][0])


def test_renorm_keeps_single_turns_and_text_of_the_environment():
    assert shaped("ppr-renorm", [record(score=[4], max_score=[6], outcome=1)])["reward"].tolist() == [1]
    rows = [record(score=[3, None, None], max_score=[5, None, None], outcome=1, acted=[1, 1, 0])]
    close(shaped("ppr-renorm", rows)["reward"], [0.6, 1, 0])
    centred = shaped(
        "ppr-renorm", [record(score=[3, None], max_score=[5, None], outcome=1)], centre_final=True
    )
    close(centred["reward"], [0.6, 0])
    assert np.isnan(ppr_renorm.points(np.array([1.0]), np.array([0.0])))


# -- hybrid-multi-aspect -----------------------------------------------------------------------------------


def test_harmo_length_penalty():
    rows = columns(accuracy=[0, 1, 1, 0], format=[0] * 4, length=[100, 300, 320, 80])
    parts = shaped("hybrid-multi-aspect", rows, p_max=0.5, tau=0.2)
    close(parts["penalty"], [-0.298387, 0, 0, -0.338710])
    close(parts["reward"], [-0.298387, 1, 1, -0.338710])
    wrong = columns(accuracy=[0] * 4, format=[0] * 4, length=[100, 300, 320, 80])
    for mode in ("wrong_short", "both"):
        assert shaped("hybrid-multi-aspect", wrong, mode=mode)["penalty"].tolist() == [0] * 4
    long = columns(accuracy=[1, 1, 0], format=[0] * 3, length=[100, 100, 300])
    assert shaped("hybrid-multi-aspect", long, mode="both")["penalty"].tolist() == [0, 0, -0.5]
    assert shaped("hybrid-multi-aspect", long)["penalty"].tolist() == [0, 0, 0]
    assert hybrid_multi_aspect.MODES


def test_harmo_subtracts_the_mean_only():
    rows = columns(accuracy=[1, 0, 0, 1], format=[0] * 4, length=[100] * 4)
    close(first(credit("hybrid-multi-aspect", rows)), [0.5, -0.5, -0.5, 0.5])


# -- transform-combine -------------------------------------------------------------------------------------


def test_log_sigmoid_centred():
    rows = columns(rm=[-2, 0, 3], meta=[{"r_ref": 0.0}] * 3)
    close(shaped("transform-combine", rows)["reward"], [-2.126928, -0.693147, -0.048587])
    close(first(credit("transform-combine", rows)), [-2.126928, -0.693147, -0.048587])
    step = 1e-5
    ahead = columns(rm=[-2 + step, step, 3 + step], meta=[{"r_ref": 0.0}] * 3)
    behind = columns(rm=[-2 - step, -step, 3 - step], meta=[{"r_ref": 0.0}] * 3)
    slope = shaped("transform-combine", ahead)["reward"] - shaped("transform-combine", behind)["reward"]
    close(slope / (2 * step), [0.880797, 0.5, 0.047426])


def test_balanced_rewards_win():
    ref = {"r_ref": {"helpful": 1.0, "harmless": -1.0}}
    rows = columns(helpful=[3, 1.5], harmless=[-2, -0.5], meta=[ref] * 2)
    close(shaped("transform-combine", rows)["reward"], [-1.440190, -0.948154])
    weighted = shaped("transform-combine", rows, weights={"helpful": 2.0})["reward"]
    close(weighted, 2 * shaped("transform-combine", rows)["u_helpful"])


def test_references_give_the_quantile():
    refs = [1.0, 2.0, 3.0, 6.0]
    rows = columns(rm=[3], meta=[{"ref_rewards": refs}])
    expected = 3 + 1.036433 * (np.std(refs, ddof=1) + 1e-5)
    close(shaped("transform-combine", rows)["ref_rm"], [expected], 5)
    close(shaped("transform-combine", rows, estimator="empirical")["ref_rm"], [np.quantile(refs, 0.85)])
    with pytest.raises(DataError, match="ref_rewards"):
        shaped("transform-combine", columns(rm=[3]))
    lone = columns(rm=[3, 3], meta=[{"ref_rewards": refs}, {}])
    for slug in ("transform-combine", "par"):
        found = build("shape", {"use": slug})(read(lone))
        assert np.isnan(found.values).tolist() == [False, True] and found.causes == {
            1: "no reference rewards"
        }


# -- par ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("r", "refs", "expected"),
    [(2, [1, 3], 0.5), (5, [1, 3], 0.931405), (0.7, [0.7], 0.5), (1.5, [0.5, 1.5, 2.5], 0.5)],
)
def test_par(r, refs, expected):
    rows = columns(rm=[r], meta=[{"ref_rewards": refs}])
    close(shaped("par", rows)["reward"], [expected])
    close(first(credit("par", rows)), [expected])


def test_par_is_steepest_at_the_reference():
    step = 1e-4
    rows = columns(rm=[1 + step, 1 - step], meta=[{"ref_rewards": [1.0]}] * 2)
    up, down = shaped("par", rows, k=2.0)["reward"]
    assert (up - down) / (2 * step) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("meanstd", [-1.069045, -0.534522, 0, 1.603567]),
        ("clip", [1.129171, 2, 3, 4.870829]),
        ("minmax", [0, 0.2, 0.4, 1]),
        ("none", [1, 2, 3, 6]),
    ],
)
def test_par_statistics_so_far(variant, expected):
    rows = columns(rm=[1, 2, 3, 6])
    close(shaped("par", rows, variant=variant)["reward"], expected)
    assert shaped("par", columns(rm=[2, 2]), variant="minmax")["reward"].tolist() == [0, 0]


def test_par_state_goes_on_where_it_stopped():
    one, two = read(columns(rm=[1, 2, 3, 6])), read(columns(rm=[4.0, 8.0]))
    whole = build("shape", {"use": "par", "variant": "meanstd"})
    whole(one)
    resumed = build("shape", {"use": "par", "variant": "meanstd"})
    resumed.load_state_dict(whole.state_dict())
    expected = whole(two).values
    assert resumed(two).values.tolist() == expected.tolist()
    seen = np.array([1, 2, 3, 6, 4, 8.0])
    close(expected, (np.array([4, 8]) - seen.mean()) / seen.std())


def test_par_length_and_other_forms():
    rows = columns(rm=[2.0], length=[400], meta=[{"ref_rewards": [1.0, 3.0, 9.0]}])
    close(shaped("par", rows)["penalised"], [1.0])
    close(shaped("par", rows, length_penalty=0, max_refs=2)["reward"], [0.5])
    free = {"length_penalty": 0.0, "max_refs": 2}
    close(shaped("par", rows, variant="centred", **free)["reward"], [0])
    close(shaped("par", rows, variant="tanh", **free)["reward"], [0])
    close(shaped("par", rows, variant="sigmoid", **free)["reward"], [0.880797])
    sgfc = (1 / (1 + math.exp(2)) + 1 / (1 + math.exp(4))) / 2
    close(shaped("par", rows, variant="sgfc", **free)["reward"], [sgfc])
    q = 2 + 1.036433 * (math.sqrt(2) + 1e-5)
    close(shaped("par", rows, variant="lsc", **free)["reward"], [-math.log1p(math.exp(q - 2))], 5)
    assert shaped("par", rows, variant="poly", **free)["reward"][0] == pytest.approx(0.5, abs=0.02)
    assert shaped("par", rows, variant="none", ceiling=1.5, length_penalty=0)["reward"].tolist() == [1.5]


def test_par_whitens_what_a_critic_left():
    rows = columns(rm=[2, 5], meta=[{"ref_rewards": [1, 3]}] * 2)
    for row, values in zip(rows, ([0.1, 0.2], [0.3, 0.4]), strict=True):
        row["values"] = values
    got = np.array(credit("par", rows)).ravel()
    r, v = np.array([0.5, 0.9314054]), np.array([[0.1, 0.2], [0.3, 0.4]])
    end = r - v[:, 1]
    a = np.column_stack([v[:, 1] - v[:, 0] + 0.95 * end, end]).ravel()
    close(got, (a - a.mean()) / np.sqrt(a.var(ddof=1) + 1e-8), 5)


# -- pear --------------------------------------------------------------------------------------------------


def pear_row(think, answer, outcome, end="tag", **more):
    entropy = [*think, 5.0, *answer] if end == "tag" else [*think, *answer]
    meta = {"think_end": len(think) if end == "tag" else None}
    return record(len(entropy), entropy=entropy, outcome=outcome, meta=meta, **more)


def test_pear():
    rows = [
        pear_row([0.8, 1.0], [0.3], 1),
        pear_row([0.2], [0.3], 1),
        pear_row([0.6, 0.8], [], 1, end=None),
        pear_row([0.8, 1.0], [0.3], 0),
    ]
    parts = shaped("pear", rows)
    close(parts["penalty"], [0.6, 0, 0.7, 0.6])
    close(parts["reward"], [0.4, 1, 0.3, 0])
    close(shaped("pear", rows, alpha=2)["penalty"][:1], [0.3])
    assert shaped("pear", rows, strict=True)["reward"][2] == 0.0
    assert shaped("pear", rows, format_reward=0.1)["reward"][3] == 0.1


def test_pear_advantages():
    rows = [pear_row([0.9], [0.3], 1), pear_row([0.4], [0.3], 1), *[pear_row([1], [0], 0)] * 2]
    close(shaped("pear", rows)["reward"], [0.4, 0.9, 0, 0])
    close(first(credit("pear", rows, eps=0)), [0.175562, 1.345973, -0.760767, -0.760767])
    close(first(credit("pear", rows)), [0.175562, 1.345973, -0.760767, -0.760767], 5)


def test_pear_reads_the_column_the_turns_and_chosen_tokens():
    rollouts = read([record(4, outcome=1, turns=[2, 4], acted=[1, 1, 0, 1])])
    rollouts = rollouts.replace(
        entropy=rollouts.tokens.with_values(np.array([0.9, 7.0, 7.0, 0.5], np.float32))
    )
    parts = build("shape", {"use": "pear"}).explain(rollouts)
    close(parts["entropy_think"].values, [0.9])
    close(parts["entropy_answer"].values, [0.5])
    over = [pear_row([3.0], [0.1], 1)]
    assert shaped("pear", over)["reward"][0] < 0 == shaped("pear", over, keep_order=True)["reward"][0]
    with pytest.raises(DataError, match="row 0"):
        shaped("pear", [record(2, entropy=[1, 1], outcome=1, meta={"think_end": 2})])


# -- g-ra --------------------------------------------------------------------------------------------------

STEPS = [0.1, 0.1, -0.1]


@pytest.mark.parametrize(("outcome", "total"), [(0, 0.1), (-1, -1), (1, 1.1)])
def test_gated_accumulation(outcome, total):
    rows = [record(step=STEPS, outcome=outcome)]
    close(shaped("g-ra", rows)["reward"], [total])
    close(credit("g-ra", rows), [[total] * 3])
    closed = shaped("g-ra", [record(step=STEPS, outcome=-0.5)])
    assert closed["gate_step"] == [0] and closed["reward"] == [-0.5]


def test_gates_of_three_levels():
    rows = columns(resolved=[1, 1, 0], submitted=[0, 1, 1], quality=[0.7] * 3)
    priority = ["resolved", "submitted", "quality"]
    parts = shaped("g-ra", rows, priority=priority, thresholds={"resolved": 0.5, "submitted": 0.5})
    close(parts["reward"], [1, 2.7, 0])
    assert parts["gate_quality"].tolist() == [0, 1, 0]
    listed = shaped("g-ra", rows, priority=priority, thresholds=[0.5, 0.5])
    assert listed["reward"].tolist() == parts["reward"].tolist()


def test_gate_may_keep_penalties_and_discount():
    rows = [record(step=STEPS, outcome=-1)]
    close(shaped("g-ra", rows, positives_only=True)["reward"], [-1.1])
    close(shaped("g-ra", [record(step=STEPS, outcome=1)], gamma=0.5)["reward"], [1 + 0.1 + 0.05 - 0.025])


# -- posterior-grpo ----------------------------------------------------------------------------------------


def test_posterior_gate():
    rows = columns(format=[1, 1, 1, 0], outcome=[1, 1, 0, 0], thinking=[0.9, 0.2, 0.95, 0.8])
    parts = shaped("posterior-grpo", rows)
    close(parts["reward"], [2.9, 2.2, 1, 0])
    close(parts["gain"], [0.9, 0.2, 0, 0])
    close(first(credit("posterior-grpo", rows, eps=0)), [1.070706, 0.525620, -0.408815, -1.187511])
    close(first(credit("posterior-grpo", rows)), [1.070706, 0.525620, -0.408815, -1.187511], 5)


def test_posterior_tells_all_correct_groups_apart():
    rows = columns(format=[1] * 3, outcome=[1] * 3, thinking=[0.9, 0.2, 0.5])
    close(first(credit("posterior-grpo", rows, eps=0)), [1.044074, -0.949158, -0.094916])
    close(first(credit("posterior-grpo", rows, scale="none")), [2.9 - 7.6 / 3, 2.2 - 7.6 / 3, 2.5 - 7.6 / 3])
    same = columns(format=[1] * 3, outcome=[1] * 3, thinking=[0.0] * 3)
    assert first(credit("posterior-grpo", same)) == [0, 0, 0]
    part = columns(format=[1], outcome=[0.5], thinking=[0.8])
    assert shaped("posterior-grpo", part)["reward"] == [1.0]
    close(shaped("posterior-grpo", part, gate="soft")["reward"], [1.9])


# -- efficiency-steering -----------------------------------------------------------------------------------


def test_brevity_among_right_answers():
    rows = columns(outcome=[1, 1, 1, 0], length=[400, 800, 1200, 100])
    parts = shaped("efficiency-steering", rows, **{"lambda": 0.4})
    close(parts["brevity"], [1, 0.5, 0, 0])
    close(parts["weight"], [0.3] * 4)
    close(parts["reward"], [1.3, 1.15, 1.0, 0])
    close(shaped("efficiency-steering", rows, ref="shortest")["brevity"], [1, 0.5, 0.333333, 0])
    r = np.array([1.3, 1.15, 1.0, 0])
    close(
        first(credit("efficiency-steering", rows, **{"lambda": 0.4})), (r - r.mean()) / (r.std(ddof=1) + 1e-6)
    )


def test_brevity_without_a_range():
    for lengths, outcome in ([[500, 100], [1, 0]], [[300, 300], [1, 1]]):
        rows = columns(outcome=outcome, length=lengths)
        assert shaped("efficiency-steering", rows)["brevity"].tolist() == [0, 0]
        assert shaped("efficiency-steering", rows, ref="shortest")["brevity"].tolist() == outcome
    with pytest.raises(RecipeError, match="lamda"):
        build("shape", {"use": "efficiency-steering", "lamda": 0.4})


def test_steering_vector():
    concise, verbose = np.array([[1, 0], [3, 2]]), np.array([[0, 1], [2, 5]])
    v = efficiency_steering.steering_vector(concise, verbose)
    assert v.tolist() == [1, -2]
    close(efficiency_steering.steering_vector(concise, verbose, unit=True), [0.447214, -0.894427])
    assert efficiency_steering.steered(np.array([1, 1]), v, 0.5).tolist() == [1.5, 0]
    with pytest.raises(DataError, match="pair"):
        efficiency_steering.steering_vector(concise, verbose[:1])


class StatesById:
    """An engine whose state after a token is (token, 1), doubled in layer 2."""

    def hidden(self, rollouts, layer=-1):
        states = np.column_stack([rollouts.tokens.values, np.ones(rollouts.tokens.total)])
        return (states * (2 if layer == 2 else 1)).astype(np.float32)


def test_steering_direction_of_an_engine():
    ids = [[4, 2], [1, 1, 7], [9], [5, 5, 5, 5], [8], [3], [6]]
    outcome, group = [1, 1, 0, 1, 1, 1, 1], ["a", "a", "a", "a", "b", "c", "c"]
    rows = [
        {
            **record(len(t), group=g, outcome=o, acted=[1] * (len(t) - (len(t) > 3)) + [0] * (len(t) > 3)),
            "tokens": t,
        }
        for t, o, g in zip(ids, outcome, group, strict=True)
    ]
    rollouts = read(
        rows
    )  # the fourth acted on three tokens, as many as the second: the last of them is taken
    found = efficiency_steering.direction(StatesById(), rollouts)
    assert found.tolist() == [3.0 - 5.0, 0.0]
    assert efficiency_steering.direction(StatesById(), rollouts, layer=2).tolist() == [-4.0, 0.0]
    with pytest.raises(DataError, match="two right answers of different length"):
        efficiency_steering.direction(StatesById(), rollouts.select([2, 4, 5, 6]))


# -- ton ---------------------------------------------------------------------------------------------------

SKIP = "<think>\n\n</think><answer>3</answer>"


def test_ton_format_and_skip():
    assert ton.well_formed(SKIP) and ton.skipped(SKIP)
    assert not ton.well_formed("<answer>3</answer>") and not ton.skipped("<answer>3</answer>")
    assert not ton.well_formed(SKIP + " and more")
    rows = columns(completion=[SKIP, SKIP + "!", "<think>a</think>\n<answer>3</answer>"], accuracy=[1, 1, 0])
    parts = shaped("ton", rows)
    assert parts["reward"].tolist() == [2, 1, 1] and parts["skipped"].tolist() == [1, 1, 0]


def test_ton_advantages():
    rows = columns(format=[1] * 4, accuracy=[1, 1, 0, 0])
    close(first(credit("ton", rows)), [0.865875, 0.865875, -0.865875, -0.865875])
    close(first(credit("ton", rows, eps=0)), [0.866025, 0.866025, -0.866025, -0.866025])


def test_thought_dropout():
    samples = [{"completion": f"<think>t{i}</think><answer>{i}</answer>", "i": i} for i in range(50)]
    assert ton.thought_dropout(samples, 0.0) == samples
    emptied = ton.thought_dropout(samples, 1.0)
    assert all(
        ton.skipped(s["completion"]) and f"<answer>{s['i']}</answer>" in s["completion"] for s in emptied
    )
    half = ton.thought_dropout(samples, 0.5, seed=3)
    assert half == ton.thought_dropout(samples, 0.5, seed=3) != ton.thought_dropout(samples, 0.5, seed=4)
    assert 10 < sum(ton.skipped(s["completion"]) for s in half) < 40
    with pytest.raises(RecipeError, match="p must"):
        ton.thought_dropout(samples, 1.5)


# -- rlsp --------------------------------------------------------------------------------------------------


def rlsp_row(characters, answer="7", gold="7", **more):
    box = "" if answer is None else f"\\boxed{{{answer}}} and more text"
    return record(completion="x" * characters + box, reference=gold, **more)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (rlsp_row(4000), 0),
        (rlsp_row(4000, judge=0.5), 0.1),
        (rlsp_row(8000), 0.5),
        (rlsp_row(8000, judge=0.5), 0.5),
        (rlsp_row(16000, "8"), -0.25),
        (rlsp_row(16000, "8", judge=0.5), -0.1),
        (rlsp_row(16000, "8", judge=None), -0.1),
        (rlsp_row(2000), -1),
        (rlsp_row(8000, None), -1),
    ],
)
def test_rlsp(row, expected):
    close(shaped("rlsp", [row], C=1000)["reward"], [expected])
    close(first(credit("rlsp", [row], C=1000)), [expected])


def test_rlsp_edges():
    lengths = shaped("rlsp", [rlsp_row(n) for n in (10, 100, 1000, 10**5)])["reward"]
    assert (np.diff(lengths) > 0).all() and lengths[-1] < 1
    assert shaped("rlsp", [rlsp_row(0)])["reward"] == [1 - 4000]
    assert shaped("rlsp", [rlsp_row(0)], variant="release")["reward"] == [0]
    assert shaped("rlsp", [rlsp_row(0)], C=0)["reward"] == [1]
    failed = shaped("rlsp", [rlsp_row(4000, judge=None), rlsp_row(4000, judge=1.0)])
    assert failed["judge_failed"].tolist() == [1, 0]
    shaping = build("shape", {"use": "rlsp"})
    signal = shaping(read([rlsp_row(400), rlsp_row(400, gold=None)]))
    assert np.isnan(signal.values[1]) and signal.causes == {1: "no reference"}
    with pytest.raises(DataError, match="reference"):
        shaped("rlsp", [record(completion="a")])


# -- autothink ---------------------------------------------------------------------------------------------


def test_autothink_table():
    rows = columns(
        think=[1, 1, 0, 0, 1, 0, 0],
        correct=[1, 0, 1, 0, 1, 0, 0],
        degenerate=[0, 1, 0, 0, 0, 1, 1],
        format_error=[0, 0, 0, 0, 1, 0, 1],
    )
    assert shaped("autothink", rows)["base"].tolist() == [1, 0, 2, -1, 0, -2, 0]


def test_autothink_balance():
    skewed = columns(think=[1, 0, 0, 0], correct=[1, 1, 0, 1])
    close(shaped("autothink", skewed, rho=0.5)["reward"], [1, 1.5, -1.5, 1.5])
    close(shaped("autothink", columns(think=[1, 1], correct=[1, 0]), rho=0.5)["reward"], [0, -1])
    even = columns(think=[1, 1, 0, 0], correct=[1, 0, 1, 0])
    close(shaped("autothink", even, rho=0.5)["reward"], [1, 0, 2, -1])
    close(shaped("autothink", skewed, stage=2)["reward"], [1, 2, -1, 2])


def test_autothink_lengths():
    lengths = [1000, 2000, 3000]
    right = columns(think=[1] * 3, correct=[1] * 3, length=lengths)
    close(shaped("autothink", right, alpha=0.05, rho=1.0)["reward"], [1.051271, 1, 0.951229])
    wrong = columns(think=[1] * 3, correct=[0] * 3, length=lengths)
    close(shaped("autothink", wrong, beta=0.05, rho=1.0)["reward"], [-0.051271, 0, 0.048771])
    both = shaped("autothink", right + [{**row, "group": "h"} for row in wrong], stage=3)
    close(both["reward"], [1.051271, 1, 0.951229, -0.051271, 0, 0.048771])
    lone = columns(think=[1, 1], correct=[1, 0], length=[5, 500])
    assert shaped("autothink", lone, stage=3)["reward"].tolist() == [1, 0]


def test_autothink_reads_modes_from_text():
    texts = [
        "<think>\n...\n</think>\n\nThe answer is 4.",
        "<think>\n...\nLet me see</think>\n\n4",
        "no tag at all",
        "<think>\n...\n</think>\n\n" + "so what " * 12,
        "<think>\n...\n</think>\n\n" + "z" * 120,
    ]
    found = autothink.modes(read(columns(completion=texts)))
    assert found["think"].values.tolist() == [0, 1, 1, 0, 0]
    assert found["degenerate"].values.tolist() == [0, 0, 0, 1, 1]
    assert found["format_error"].values.tolist() == [0, 0, 1, 0, 0]
    assert not autothink.is_degenerate("so what " * 9)
