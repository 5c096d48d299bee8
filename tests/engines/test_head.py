from __future__ import annotations

import pytest
import torch

from guerdon.engines import head
from guerdon.engines.head import token_stats


def reference(hidden, weight, targets, temperature):
    logprobs = torch.log_softmax(hidden @ weight.t() / temperature, -1)
    return logprobs.gather(1, targets[:, None])[:, 0], -(logprobs.exp() * logprobs).sum(-1)


@pytest.mark.parametrize("chunk", [1 << 25, 7 * 11])
@pytest.mark.parametrize("use", ["both", "logprobs", "entropy"])
def test_values_and_gradients_equal_plain_autograd(monkeypatch, chunk, use):
    monkeypatch.setitem(head.CHUNK_LOGITS, "cpu", chunk)
    torch.manual_seed(0)
    hidden = torch.randn(23, 5, requires_grad=True)
    weight = torch.randn(11, 5, requires_grad=True)
    targets = torch.randint(0, 11, (23,))
    a, b = torch.randn(23), torch.randn(23)
    if use != "both":
        a, b = (a, None) if use == "logprobs" else (None, b)
    grads = []
    stats = token_stats(hidden, lambda h: h @ weight.t(), targets, 11, temperature=0.7)
    expected = reference(hidden, weight, targets, 0.7)
    for got in ((stats.logprobs, stats.entropy), expected):
        total = sum((w * x).sum() for w, x in zip((a, b), got, strict=True) if w is not None)
        grads.append(torch.autograd.grad(total, (hidden, weight)))
    torch.testing.assert_close(stats.logprobs, expected[0])
    torch.testing.assert_close(stats.entropy, expected[1])
    for got, want in zip(*grads, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


def test_entropy_is_left_out_on_request():
    stats = token_stats(torch.randn(3, 4), lambda h: h, torch.tensor([0, 1, 2]), 4, entropy=False)
    assert stats.entropy is None
