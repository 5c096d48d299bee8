"""Worked numbers, and gradients against automatic ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.models.critic import explained
from guerdon.models.losses import (
    bce,
    clipped_value,
    implicit_outcome,
    outcome_pairs,
    preference_weights,
    squared,
)
from guerdon.models.prefix_values import best_of_k
from guerdon.models.step_classifier import margins
from guerdon.models.utterance_critic import td_targets


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_implicit_outcome_loss_of_prime():
    total = t(1.2 - 0.4 + 2.0)
    assert torch.sigmoid(0.05 * total).item() == pytest.approx(0.534943, abs=1e-6)
    assert implicit_outcome(total, t(1.0), 0.05).item() == pytest.approx(0.625595, abs=1e-6)
    assert implicit_outcome(total, t(0.0), 0.05).item() == pytest.approx(0.765595, abs=1e-6)


def test_implicit_outcome_loss_of_implicit_prm():
    total = t(0.4 - 0.2 + 0.6 - 1.0)
    assert torch.sigmoid(0.05 * total).item() == pytest.approx(0.4975, abs=1e-4)
    assert implicit_outcome(total, t(1.0), 0.05).item() == pytest.approx(0.6982, abs=1e-4)


def test_preference_loss_of_istar_by_mean_and_by_sum():
    success, failure = np.array([0.05, 0.15]), np.array([-0.02, 0.04, -0.05])
    pair = np.array([0]), np.array([1])
    by_mean, _ = preference_weights(np.array([success.mean(), failure.mean()]), *pair)
    by_sum, _ = preference_weights(np.array([success.sum(), failure.sum()]), *pair)
    assert by_mean == pytest.approx(0.639659, abs=1e-6)
    assert by_sum == pytest.approx(0.584745, abs=1e-6)


def test_pairs_are_all_successes_against_all_failures_of_a_group():
    good, bad = outcome_pairs(np.array([1, 0, 0, 1, 1, np.nan, 0.5]), np.array([7, 7, 3, 7, 3, 7, 9]))
    assert sorted(zip(good.tolist(), bad.tolist(), strict=True)) == [(0, 1), (3, 1), (4, 2)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=2, max_size=6), st.integers(0, 9))
def test_preference_gradient_is_the_automatic_one(score, seed):
    rng = np.random.default_rng(seed)
    good, bad = rng.integers(0, len(score), (2, 5))
    x = torch.tensor(score, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.softplus(x[bad] - x[good]).mean()
    loss.backward()
    value, gradient = preference_weights(np.array(score), good, bad)
    assert value == pytest.approx(loss.item(), abs=1e-12)
    np.testing.assert_allclose(gradient, x.grad.numpy(), atol=1e-12)


def test_no_pairs_no_loss():
    value, gradient = preference_weights(np.array([1.0, 2.0]), np.empty(0, int), np.empty(0, int))
    assert value == 0 and not gradient.any()


def test_two_logits_are_one_margin():
    logits = t(0.0, 1.0)[None]
    assert np.tanh(margins(logits.numpy())[0] / 2) == pytest.approx(0.462117, abs=1e-6)  # PURE's P+ - P-
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([1]))
    assert bce(logits[:, 1] - logits[:, 0], t(1.0)).item() == pytest.approx(expected.item(), abs=1e-12)
    soft = torch.nn.functional.cross_entropy(logits, t(0.3, 0.7)[None])
    assert bce(logits[:, 1] - logits[:, 0], t(0.7)).item() == pytest.approx(soft.item(), abs=1e-12)


def test_progress_regresses_the_sum():
    contributions = t(0.2, 0.5, 0.1)
    assert squared(contributions.sum()[None], t(1.0)).item() == pytest.approx(0.04, abs=1e-12)


def test_value_clipping_takes_the_worse_of_the_two():
    value, old, target = t(2.0, 0.1), t(0.0, 0.0), t(2.0, 1.0)
    # 0 moves to 2 but is held at .5: (0.5 - 2)^2; .1 stays within: (0.1 - 1)^2
    assert clipped_value(value, old, target, 0.5).item() == pytest.approx(0.5 * (2.25 + 0.81))
    assert clipped_value(value, old, target, None).item() == pytest.approx(0.5 * 0.81)


def test_td_targets_of_archer():
    y = td_targets(np.array([0.0, 1.0, 0.5]), np.array([9.0, 0.8, 0.4]), np.array([0, 0, 1]), 0.95)
    np.testing.assert_allclose(y, [0.76, 1.0, 0.5])


def test_best_of_k_of_pav():
    before, after = best_of_k(np.array([0.25, 0.40]), 4)
    assert before == pytest.approx(0.683594, abs=1e-6) and after == pytest.approx(0.870400, abs=1e-6)
    assert after - before == pytest.approx(0.186806, abs=1e-6)
    assert np.diff(best_of_k(np.array([0.25, 0.40]), 32))[0] == pytest.approx(0.000100, abs=1e-6)


def test_explained_variance():
    assert explained(np.array([0.0, 1.0]), np.array([0.0, 1.0])) == 1.0
    assert explained(np.array([0.0, 1.0]), np.array([0.5, 0.5])) == 0.0
    assert np.isnan(explained(np.ones(2), np.zeros(2)))
