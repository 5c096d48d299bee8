"""The policy-loss core: published examples, verl's numbers, and how objectives reduce to each other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.errors import RecipeError
from guerdon.learn.objective import KL, Objective, cispo, gspo, minirl, ppo, reinforce
from guerdon.learn.policy_loss import Counts, TokenBatch, aggregate, kl_estimate, policy_loss

DATA = os.environ.get("GUERDON_DATA")


def batch_of(old, advantage, lengths, mask=None, mu=None, ref=None):
    to = lambda x: None if x is None else torch.tensor(x, dtype=torch.float64)  # noqa: E731
    row = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    mask = torch.ones(len(row), dtype=torch.float64) if mask is None else to(mask)
    counted = torch.zeros(len(lengths), dtype=torch.float64).index_add(0, row, mask)
    return TokenBatch(to(old), to(advantage), mask, row, counted, to(mu), to(ref))


def counts_of(batch, max_length=1):
    return Counts(int(batch.mask.sum()), int((batch.lengths > 0).sum()), max_length)


def gradient(objective, logp, batch):
    logp = torch.tensor(logp, dtype=torch.float64, requires_grad=True)
    loss, _ = policy_loss(logp, None, batch, objective, counts_of(batch))
    loss.backward()
    return loss.item(), logp.grad.numpy()


@pytest.mark.parametrize(("advantage", "expected"), [(0.75, 2.868750), (-0.25, -0.931250)])
def test_minirl_card_example(advantage, expected):
    logp = np.array([-0.5, -1.0, -0.3, -2.0])
    ratio = np.array([1.1, 1.3, 0.7, 1.0])
    weight = np.array([1.05, 1.4, 6.0, 0.9])
    batch = batch_of(logp - np.log(ratio), [advantage] * 4, [4], mu=logp - np.log(weight))
    loss, grad = gradient(minirl(), logp, batch)
    assert loss == pytest.approx(expected, abs=1e-6)
    kept = [1, 0, 1, 1] if advantage > 0 else [1, 1, 0, 1]
    np.testing.assert_allclose(grad, -np.minimum(weight, 5) * advantage * np.array(kept), atol=1e-9)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("token_mean", 1.75), ("seq_mean_token_mean", 2.5), ("seq_mean_token_sum", 3.5), ("constant", 0.875)],
)
def test_aggregation_by_hand(how, expected):
    batch = batch_of([0] * 4, [0] * 4, [1, 3])
    got = aggregate(torch.tensor([4.0, 1, 1, 1], dtype=torch.float64), batch, how, Counts(4, 2, 4))
    assert got.item() == pytest.approx(expected)


@pytest.mark.parametrize("how", ["token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "constant"])
def test_micro_batches_add_up(how):
    rng = np.random.default_rng(0)
    x = rng.normal(size=6)
    whole = batch_of([0] * 6, [0] * 6, [2, 1, 3])
    counts = counts_of(whole, 7)
    first, second = batch_of([0] * 3, [0] * 3, [2, 1]), batch_of([0] * 3, [0] * 3, [3])
    parts = aggregate(torch.tensor(x[:3]), first, how, counts) + aggregate(
        torch.tensor(x[3:]), second, how, counts
    )
    assert parts.item() == pytest.approx(aggregate(torch.tensor(x), whole, how, counts).item())


@pytest.mark.skipif(not DATA, reason="GUERDON_DATA is unset: no reference numbers to compare with")
def test_kl_and_aggregation_equal_verl():
    path = Path(DATA).parent / "golden" / "verl_0.9.1.json"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside GUERDON_DATA")
    golden = json.loads(path.read_text())
    lens = np.array(golden["lens"])
    valid = np.arange(9)[None, :] < lens[:, None]
    lp, ref = (torch.tensor(np.array(golden[k])[valid]) for k in ("lp", "ref"))
    for ours, theirs in {"k1": "kl_kl", "k2": "kl_mse", "k3": "kl_low_var_kl", "abs": "kl_abs"}.items():
        expected = np.array(golden["results"][theirs])[valid]
        np.testing.assert_allclose(kl_estimate(lp, ref, ours).numpy(), expected, atol=1e-5)
    batch = batch_of(lp.numpy(), np.zeros(valid.sum()), lens.tolist())
    loss = torch.tensor(np.array(golden["adv"])[valid])
    names = {
        "token_mean": "token-mean",
        "seq_mean_token_sum": "seq-mean-token-sum",
        "seq_mean_token_mean": "seq-mean-token-mean",
        "constant": "seq-mean-token-sum-norm",
    }
    for ours, theirs in names.items():
        got = aggregate(loss, batch, ours, counts_of(batch, 9)).item()
        assert got == pytest.approx(golden["results"][f"agg_{theirs}"], abs=1e-5)


floats = st.floats(-3, 3, allow_nan=False)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(floats, floats), min_size=1, max_size=8), st.integers(0, 2**31))
def test_gradients_coincide_on_policy(pairs, seed):
    """PPO, CISPO, MiniRL (mu = pi_old) and REINFORCE have the same gradient at ratio 1."""
    logp = np.array([p[0] for p in pairs])
    batch = batch_of(logp, [p[1] for p in pairs], [len(pairs)])
    expected = gradient(reinforce(), logp, batch)[1]
    for objective in (ppo(), cispo(), minirl(aggregate="token_mean"), ppo(clip=[0.2, 0.28], dual=3.0)):
        np.testing.assert_allclose(gradient(objective, logp, batch)[1], expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(floats, floats, floats), min_size=1, max_size=6))
def test_gspo_on_one_token_rollouts_is_ppo(rows):
    logp, old, adv = (np.array(x) for x in zip(*rows, strict=True))
    old = logp + 0.2 * old  # ratios around 1, on both sides of the range
    batch = batch_of(old, adv, [1] * len(rows))
    a = gradient(gspo(clip=[0.2, 0.2], aggregate="token_mean"), logp, batch)
    b = gradient(ppo(clip=0.2), logp, batch)
    assert a[0] == pytest.approx(b[0])
    np.testing.assert_allclose(a[1], b[1], atol=1e-12)


@given(st.lists(st.tuples(floats, floats), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_kl_estimators(pairs):
    logp, ref = (torch.tensor(x, dtype=torch.float64) for x in zip(*pairs, strict=True))
    for estimator in ("k1", "k2", "k3", "abs"):
        assert (kl_estimate(logp, logp, estimator) == 0).all()
    assert (kl_estimate(logp, ref, "k2") >= 0).all()
    assert (kl_estimate(logp, ref, "k3") >= -1e-12).all()


def test_kl_gradients_on_a_softmax():
    """Exact expectations: k1 in the loss pulls nowhere, k2 follows KL(pi||ref), k3 KL(ref||pi)."""
    torch.manual_seed(0)
    logits = 0.3 * torch.randn(5, dtype=torch.float64)  # close together: k3 is clamped far away
    ref = (0.3 * torch.randn(5, dtype=torch.float64)).log_softmax(0)

    def expected_gradient(estimator):
        theta = logits.clone().requires_grad_()
        logp = theta.log_softmax(0)
        (logp.detach().exp() * kl_estimate(logp, ref, estimator)).sum().backward()
        return theta.grad

    def true_gradient(reverse):
        theta = logits.clone().requires_grad_()
        logp = theta.log_softmax(0)
        kl = (ref.exp() * (ref - logp)).sum() if reverse else (logp.exp() * (logp - ref)).sum()
        kl.backward()
        return theta.grad

    assert expected_gradient("k1").abs().max() < 1e-12
    torch.testing.assert_close(expected_gradient("k2"), true_gradient(reverse=False))
    torch.testing.assert_close(expected_gradient("k3"), true_gradient(reverse=True))


def test_ppo_gradient_vanishes_exactly_where_minirl_masks():
    rng = np.random.default_rng(1)
    logp, adv = rng.normal(size=200), rng.normal(size=200)
    batch = batch_of(logp - rng.normal(scale=0.4, size=200), adv, [200])
    dead_ppo = gradient(ppo(clip=[0.2, 0.27]), logp, batch)[1] == 0
    dead_mask = gradient(minirl(clip=[0.2, 0.27]), logp, batch)[1] == 0
    assert dead_ppo.any() and not dead_ppo.all()
    np.testing.assert_array_equal(dead_ppo, dead_mask)


def test_masked_tokens_do_not_matter():
    rng = np.random.default_rng(2)
    logp, old, adv = rng.normal(size=5), rng.normal(size=5), rng.normal(size=5)
    mask = [1, 1, 0, 1, 0]
    keep = np.array(mask, bool)
    for objective in (ppo(), gspo(clip=0.2), cispo(), minirl(), reinforce(aggregate="seq_mean_token_mean")):
        with_tool = batch_of(old, adv, [3, 2], mask=mask)
        without = batch_of(old[keep], adv[keep], [2, 1])
        loss, grad = gradient(objective, logp, with_tool)
        expected, expected_grad = gradient(objective, logp[keep], without)
        assert loss == pytest.approx(expected)
        np.testing.assert_allclose(grad[keep], expected_grad, atol=1e-12)
        assert (grad[~keep] == 0).all()


def test_dual_clip_bounds_negative_advantages():
    batch = batch_of([-3.0], [-1.0], [1])
    assert gradient(ppo(dual=3.0), [0.0], batch)[0] == pytest.approx(3.0)
    assert gradient(ppo(), [0.0], batch)[0] == pytest.approx(np.exp(3.0))


def test_entropy_bonus_enters_the_loss():
    batch = batch_of([0.0, 0.0], [0.0, 0.0], [2])
    entropy = torch.tensor([1.0, 3.0], dtype=torch.float64)
    loss, metrics = policy_loss(
        torch.zeros(2, dtype=torch.float64), entropy, batch, ppo(entropy=0.5), counts_of(batch)
    )
    assert loss.item() == pytest.approx(-1.0)
    assert metrics["policy/entropy"].item() == pytest.approx(2.0)


@pytest.mark.parametrize("weight,expected", [("truncated", 2.0), ("masked", 0.0)])
def test_off_policy_weight(weight, expected):
    batch = batch_of([0.0], [1.0], [1], mu=[-2.0])  # pi_old / mu = e^2 > 2
    loss, _ = gradient(ppo(weight=weight, weight_cap=2.0), [0.0], batch)
    assert loss == pytest.approx(-expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ppo(clip="x"),
        lambda: ppo(clip=[1, 2, 3]),
        lambda: ppo(aggregate="mean"),
        lambda: ppo(kl={"coeff": 1}),
        lambda: ppo(kl=3),
        lambda: KL(estimator="k4"),
        lambda: KL(coef=-1),
        lambda: Objective(low=2.0),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(RecipeError, match="objective"):
        make()
