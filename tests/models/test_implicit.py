"""Implicit rewards: the log-ratio, its telescoping, learning from outcomes and from pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import TASK, auroc, hf, lab, lab_as_hf, planted

from guerdon import models
from guerdon.data import Ragged, Rollouts, Signal
from guerdon.data.spans import split
from guerdon.errors import DataError, RecipeError
from guerdon.models.losses import implicit_outcome

ENGINES = {"lab": lab, "hf": hf}


def odd() -> Rollouts:
    return Rollouts(
        prompt=["1+1=", "2+2=", "3+3="],
        tokens=Ragged.from_lists([[50, 51, 52, 53], [], [54]], dtype=np.int32),
        acted=Ragged.from_lists([[1, 0, 0, 1], [], [1]], dtype=bool),
        partitions={"step": Ragged.from_lists([[2, 4], [], [1]], dtype=np.int64)},
        signals={"outcome": Signal([1.0, 0.0, np.nan], "rollout", "outcome")},
    )


@pytest.mark.parametrize("name", ENGINES)
def test_the_signal_is_the_log_ratio_on_chosen_tokens(name):
    engine = ENGINES[name]()
    model = models.ImplicitPRM(engine, lr=1e-2)
    assert not model(odd()).values.any()  # nothing was learnt yet
    model.observe(odd())
    ratio = model(odd())
    wanted = engine.logprobs(odd()).values - model.reference.logprobs(odd()).values
    np.testing.assert_allclose(ratio.values, np.where([1, 0, 0, 1, 1], wanted, 0), atol=1e-6)
    assert ratio.level == "token" and ratio.name == "implicit" and ratio.values[[0, 3]].all()


def test_the_policy_itself_can_be_the_reference():
    engine = lab()
    model = models.ImplicitPRM(engine, "policy")
    rollouts = odd()
    with pytest.raises(DataError, match="logprobs"):
        model(rollouts)
    behaviour = rollouts.tokens.with_values(np.array([-1.0, -2.0, -3.0, -4.0, -5.0]))
    ratio = model(rollouts.replace(logprobs=behaviour)).values
    wanted = engine.logprobs(rollouts).values - behaviour.values
    np.testing.assert_allclose(ratio, np.where([1, 0, 0, 1, 1], wanted, 0), atol=1e-5)


@pytest.mark.parametrize("name", ENGINES)
def test_step_rewards_telescope_to_the_running_one(name):
    engine = ENGINES[name]()
    rollouts = planted(engine, 6)
    model = models.ImplicitPRM(engine, lr=1e-2, beta=0.1)
    model.observe(rollouts)
    step = model.prefix_rewards(rollouts)
    running = model.prefix_rewards(rollouts, accumulate=True)
    np.testing.assert_allclose(step.values, 0.1 * rollouts.reduce(model(rollouts), "step").values, atol=1e-6)
    last = rollouts.reduce(running, "rollout", "last").values
    np.testing.assert_allclose(last, rollouts.reduce(step, "rollout").values, atol=1e-6)


def test_text_gets_rewards_for_its_steps():
    engine = lab()
    model = models.ImplicitPRM(engine, lr=1e-2)
    model.observe(planted(engine, 6))
    texts = ["1+1=2;#2", "1+é", ""]
    text = split(Rollouts(prompt=["1+1="] * 3, completion=texts), by=TASK.split_steps)
    ids = [engine.tokenizer.encode(t) for t in texts]
    tokens = Rollouts(prompt=["1+1="] * 3, tokens=Ragged.from_lists(ids, dtype=np.int32))
    tokens = split(tokens, by=TASK.split_steps, tokenizer=engine.tokenizer)
    np.testing.assert_allclose(
        model.prefix_rewards(text).values, model.prefix_rewards(tokens).values, atol=1e-6
    )
    with pytest.raises(DataError, match="prefix_rewards"):
        model(text)


def test_the_outcome_step_is_the_gradient_of_the_mean_cross_entropy():
    rollouts = planted(lab(), 6, seed=3)
    outcome = rollouts.signals["outcome"].values
    engine, other = lab(), lab()
    model = models.ImplicitPRM(engine, lr=1e-3, beta=0.3, max_grad_norm=1e9)
    for _ in range(2):
        metrics = model.train_batch(rollouts, rollouts.signals["outcome"])
    optimizer = torch.optim.AdamW(other.parameters().values(), lr=1e-3, betas=other.betas, weight_decay=0)
    reference = torch.from_numpy(other.logprobs(rollouts).values)
    row = torch.from_numpy(rollouts.tokens.row_ids())
    for _ in range(2):
        total = torch.zeros(6).index_add(0, row, other.forward(rollouts).logprobs - reference)
        loss = implicit_outcome(total, torch.from_numpy(outcome).float(), 0.3) / 6
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-4)
    np.testing.assert_allclose(engine.logprobs(rollouts).values, other.logprobs(rollouts).values, atol=1e-3)


@pytest.mark.parametrize("aggregate", ["sum", "mean"])
def test_the_preference_step_is_the_gradient_of_the_pairwise_loss(aggregate):
    rollouts = planted(lab(), 8, seed=3)
    outcome = Signal([1, 0, 0, 1, 1, 1, 0, 1], "rollout", "outcome")
    rollouts = rollouts.replace(group=np.repeat([0, 1], 4))
    steps = np.diff(rollouts.offsets("step"))
    engine, other = lab(micro_tokens=64), lab()
    model = models.ImplicitPRM(engine, loss="preference", aggregate=aggregate, lr=1e-3, max_grad_norm=1e9)
    metrics = model.train_batch(rollouts, outcome)
    reference = torch.from_numpy(other.logprobs(rollouts).values)
    row = torch.from_numpy(rollouts.tokens.row_ids())
    pairs = [
        (a, b) for g in (range(4), range(4, 8)) for a in g for b in g if outcome.values[a] > outcome.values[b]
    ]

    def loss(stats, rows):
        total = torch.zeros(8).index_add(0, row, stats.logprobs - reference)
        score = 0.05 * (total / torch.from_numpy(steps) if aggregate == "mean" else total)
        return torch.stack([torch.nn.functional.softplus(score[b] - score[a]) for a, b in pairs]).mean(), {}

    expected = other.train_step(rollouts, loss, micro_rollouts=8, lr=1e-3, max_grad_norm=1e9)
    assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert metrics["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-3)


@pytest.mark.parametrize("loss", ["outcome", "preference"])
@pytest.mark.parametrize("name", ENGINES)
def test_it_tells_right_from_wrong_in_what_it_has_seen(name, loss):
    engine = ENGINES[name]()
    rollouts = planted(engine, 16, seed=8).replace(group=np.arange(16) // 8)
    model = models.ImplicitPRM(engine, loss=loss, lr=3e-3)
    outcome = rollouts.signals["outcome"]
    losses = model.fit(rollouts, outcome, epochs=25, batch=16)
    score = rollouts.reduce(model(rollouts), "rollout").values
    assert losses[-1] < losses[0] and auroc(score, outcome.values) > 0.9


@pytest.mark.slow
def test_it_finds_wrong_steps_from_outcomes_alone():
    engine = lab()
    train, test = planted(engine, 1000, seed=1), planted(engine, 100, seed=2, split="valid")
    model = models.ImplicitPRM(engine, lr=2e-3, beta=0.1, max_grad_norm=1.0)
    model.fit(train, train.signals["outcome"], epochs=6, batch=32)
    found = auroc(model.prefix_rewards(test).values, test.signals["steps"].values)
    assert found > 0.58


@pytest.mark.parametrize("loss", ["outcome", "preference"])
def test_nothing_to_learn_changes_nothing(loss):
    engine = lab()
    rollouts = planted(engine, 4)
    model = models.ImplicitPRM(engine, loss=loss, online=True)
    missing = rollouts.replace(signals={"outcome": Signal(np.full(4, np.nan), "rollout", "outcome")})
    metrics = model.observe(missing)
    assert metrics == {"skipped": 1.0} and not model(rollouts).values.any()
    with pytest.raises(DataError, match="nothing to learn"):
        model.fit(rollouts, missing.signals["outcome"])
    if loss == "preference":  # a group of equals holds no pair
        ones = rollouts.replace(signals={"outcome": Signal(np.ones(4), "rollout", "outcome")})
        assert model.observe(ones) == {"skipped": 1.0}


def test_minibatches_keep_groups_whole_and_miss_nobody():
    rollouts = planted(lab(), 12).replace(group=np.array([3, 3, 3, 1, 1, 2, 2, 2, 2, 5, 5, 7]))
    model = models.ImplicitPRM(lab(), loss="preference", batch=4)
    parts = model._minibatches(rollouts, np.random.default_rng(0))
    assert sorted(np.concatenate(parts).tolist()) == list(range(12)) and len(parts) > 1
    owners = [set(rollouts.group[rows].tolist()) for rows in parts]
    assert sum(map(len, owners)) == 5


def test_bad_outcomes_and_settings_are_named():
    engine = lab()
    rollouts = planted(engine, 4)
    signed = rollouts.replace(signals={"outcome": Signal([1, -1, 1, 1], "rollout", "outcome")})
    with pytest.raises(DataError, match=r"outcome.*-1.0 at rollout"):
        models.ImplicitPRM(engine).observe(signed)
    with pytest.raises(DataError, match="carry: steps, outcome"):
        models.ImplicitPRM(engine, source="verifier").observe(rollouts)
    with pytest.raises(RecipeError, match="beta"):
        models.ImplicitPRM(engine, beta=0.0)
    with pytest.raises(RecipeError, match="'dpo'"):
        models.ImplicitPRM(engine, loss="dpo")


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("reference", [None, "policy"])
def test_it_comes_back_from_disk_with_its_reference(tmp_path, name, reference):
    engine = ENGINES[name]()
    rollouts = planted(engine, 4)
    rollouts = rollouts.replace(logprobs=engine.logprobs(rollouts))
    model = models.ImplicitPRM(engine, reference, lr=1e-2, beta=0.2)
    model.observe(rollouts)
    back = models.load(model.save(tmp_path / "prm"), device="cpu")
    assert back.settings == model.settings and back.beta == 0.2
    np.testing.assert_array_equal(back(rollouts).values, model(rollouts).values)
    assert back(rollouts).values.any()


def test_lab_and_hf_agree_on_the_same_weights(tmp_path):
    engine = lab()
    rollouts = planted(engine, 8, seed=2)
    ours = models.ImplicitPRM(engine.clone(frozen=False), lr=1e-3)
    theirs = models.ImplicitPRM(lab_as_hf(engine, tmp_path / "m"), lr=1e-3)
    a, b = ours.observe(rollouts), theirs.observe(rollouts)
    assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
