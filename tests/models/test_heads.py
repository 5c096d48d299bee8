"""Heads on spans: where they read, that they learn, and that they come back from disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import TASK, auroc, hf, lab, lab_as_hf, planted

from guerdon import models
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.data.spans import split
from guerdon.errors import DataError, EngineError, RecipeError, StoreError
from guerdon.models.points import NOT_CHOSEN, NOTHING, reading_points

ENGINES = {"lab": lab, "hf": hf}


def agentic() -> Rollouts:
    """Turns with tool text behind them, a one-token rollout, an empty one, and a turn nobody chose."""
    return Rollouts(
        prompt=["1+1=", "2+2=", "3+3=", "4+4="],
        tokens=Ragged.from_lists([[50, 51, 52, 53, 54], [55], [], [56, 57]], dtype=np.int32),
        acted=Ragged.from_lists([[1, 1, 0, 1, 0], [1], [], [1, 0]], dtype=bool),
        partitions={"step": Ragged.from_lists([[3, 5], [1], [], [1, 2]], dtype=np.int64)},
    )


def test_a_span_is_read_after_its_last_chosen_token():
    points = reading_points(lab(), agentic(), "step")
    # prefixes: rollout 0 has 0..5, rollout 1 has 6..7, rollout 2 has 8, rollout 3 has 9..11
    assert points.before.tolist() == [0, 3, 6, 9, 10]
    assert points.after.tolist() == [2, 4, 7, 10, -1]
    assert points.causes == {4: NOT_CHOSEN}
    whole = reading_points(lab(), agentic(), "rollout")
    assert whole.after.tolist() == [4, 7, -1, 10] and whole.causes == {2: NOTHING}
    assert reading_points(lab(), agentic(), "token").after.tolist() == [1, 2, -1, 4, -1, 7, 10, -1]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("kind", ["StepClassifier", "ProgressEstimator"])
def test_scores_of_odd_rollouts_are_missing_with_a_cause(name, kind):
    model = getattr(models, kind)(ENGINES[name]())
    signal = model(agentic())
    assert signal.level == "step" and np.isnan(signal.values).tolist() == [False] * 4 + [True]
    assert signal.cause_counts() == {NOT_CHOSEN: 1}
    nothing = model(agentic().select([2]))
    assert len(nothing) == 0


@st.composite
def ragged_turns(draw):
    """Rollouts of 0..6 tokens with any tokens acted and any partition."""
    lengths = draw(st.lists(st.integers(0, 6), min_size=1, max_size=5))
    acted = [draw(st.lists(st.booleans(), min_size=n, max_size=n)) for n in lengths]
    ends = [sorted({*draw(st.sets(st.integers(1, n))), n}) if n else [] for n in lengths]
    return Rollouts(
        prompt=["1"] * len(lengths),
        tokens=Ragged.from_lists([[50] * n for n in lengths], dtype=np.int32),
        acted=Ragged.from_lists(acted, dtype=bool),
        partitions={"turn": Ragged.from_lists(ends, dtype=np.int64)},
    )


@settings(max_examples=60, deadline=None)
@given(ragged_turns())
def test_reading_points_are_those_of_a_plain_loop(rollouts):
    points = reading_points(None, rollouts, "turn")
    before, after, base = [], [], 0
    for row in range(len(rollouts)):
        start = 0
        for end in rollouts.partitions["turn"][row].tolist():
            chosen = [i for i in range(start, end) if rollouts.acted[row][i]]
            before.append(base + start)
            after.append(base + chosen[-1] + 1 if chosen else -1)
            start = end
        base += len(rollouts.tokens[row]) + 1
    assert points.before.tolist() == before and points.after.tolist() == after
    assert set(points.causes) == {i for i, a in enumerate(after) if a < 0} and points.prefixes == base
    per_prefix = np.arange(float(base))
    there = points.gather(per_prefix, "x").values
    back = points.scatter(there)
    read = sorted({a for a in after if a >= 0})
    assert np.flatnonzero(~np.isnan(back)).tolist() == read and (back[read] == per_prefix[read]).all()


def test_text_is_read_like_its_tokens():
    engine = lab()
    model = models.StepClassifier(engine, hidden=(8,))
    texts = ["1+1=2;2+é=4;#4", "#7", ""]
    text = split(Rollouts(prompt=["a", "b", "c"], completion=texts), by=TASK.split_steps)
    ids = [engine.tokenizer.encode(part) for part in texts]
    tokens = Rollouts(prompt=["a", "b", "c"], completion=texts, tokens=Ragged.from_lists(ids, dtype=np.int32))
    tokens = split(tokens, by=TASK.split_steps, tokenizer=engine.tokenizer)
    np.testing.assert_allclose(model(text).values, model(tokens).values, atol=1e-6)
    assert len(model(text)) == 4
    points = reading_points(engine, text, "step")
    np.testing.assert_array_equal(points.after, reading_points(engine, tokens, "step").after)
    np.testing.assert_array_equal(points.before, reading_points(engine, tokens, "step").before)


def test_scales_of_the_classifier():
    engine = lab()
    rollouts = planted(engine, 6)
    difference, probability = (
        models.StepClassifier(engine, score=s)(rollouts).values for s in ("difference", "probability")
    )
    np.testing.assert_allclose(difference, 2 * probability - 1, atol=1e-12)
    assert ((probability > 0) & (probability < 1)).all()
    with pytest.raises(RecipeError, match=r"score.*'odds'"):
        models.StepClassifier(engine, score="odds")


def test_a_step_classifier_learns_planted_errors():
    engine = lab()
    model = models.StepClassifier(engine, lr=3e-3, head_lr=1e-2)
    train, test = planted(engine, 1000, seed=1), planted(engine, 100, seed=2, split="valid")
    untaught = auroc(model(test).values, test.signals["steps"].values)
    losses = model.fit(train, train.signals["steps"], epochs=4, batch=32)
    taught = auroc(model(test).values, test.signals["steps"].values)
    assert np.mean(losses[-20:]) < np.mean(losses[:20])
    assert taught > 0.7 and taught > untaught + 0.1


@pytest.mark.parametrize("kind", ["StepClassifier", "ProgressEstimator"])
@pytest.mark.parametrize("name", ENGINES)
def test_every_head_fits_a_few_rollouts(name, kind):
    engine = ENGINES[name]()
    rollouts = planted(engine, 12, seed=4)
    model = getattr(models, kind)(engine, lr=1e-3, head_lr=1e-2)
    targets = rollouts.signals["steps" if kind == "StepClassifier" else "outcome"]
    losses = model.fit(rollouts, targets, epochs=30, batch=12)
    assert losses[-1] < 0.6 * losses[0]


def test_the_contributions_sum_to_the_return():
    engine = lab()
    rollouts = planted(engine, 40, seed=4)
    model = models.ProgressEstimator(engine, lr=2e-3, head_lr=1e-2)
    returns = rollouts.signals["outcome"]
    before = float(np.mean(model.residual(rollouts, returns).values ** 2))
    model.fit(rollouts, returns, epochs=60, batch=40)
    residual = model.residual(rollouts, returns).values
    assert np.mean(residual**2) < 0.25 * min(before, float(np.var(returns.values)) + 0.25)
    np.testing.assert_allclose(
        rollouts.reduce(model(rollouts), "rollout").values + residual, returns.values, atol=1e-6
    )


def test_the_loss_of_a_rollout_without_steps_is_its_squared_return():
    model = models.ProgressEstimator(lab(), trunk=False)
    alone = agentic().select([2, 2])
    metrics = model.train_batch(alone, Signal([2.0, np.nan], "rollout", "outcome"))
    assert metrics["loss"] == pytest.approx(4.0)


def test_micro_batches_and_order_change_nothing():
    rollouts = planted(lab(), 16, seed=5)
    losses = []
    for micro, order in ((1 << 12, np.arange(16)), (80, np.arange(16)), (1 << 12, np.arange(16)[::-1])):
        model = models.StepClassifier(lab(micro_tokens=micro), lr=1e-3)
        part = rollouts.select(order)
        losses.append([model.train_batch(part, part.signals["steps"])["loss"] for _ in range(3)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-3)


def test_balanced_labels_weigh_the_same():
    target = np.array([0.0, 1.0, 1.0, 1.0, np.nan])
    weights = models.StepClassifier(lab(), balance=True)._weights(target)
    np.testing.assert_allclose(weights, [2.0, 2 / 3, 2 / 3, 2 / 3, np.nan])
    np.testing.assert_allclose(models.StepClassifier(lab())._weights(target), [1, 1, 1, 1, np.nan])


def test_only_the_head_is_trained_where_asked():
    engine = lab()
    rollouts = planted(engine, 8)
    before = {name: p.detach().clone() for name, p in engine.parameters().items()}
    model = models.StepClassifier(engine, lr=1e-2)
    model.fit(rollouts, rollouts.signals["steps"], epochs=3, trunk=False)
    assert all(torch.equal(before[name], p) for name, p in engine.parameters().items())
    frozen = models.StepClassifier(engine.clone())
    frozen.fit(rollouts, rollouts.signals["steps"])
    with pytest.raises(EngineError, match="frozen"):
        frozen.train_batch(rollouts, rollouts.signals["steps"], trunk=True)


def test_bad_targets_are_named():
    engine = lab()
    rollouts = planted(engine, 4)
    model = models.StepClassifier(engine)
    with pytest.raises(DataError, match=r"step spans.*per rollout"):
        model.fit(rollouts, rollouts.signals["outcome"])
    with pytest.raises(DataError, match=r"-1.0 at step 0"):
        model.fit(rollouts, Signal(-np.ones(rollouts.count("step")), "step", "marks"))
    with pytest.raises(DataError, match="all missing"):
        model.fit(rollouts, Signal(np.full(rollouts.count("step"), np.nan), "step", "marks"))
    with pytest.raises(DataError, match="no 'turn' spans"):
        models.StepClassifier(engine, level="turn")(rollouts)


def test_missing_targets_are_left_out():
    engine = lab()
    rollouts = planted(engine, 8, seed=6)
    targets = rollouts.signals["steps"].values.copy()
    odd = np.flatnonzero(np.arange(len(targets)) % 3 == 0)
    targets[odd] = np.nan
    flipped = rollouts.signals["steps"].values.copy()
    losses = []
    for values in (targets, np.where(np.isnan(targets), np.nan, flipped)):
        model = models.StepClassifier(lab(), lr=1e-3)
        losses.append(model.train_batch(rollouts, Signal(values, "step", "marks"))["loss"])
    assert losses[0] == losses[1] and np.isfinite(losses[0])


@pytest.mark.parametrize("kind", ["StepClassifier", "ProgressEstimator", "TokenCritic"])
def test_lab_and_hf_agree_on_the_same_weights(tmp_path, kind):
    engine = lab()
    rollouts = planted(engine, 6)
    mine = getattr(models, kind)(
        engine, hidden=(8,), seed=5, **({"zero": False} if kind == "TokenCritic" else {})
    )
    theirs = getattr(models, kind)(lab_as_hf(engine, tmp_path / "m"), hidden=(8,), seed=5)
    theirs.head.load_state_dict(mine.head.state_dict())
    np.testing.assert_allclose(theirs(rollouts).values, mine(rollouts).values, atol=1e-4)


@pytest.mark.parametrize("name", ENGINES)
def test_models_come_back_from_disk(tmp_path, name):
    engine = ENGINES[name]()
    rollouts = planted(engine, 6)
    for kind, extra in (
        ("StepClassifier", {"outputs": 1, "score": "probability"}),
        ("ProgressEstimator", {"source": "score"}),
        ("TokenCritic", {"zero": False, "gamma": 0.9}),
    ):
        model = getattr(models, kind)(engine.clone(frozen=False), hidden=(8,), **extra)
        path = model.save(tmp_path / kind)
        back = models.load(path, device="cpu")
        assert type(back) is type(model) and back.settings == model.settings and not back.online
        np.testing.assert_array_equal(back(rollouts).values, model(rollouts).values)
        assert back.version == models.load(path, device="cpu").version != model.version


def test_saving_again_replaces_a_model_and_nothing_else(tmp_path):
    engine = lab()
    rollouts = planted(engine, 4)
    model = models.StepClassifier(engine, lr=1e-2)
    model.save(tmp_path / "prm")
    model.fit(rollouts, rollouts.signals["steps"], epochs=2)
    model.save(tmp_path / "prm")
    np.testing.assert_array_equal(models.load(tmp_path / "prm")(rollouts).values, model(rollouts).values)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prm"]
    (tmp_path / "notes").mkdir()
    with pytest.raises(StoreError, match="holds no model"):
        model.save(tmp_path / "notes")


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"no model.*model\.json"):
        models.load(tmp_path)
    path = models.StepClassifier(lab()).save(tmp_path / "prm")
    config = json.loads((path / "model.json").read_text())
    (path / "model.json").write_text(json.dumps({**config, "kind": "step_classifer"}))
    with pytest.raises(StoreError, match=r"step_classifer.*step_classifier"):
        models.load(path)
    (path / "model.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(StoreError, match="format 99"):
        models.load(path)
    (path / "model.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        models.load(path)


def test_training_goes_on_bit_for_bit_from_disk(tmp_path):
    rollouts = planted(lab(), 8)
    model = models.StepClassifier(lab(), lr=1e-3)
    model.train_batch(rollouts, rollouts.signals["steps"])
    (tmp_path / "at").mkdir()
    model.write(tmp_path / "at", optimizer=True)
    other = models.StepClassifier(lab(seed=9), lr=1e-3, seed=3)
    other.read(tmp_path / "at")
    for _ in range(3):
        a, b = (m.train_batch(rollouts, rollouts.signals["steps"]) for m in (model, other))
        assert a == b
    np.testing.assert_array_equal(model(rollouts).values, other(rollouts).values)


def test_adapters_come_back_on_their_base(tmp_path):
    pytest.importorskip("peft")
    from guerdon.engines.hf import HFEngine

    lab().save(tmp_path / "base")
    engine = HFEngine(model=tmp_path / "base", lora={"r": 2}, device="cpu", lr=1e-2)
    rollouts = planted(engine, 4)
    for kind, targets in (("StepClassifier", "steps"), ("ImplicitPRM", "outcome")):
        model = getattr(models, kind)(engine.clone(frozen=False), lr=1e-2)
        model.fit(rollouts, rollouts.signals[targets], epochs=2)
        path = model.save(tmp_path / kind)
        largest = max(p.stat().st_size for p in path.rglob("*.safetensors"))
        assert largest < (tmp_path / "base" / "model.safetensors").stat().st_size  # adapters, no base
        np.testing.assert_allclose(models.load(path)(rollouts).values, model(rollouts).values, atol=1e-6)
    assert not (tmp_path / "ImplicitPRM" / "trunk" / "model.safetensors").exists()
