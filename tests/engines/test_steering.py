from __future__ import annotations

import numpy as np
import pytest
from small_engines import PROMPTS, taught_lab, tiny_lab
from small_hf import tiny_hf

from guerdon.engines import HFEngine, steer
from guerdon.engines.protocol import Sampling
from guerdon.errors import EngineError

LIMITS = Sampling(max_new_tokens=10, seed=5)
ENGINES = {"lab": tiny_lab, "hf": tiny_hf}


def direction(engine, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=engine.width)


@pytest.mark.parametrize("kind", ENGINES)
def test_the_stream_moves_by_the_vector_and_comes_back(kind):
    engine = ENGINES[kind]()
    rollouts = engine.rollouts_from_text(PROMPTS[:2], ["abc", "12"])
    plain, v = engine.hidden(rollouts, 1), direction(engine)
    last = engine.hidden(rollouts, -1)
    with steer(engine, v, 0.5, layer=1):
        np.testing.assert_allclose(engine.hidden(rollouts, 1), plain + 0.5 * v, atol=1e-4)
        assert np.abs(engine.hidden(rollouts, -1) - last).max() > 1e-3
        with steer(engine, v, -0.5, layer=1):
            np.testing.assert_allclose(engine.hidden(rollouts, 1), plain, atol=1e-4)
    np.testing.assert_array_equal(engine.hidden(rollouts, 1), plain)


@pytest.mark.parametrize("kind", ENGINES)
def test_cached_decoding_is_steered_as_scoring_is(kind):
    engine = ENGINES[kind]()
    with steer(engine, direction(engine), 1.0, layer=-2):
        rollouts = engine.generate(PROMPTS, n=2, sampling=LIMITS)
        np.testing.assert_allclose(
            engine.logprobs(rollouts).values, rollouts.logprobs.values, atol=2e-4, rtol=0
        )
    assert np.abs(engine.logprobs(rollouts).values - rollouts.logprobs.values).max() > 1e-2


def test_lab_and_transformers_agree_on_a_steered_policy(tmp_path):
    lab = taught_lab()
    lab.save(tmp_path / "model")
    hf = HFEngine(str(tmp_path / "model"), device="cpu")
    rollouts = lab.generate(PROMPTS[:2], n=2, sampling=LIMITS)
    v = direction(lab)
    with steer(lab, v, 0.3), steer(hf, v, 0.3):
        a, b = lab.logprobs(rollouts).values, hf.logprobs(rollouts).values
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_nothing_is_left_behind_by_an_error():
    engine = tiny_lab()
    rollouts = engine.rollouts_from_text(PROMPTS[:1], ["abc"])
    plain = engine.logprobs(rollouts).values
    with pytest.raises(ZeroDivisionError), steer(engine, direction(engine)):
        raise ZeroDivisionError
    np.testing.assert_array_equal(engine.logprobs(rollouts).values, plain)


@pytest.mark.parametrize("layer", [0, 2, -1, 3, -4])
def test_layers_that_cannot_be_steered(layer):
    engine = tiny_lab()
    with (
        pytest.raises(EngineError, match="can be steered in 1 to 1"),
        steer(engine, direction(engine), layer=layer),
    ):
        pass


def test_vectors_that_do_not_fit():
    engine = tiny_lab()
    with pytest.raises(EngineError, match="32 finite numbers"), steer(engine, np.ones(31)):
        pass
    with pytest.raises(EngineError, match="not finite"), steer(engine, np.full(32, np.nan)):
        pass
    with pytest.raises(EngineError, match="cannot be steered"), steer(object(), np.ones(32)):
        pass
