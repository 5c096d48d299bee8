"""What holds for every shaped reward, on random rollouts that carry the inputs of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.data import Ragged, Rollouts, Signal
from guerdon.registry import build, published

SYSTEMS = sorted(published("shape"))
LOCAL = [slug for slug in SYSTEMS if slug != "autothink"]  # whose balance of modes looks at the whole batch
SLOW = settings(max_examples=15, deadline=None)
FLAGS = ("outcome", "accuracy", "format", "think", "correct", "degenerate", "format_error")
UNIT = ("thinking", "conciseness", "judge")
READS = {
    "autothink": ("think", "correct"),
    "clip-delta": ("prm", "outcome"),
    "conciseness-reward": ("outcome",),
    "efficiency-steering": ("outcome",),
    "g-ra": ("outcome",),
    "hybrid-multi-aspect": ("accuracy", "format"),
    "par": ("rm",),
    "pear": ("outcome",),
    "posterior-grpo": ("format", "outcome"),
    "ppr-renorm": ("outcome",),
    "sophiavl-r1": ("outcome",),
    "ton": ("accuracy", "format"),
    "transform-combine": ("rm", "helpful", "harmless"),
}


def batch(seed: int, sizes: list[int], tail: int = 0) -> Rollouts:
    """Groups of the given sizes; `tail` environment tokens behind every rollout."""
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    turns = rng.integers(2, 5, n)
    widths = [rng.integers(1, 4, t) for t in turns]
    own = np.array([w.sum() for w in widths])
    ends = []
    for w in widths:
        end = np.cumsum(w)
        end[-1] += tail  # the environment's text belongs to the last turn
        ends.append(end)
    entropy = [np.append(rng.uniform(0, 2, size), np.full(tail, 99.0)) for size in own]
    spans = int(turns.sum())
    most = rng.integers(1, 6, spans)
    signals = {name: (rng.integers(0, 2, n), "rollout") for name in FLAGS}
    signals |= {name: (rng.uniform(0.1, 1, n), "rollout") for name in UNIT}
    signals |= {name: (rng.normal(0, 3, n), "rollout") for name in ("rm", "helpful", "harmless")}
    signals |= {
        "length": (rng.integers(10, 900, n), "rollout"),
        "prm": (rng.uniform(0, 1, spans), "turn"),
        "step": (rng.choice([-0.1, 0.1], spans), "turn"),
        "score": (rng.integers(0, 6, spans), "turn"),
        "max_score": (most, "turn"),
        "entropy": (np.concatenate(entropy), "token"),
    }
    signals["prm"] = (signals["prm"][0], "step")
    meta = [
        {
            "ref_rewards": rng.normal(0, 2, rng.integers(1, 4)).tolist(),
            "think_end": int(rng.integers(0, size)),
        }
        for size in own
    ]
    partition = Ragged.from_lists(ends, np.int64)
    return Rollouts(
        group=np.repeat(np.arange(len(sizes)), sizes),
        tokens=Ragged.from_lists([np.zeros(size + tail, int) for size in own], np.int32),
        acted=Ragged.from_lists([np.arange(size + tail) < size for size in own], bool),
        partitions={"step": partition, "turn": partition},
        completion=["x" * int(rng.integers(1, 9000)) + f"\\boxed{{{rng.integers(0, 2)}}}" for _ in range(n)],
        reference=["1"] * n,
        meta=meta,
        signals={name: Signal(values, level, name) for name, (values, level) in signals.items()},
    )


def per_rollout(rollouts: Rollouts, flat: np.ndarray) -> list[np.ndarray]:
    return np.split(flat, rollouts.tokens.offsets[1:-1])


seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@pytest.mark.parametrize("slug", SYSTEMS)
@SLOW
@given(seed=seeds, sizes=shapes, order=st.randoms(use_true_random=False))
def test_permuted_rollouts_permute_rewards_and_advantages(slug, seed, sizes, order):
    rollouts = batch(seed, sizes)
    rows = list(range(len(rollouts)))
    order.shuffle(rows)
    moved = rollouts.select(rows)
    reward, again = build("shape", {"use": slug}), build("shape", {"use": slug})
    spread = rollouts.spread(reward(rollouts), "token").values
    expected = np.concatenate([per_rollout(rollouts, spread)[row] for row in rows])
    np.testing.assert_allclose(moved.spread(again(moved), "token").values, expected, atol=1e-9)
    credit = build("credit", {"use": slug})
    whole = per_rollout(rollouts, credit(rollouts).values)
    got = build("credit", {"use": slug})(moved).values
    np.testing.assert_allclose(got, np.concatenate([whole[row] for row in rows]), atol=1e-6)


@pytest.mark.parametrize("slug", LOCAL)
@SLOW
@given(seed=seeds, sizes=st.lists(st.integers(1, 5), min_size=2, max_size=4))
def test_groups_do_not_interact(slug, seed, sizes):
    rollouts = batch(seed, sizes)
    alone = rollouts.select(rollouts.group == 0)
    whole = build("credit", {"use": slug})(rollouts).values[: alone.tokens.total]
    np.testing.assert_allclose(build("credit", {"use": slug})(alone).values, whole, atol=1e-9)


@pytest.mark.parametrize("slug", SYSTEMS)
@SLOW
@given(seed=seeds, sizes=shapes, tail=st.integers(1, 5))
def test_tokens_of_the_environment_change_nothing(slug, seed, sizes, tail):
    plain, padded = batch(seed, sizes), batch(seed, sizes, tail)
    for way in ("none", "mean_std", "return"):
        expected = build("credit", {"use": slug, "baseline": way})(plain).values
        got = build("credit", {"use": slug, "baseline": way})(padded).values
        np.testing.assert_allclose(got[padded.acted.values], expected, atol=1e-9)
        assert (got[~padded.acted.values] == 0).all()


@pytest.mark.parametrize("slug", SYSTEMS)
@SLOW
@given(seed=seeds, size=st.integers(1, 5))
def test_equal_rollouts_are_finite_and_indistinguishable(slug, seed, size):
    rollouts = batch(seed, [1]).select([0] * size)
    for baseline in ("mean_std", "mean", "loo"):
        got = build("credit", {"use": slug, "baseline": baseline, "singleton": "zero"})(rollouts).values
        np.testing.assert_array_equal(got, 0)
    default = build("credit", {"use": slug})(rollouts).values
    assert np.isfinite(default).all()


@pytest.mark.parametrize("slug", sorted(READS))
@SLOW
@given(seed=seeds, sizes=shapes, lost=st.integers(0, 10**6), every=st.booleans())
def test_missing_inputs_stay_missing_with_a_cause(slug, seed, sizes, lost, every):
    rollouts = batch(seed, sizes)
    spec = {"use": slug, "delta": "keep"} if slug == "clip-delta" else {"use": slug}  # all steps read `prm`
    rollouts = rollouts.replace(
        signals={"format_error": rollouts.signals["degenerate"].with_values(np.zeros(len(rollouts)))}
    )
    name = READS[slug][lost % len(READS[slug])]
    signal = rollouts.signals[name]
    row = lost % len(rollouts)
    hit = np.zeros(len(signal), bool)
    offsets = rollouts.offsets(signal.level)
    hit[slice(None) if every else slice(offsets[row], offsets[row + 1])] = True
    holed = rollouts.replace(signals={name: signal.with_values(np.where(hit, np.nan, signal.values))})
    reward = build("shape", spec)(holed)
    rows = np.repeat(np.arange(len(holed)), np.diff(holed.offsets(reward.level)))
    missing = np.isnan(reward.values)
    expected = np.ones(len(holed), bool) if every else np.arange(len(holed)) == row
    assert set(rows[missing]) == set(np.flatnonzero(expected))
    assert set(reward.causes) == set(np.flatnonzero(missing))
    assert all(name in cause for cause in reward.causes.values())
    credit, report = build("credit", spec).explain(holed)
    assert np.isfinite(credit.values).all()
    assert sum(numbers["missing"] for numbers in report.values()) > 0
    assert (credit.values[np.isnan(holed.spread(reward, "token").values)] == 0).all()


@SLOW
@given(seed=seeds, sizes=shapes)
def test_bounds(seed, sizes):
    rollouts = batch(seed, sizes)

    def reward(slug, **parameters):
        return build("shape", {"use": slug, **parameters}).explain(rollouts)

    outcome = rollouts.signals["outcome"].values
    assert (reward("clip-delta", delta=False)["process"].values <= 0).all()
    par = reward("par", length_penalty=0)["reward"].values
    assert ((par > 0) & (par < 1)).all()
    assert (reward("transform-combine")["reward"].values < 0).all()
    assert (reward("conciseness-reward")["reward"].values[outcome == 0] == 0).all()
    assert (reward("efficiency-steering")["reward"].values[outcome == 0] == 0).all()
    assert (reward("posterior-grpo")["gain"].values[outcome == 0] == 0).all()
    assert (reward("pear")["reward"].values <= 1).all()
    gates = reward("g-ra", delta=0.5)
    assert (gates["gate_step"].values == (outcome > 0.5)).all()
    shut = rollouts.spread(gates["gate_step"], "turn").values == 0
    assert (gates["gated_step"].values[shut] == 0).all()
    ppr = reward("ppr-renorm")["reward"].values
    signed = np.repeat(outcome, np.diff(rollouts.offsets("turn"))) - 0.5
    assert (ppr * signed >= 0).all() and (np.abs(ppr) <= 1).all()
    trust = reward("sophiavl-r1")["trust"].values
    assert ((trust > 0) & (trust <= 1)).all()


@SLOW
@given(seed=seeds, copies=st.integers(1, 6), r=st.floats(0.9, 1.0))
def test_more_good_steps_earn_nothing(seed, copies, r):
    rng = np.random.default_rng(seed)
    steps = rng.uniform(0, 1, 4)

    def total(values, **parameters):
        n = len(values)
        rollouts = Rollouts(
            tokens=Ragged.from_lists([np.zeros(n, int)], np.int32),
            partitions={"step": Ragged.from_lists([np.arange(1, n + 1)], np.int64)},
            signals={"prm": Signal(values, "step"), "outcome": Signal([0.0], "rollout")},
        )
        return build("shape", {"use": "clip-delta", **parameters})(rollouts).values.sum()

    longer = np.append(steps, [r] * copies)
    for parameters in ({"delta": False}, {"delta": "keep"}):
        assert total(longer, **parameters) == pytest.approx(total(steps, **parameters), abs=1e-12)
    raw = {"clip": False, "delta": False}
    assert total(longer, **raw) == pytest.approx(total(steps, **raw) + copies * r)


@SLOW
@given(rewards=st.lists(st.floats(-30, 30), min_size=2, max_size=8), reference=st.floats(-5, 5))
def test_one_log_sigmoid_keeps_the_ranking(rewards, reference):
    rollouts = batch(0, [len(rewards)]).replace(meta=[{"r_ref": reference}] * len(rewards))
    rollouts = rollouts.replace(signals={"rm": Signal(np.array(rewards), "rollout", "rm")})
    u = build("shape", {"use": "transform-combine", "weights": {"rm": 1.0}})(rollouts).values
    order = np.argsort(rewards, kind="stable")
    assert (np.diff(u[order]) >= 0).all()
