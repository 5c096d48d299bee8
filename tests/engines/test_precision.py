from __future__ import annotations

import numpy as np
import pytest
import torch
from small_engines import PROMPTS, nll, same_weights, taught_lab, weights_of

from guerdon.engines.lab import LabEngine
from guerdon.engines.protocol import Sampling

LIMITS = Sampling(max_new_tokens=10, entropy=True)


def check_reduced_precision(engine, exact):
    """Scores near those in float32, float32 weights, and training that works."""
    rollouts = exact.generate(PROMPTS, n=4, sampling=LIMITS)
    np.testing.assert_allclose(engine.logprobs(rollouts).values, rollouts.logprobs.values, atol=0.15)
    own = engine.generate(PROMPTS, n=4, sampling=LIMITS)
    np.testing.assert_allclose(engine.logprobs(own).values, own.logprobs.values, atol=0.15)
    assert engine.hidden(rollouts).dtype == np.float32
    losses = [engine.train_step(rollouts, nll(rollouts), lr=3e-3)["loss"] for _ in range(12)]
    assert losses[-1] < losses[0] - 0.2
    assert {p.dtype for p in engine.parameters().values()} == {torch.float32}


def test_bf16_autocast_on_the_cpu(monkeypatch):
    """The same casts as on CUDA, where there is none."""
    engine = taught_lab()
    monkeypatch.setattr(engine, "precision", lambda: torch.autocast("cpu", dtype=torch.bfloat16))
    check_reduced_precision(engine, taught_lab())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_lab_on_cuda(tmp_path):
    exact = taught_lab()
    exact.save(tmp_path)
    engine = LabEngine(init=tmp_path)
    assert engine.device.type == "cuda"
    check_reduced_precision(engine, exact)
    engine.save(tmp_path / "run", optimizer=True)
    again = LabEngine(init=tmp_path / "run", device="cuda")
    again.load(tmp_path / "run")
    assert same_weights(weights_of(again), weights_of(engine))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_hf_on_cuda(tmp_path):
    pytest.importorskip("transformers")
    from guerdon.engines.hf import HFEngine

    exact = taught_lab()
    exact.save(tmp_path)
    engine = HFEngine(tmp_path)
    assert engine.device.type == "cuda"
    check_reduced_precision(engine, exact)
