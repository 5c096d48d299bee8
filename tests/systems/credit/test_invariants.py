"""What must hold for every credit method: the systems of the catalogue and the first tenants."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from guerdon import credit
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.errors import DataError
from guerdon.registry import build, published
from guerdon.systems import slugs

quick = settings(deadline=None, max_examples=10)
nan = np.nan
VARIANTS: dict[str, dict[str, Any]] = {
    "prime": {},
    "prime_code": {"loo": "code", "norm": "none", "whiten": False, "gamma": 0.9},
    "prime_plain": {"norm": "none", "whiten": False},
    "oprl-istar": {},
    "oprl-istar_plain": {"norm": "none"},
    "oprl-istar_std": {"norm": "none", "baseline": "grpo_std"},
    "oprl-istar_whiten": {"baseline": "reinforce_plus_baseline"},
    "oprl-istar_first": {"norm": "none", "first_step_baseline": True},
    "pure": {},
    "pure_min": {"form": "min"},
    "pure_sum_step": {"form": "sum", "baseline": "step"},
    "pure_release": {"variant": "release", "kl_coef": 0.1},
    "pure_verl": {"variant": "verl"},
    "pure_return": {"baseline": "return"},
    "pure_raw": {"baseline": "none", "vr_coef": 0.0},
    "gigpo": {},
    "gigpo_std": {"scale": "std"},
    "gigpo_row": {"unit": "row"},
    "salt": {},
    "salt_tree": {"base": "rloo", "history_window": None},
    "salt_rollout": {"base": "mean", "history_window": 2, "unit": "rollout"},
    "portool": {},
    "portool_max": {"agg": "max", "shared": "once"},
    "portool_own": {"shared": "own"},
    "matchtir": {},
    "matchtir_zero": {"singleton": "zero"},
    "prorag": {},
    "prorag_step": {"pool": "step"},
    "igpo": {},
    "igpo_prob": {"gain": "prob", "gamma": 0.9},
    "capo": {},
    "capo_average": {"vote": "average"},
    "tp-grpo-thought": {},
    "vsrm": {},
    "vsrm_sum": {"returns": "sum", "whiten": True},
    "vsrm_gae": {"place": "cut", "returns": "gae"},
    "mrt": {},
    "pav": {},
    "spa-rl": {"kl_coef": 0.1},
    "spa-rl_release": {"variant": "release"},
    "archer": {},
    "archer_tokens": {"token_baseline": True},
    "grpo": {},
    "dr_grpo": {},
    "rloo": {},
    "reinforce_pp": {},
    "reinforce_pp_baseline": {},
    "gae": {},
    "opo": {},
    "remax": {},
    "gpg": {},
    "pass_at_k": {},
    "outcome_and_steps": {"steps": "prm"},
}
METHODS = {
    key: build(
        "credit", {"use": key.split("_")[0] if key.split("_")[0] in published("credit") else key, **given}
    )
    for key, given in VARIANTS.items()
}
BATCH_WIDE = {
    "prime",
    "oprl-istar",
    "oprl-istar_whiten",
    "pure_verl",
    "vsrm_sum",
    "reinforce_pp",
    "reinforce_pp_baseline",
    "gae",
    "gpg",
}
"""Methods that whiten or scale over the whole batch: groups meet there."""
EVERY = pytest.mark.parametrize("name", sorted(METHODS))


def test_every_system_is_covered():
    family = {slug for slug, module in slugs().items() if module.startswith("guerdon.systems.credit.")}
    assert len(family) == 16 and family <= {key.split("_")[0] for key in VARIANTS}


# -- batches ------------------------------------------------------------


def make(lengths, group, seed, masked=0.3, missing=0.0, tails=0) -> Rollouts:
    """A batch with every input any of the methods reads; `tails` masked tokens end every rollout."""
    rng = np.random.default_rng(seed)
    n, total = len(lengths), int(sum(lengths))
    steps = [[*range(2, length, 2), length] for length in lengths]
    turns = [[*range(4, length, 4), length] for length in lengths]
    n_steps, n_turns = sum(map(len, steps)), sum(map(len, turns))
    moves = [rng.integers(0, 2, len(row)).tolist() for row in steps]
    acted = rng.random(total) >= masked

    def scores(size, values=(0.0, 0.5, 1.0)):
        return np.where(rng.random(size) < missing, nan, rng.choice(values, size))

    def nodes():
        found: dict[Any, int] = {}
        paths = ((g, *row[: k + 1]) for g, row in zip(group, moves, strict=True) for k in range(len(row)))
        return np.array([found.setdefault(path, len(found)) for path in paths])

    step = dict.fromkeys(("prm", "env", "step_score", "j", "q_policy", "forced_acc", "contribution"))
    signals = {key: Signal(scores(n_steps), "step", key) for key in step}
    signals |= {f"critique_{i}": Signal(scores(n_steps, (0.0, 1.0)), "step") for i in range(1, 4)}
    signals["label"] = Signal(scores(n_steps, (-1.0, 0.0, 1.0)), "step")
    signals["call_ok"] = Signal(scores(n_steps, (-1.0, 0.0, 1.0)), "step")
    signals["grounded"] = Signal(scores(n_steps, (0.0, 1.0)), "step")
    signals["outcome"] = Signal(scores(n, (-1.0, 0.0, 1.0)), "rollout")
    for key in ("baseline", "termination", "j_start", "q_root"):
        signals[key] = Signal(rng.random(n), "rollout")
    for key in ("q1", "q2", "v1", "v2", "turn_reward", "answer_logprob"):
        signals[key] = Signal(scores(n_turns), "turn")
    implicit, reward = rng.normal(size=total), rng.normal(size=total)
    tokens = {key: rng.normal(size=total) for key in ("values", "logprobs", "ref_logprobs")}
    if tails:
        ends = np.cumsum(lengths)
        at = np.repeat(ends, tails)
        acted = np.insert(acted, at, False)
        implicit, reward = np.insert(implicit, at, 7.0), np.insert(reward, at, 7.0)
        tokens = {key: np.insert(column, at, 7.0) for key, column in tokens.items()}
        lengths = [length + tails for length in lengths]
        steps, turns = ([[*row[:-1], row[-1] + tails] for row in part] for part in (steps, turns))
    signals["implicit"], signals["reward"] = Signal(implicit, "token"), Signal(reward, "token")

    def ragged(values):
        return Ragged.from_lengths(values, lengths)

    return Rollouts(
        tokens=ragged(np.arange(sum(lengths))),
        acted=ragged(acted),
        group=np.asarray(group),
        partitions={"step": Ragged.from_lists(steps, np.int64), "turn": Ragged.from_lists(turns, np.int64)},
        state=rng.integers(0, 3, n_steps),
        node=nodes(),
        meta=[
            {"actions": rng.choice(["a", "b"], len(row)).tolist(), "final_state": int(rng.integers(0, 3))}
            for row in steps
        ],
        signals={key: signal.renamed(key) for key, signal in signals.items()},
        **{key: ragged(column) for key, column in tokens.items()},
    )


@st.composite
def shapes(draw):
    """Arguments of `make`: one to seven rollouts in up to three groups."""
    lengths = draw(st.lists(st.sampled_from([1, 2, 3, 5, 9]), min_size=1, max_size=7))
    group = draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    masked = draw(st.sampled_from([0.0, 0.4]))
    return {"lengths": lengths, "group": group, "seed": draw(st.integers(0, 10**6)), "masked": masked}


missing = st.sampled_from([0.0, 0.3, 1.0])


def rows(rollouts, values):
    return Ragged(values, rollouts.tokens.offsets)


# -- the invariants ------------------------------------------------------------


@EVERY
@quick
@given(shape=shapes(), missing=missing)
def test_finite_zero_on_masked_tokens_and_pure(name, shape, missing):
    rollouts = make(**shape, missing=missing)
    before = pickle.dumps({key: signal.values for key, signal in rollouts.signals.items()})
    got = METHODS[name](rollouts)
    assert got.level == "token" and np.isfinite(got.values).all()
    assert not got.values[~rollouts.acted.values].any()
    explained, reports = METHODS[name].explain(rollouts, rollouts.signals)
    assert_array_equal(explained.values, got.values)
    for report in reports.values():
        assert np.isfinite(list(report.values())).all() and report["spans"] >= report["missing"] >= 0
    assert pickle.dumps({key: signal.values for key, signal in rollouts.signals.items()}) == before


@EVERY
@quick
@given(shape=shapes(), missing=missing)
def test_tokens_of_the_environment_change_nothing(name, shape, missing):
    rollouts = make(**shape, missing=missing)
    longer = make(**shape, missing=missing, tails=3)
    got, padded = METHODS[name](rollouts).values, METHODS[name](longer).values
    kept = rows(longer, np.arange(len(padded)))
    kept = np.concatenate([kept[i][: len(rows(rollouts, got)[i])] for i in range(len(rollouts))])
    assert_allclose(padded[kept], got, atol=1e-9)


@EVERY
@quick
@given(shape=shapes(), missing=missing, order=st.randoms(use_true_random=False))
def test_rows_may_come_in_any_order(name, shape, missing, order):
    rollouts = make(**shape, missing=missing)
    index = list(range(len(rollouts)))
    order.shuffle(index)
    got = rows(rollouts, METHODS[name](rollouts).values).select(index)
    assert_allclose(METHODS[name](rollouts.select(index)).values, got.values, atol=1e-9)


@pytest.mark.parametrize("name", sorted(METHODS.keys() - BATCH_WIDE))
@quick
@given(shape=shapes(), missing=missing)
def test_groups_do_not_meet(name, shape, missing):
    rollouts = make(**shape, missing=missing)
    whole = rows(rollouts, METHODS[name](rollouts).values)
    index = np.flatnonzero(rollouts.group == rollouts.group[0])
    alone = METHODS[name](rollouts.select(index))
    assert_allclose(alone.values, whole.select(index).values, atol=1e-9)


SHIFTED = ("prime_plain", "prime_code", "oprl-istar_plain", "pure", "gigpo", "gigpo_std", "gigpo_row", "salt",
    "salt_tree", "prorag", "igpo", "capo", "grpo", "dr_grpo", "rloo", "opo")  # fmt: skip


@pytest.mark.parametrize("name", SHIFTED)
@quick
@given(shape=shapes(), constant=st.sampled_from([-3.0, 0.25, 100.0]))
def test_a_constant_added_to_outcomes_cancels(name, shape, constant):
    shape["group"] = [0] * len(shape["group"])
    rollouts = make(**shape)
    if len(rollouts) < 2:
        return
    outcome = rollouts.signals["outcome"]
    moved = rollouts.replace(signals={"outcome": outcome.with_values(outcome.values + constant)})
    assert_allclose(METHODS[name](moved).values, METHODS[name](rollouts).values, atol=1e-6)


@pytest.mark.parametrize("name", ["grpo", "salt", "capo", "gigpo_std", "tp-grpo-thought"])
@quick
@given(shape=shapes(), factor=st.sampled_from([0.5, 3.0, 100.0]))
def test_normalised_methods_do_not_see_the_scale(name, shape, factor):
    shape["group"] = [0] * len(shape["group"])
    rollouts = make(**shape)
    if len(rollouts) < 2:
        return
    method = build(
        "credit",
        {"use": name.split("_")[0], **VARIANTS[name], **({"alpha": 0.0} if name[:2] == "tp" else {})},
    )
    names = ["outcome", "env", *(key for key in rollouts.signals if key.startswith("critique"))]
    if name == "capo":  # the flagged amount scales with the outcome
        scaled = build("credit", {"use": "capo", "w_outcome": 2 * factor, "w_process": factor})(rollouts)
    else:
        larger = {
            key: rollouts.signals[key].with_values(rollouts.signals[key].values * factor) for key in names[:2]
        }
        scaled = method(rollouts.replace(signals=larger))
    assert_allclose(scaled.values, method(rollouts).values, atol=2e-4)


@EVERY
@quick
@given(shape=shapes(), value=st.sampled_from([0.0, 1.0]))
def test_equal_groups_stay_finite(name, shape, value):
    rollouts = make(**shape)
    flat = {key: signal.with_values(np.full(len(signal), value)) for key, signal in rollouts.signals.items()}
    got = METHODS[name](rollouts.replace(signals=flat)).values
    assert np.isfinite(got).all()


COMPARED = (
    "gigpo",
    "gigpo_std",
    "salt",
    "prorag",
    "igpo",
    "capo",
    "grpo",
    "rloo",
    "matchtir",
)


@pytest.mark.parametrize("name", COMPARED)
@quick
@given(shape=shapes())
def test_equal_rollouts_get_nothing(name, shape):
    """Several rollouts with the same shape and the same values: nobody did better than the others."""
    n = max(len(shape["lengths"]), 2)
    shape |= {"lengths": [5] * n, "group": [0] * n, "masked": 0.0}
    rollouts = make(**shape)
    flat = {key: signal.with_values(np.ones(len(signal))) for key, signal in rollouts.signals.items()}
    rollouts = rollouts.replace(signals=flat | {"env": Signal(np.zeros(rollouts.count("step")), "step")})
    assert_allclose(METHODS[name](rollouts).values, 0.0, atol=1e-12)


@quick
@given(shape=shapes())
def test_leave_one_out_is_the_centred_mean_stretched(shape):
    shape["group"] = [0] * len(shape["group"])
    rollouts = make(**shape, missing=0.0)
    step = Signal(np.zeros(len(rollouts)), "rollout", "outcome")
    rollouts = rollouts.replace(signals={"outcome": step})
    steps = rollouts.reduce(Signal(rollouts.acted.values, "token"), "step").values
    n = int((steps > 0).sum())
    if n < 2:
        return
    loo = credit.oprl_istar(norm="none")(rollouts).values
    mean = credit.oprl_istar(norm="none", baseline="grpo")(rollouts).values
    assert_allclose(loo, n / (n - 1) * mean, atol=1e-9)


@quick
@given(shape=shapes())
def test_minima_never_exceed_a_steps_own_reward(shape):
    rollouts = make(**shape, masked=0.0) if "masked" not in shape else make(**shape | {"masked": 0.0})
    own = rollouts.spread(rollouts.signals["prm"], "token").values
    least = credit.pure(form="min", baseline="none", vr_coef=0.0)(rollouts).values
    assert (least <= own + 1e-12).all()
    summed = rollouts.reduce(Signal(least, "token"), "rollout", "first").values
    smallest = rollouts.reduce(rollouts.signals["prm"], "rollout", "min").values
    assert_allclose(summed, smallest, atol=1e-12)
    soft = credit.pure(temperature=1e-4, baseline="none", vr_coef=0.0)(rollouts).values
    assert_allclose(rollouts.reduce(Signal(soft, "token"), "rollout", "first").values, smallest, atol=1e-9)


@quick
@given(shape=shapes())
def test_progress_telescopes(shape):
    rollouts = make(**shape)
    for name in ("mrt", "pav", "igpo"):
        for report in METHODS[name].explain(rollouts)[1].values():
            assert report.get("residual", 0.0) == pytest.approx(0.0, abs=1e-9)
    plain = build("credit", {"use": "vsrm", "lookahead": 0}).explain(rollouts)[1]
    assert plain["forced_acc"]["residual"] == pytest.approx(0.0, abs=1e-9)


@quick
@given(shape=shapes())
def test_without_anything_shared_only_the_outcome_counts(shape):
    rollouts = make(**shape)
    apart = np.arange(rollouts.count("step"))
    rollouts = rollouts.replace(state=apart, node=apart)
    assert_allclose(credit.gigpo()(rollouts).values, credit.dr_grpo()(rollouts).values, atol=1e-12)
    assert_allclose(credit.salt()(rollouts).values, credit.grpo()(rollouts).values, atol=1e-12)
    single = rollouts.replace(group=np.arange(len(rollouts)))
    assert not credit.portool()(single).values.any()


@quick
@given(shape=shapes(), window=st.sampled_from([1, 2, None]))
def test_merging_keeps_the_sum(shape, window):
    rollouts = make(**shape | {"masked": 0.0})
    sizes = 1.0 / np.repeat(
        *(lambda x: (x, x))(np.diff(np.concatenate([[0], np.cumsum(_span_sizes(rollouts))])))
    )
    merged = credit.salt(history_window=window)(rollouts).values * sizes
    base = credit.grpo()(rollouts).values * sizes
    for group in np.unique(rollouts.group):
        inside = np.repeat(rollouts.group == group, rollouts.lengths)
        assert merged[inside].sum() == pytest.approx(base[inside].sum(), abs=1e-9)


def _span_sizes(rollouts):
    ends = rollouts.partitions["step"]
    sizes = np.diff(ends.values, prepend=0)
    first = ends.offsets[:-1]
    sizes[first] = ends.values[first]
    return sizes


@EVERY
def test_text_without_tokens_and_missing_inputs(name):
    bare = Rollouts(tokens=Ragged.from_lists([[1, 2]], np.int32), partitions={})
    with pytest.raises(DataError, match=r"needs|no 'step' spans|no 'turn' spans"):
        METHODS[name](bare)
    nobody = Rollouts(completion=[])
    with pytest.raises(DataError, match="no rollouts"):
        METHODS[name](nobody)
