from __future__ import annotations

import numpy as np
import pytest
import torch

from guerdon.engines.protocol import Sampling
from guerdon.engines.sampler import StopStrings, choose
from guerdon.engines.tokenizer import ByteTokenizer
from guerdon.errors import RecipeError

LOGITS = torch.log(torch.tensor([[0.1, 0.5, 0.0, 0.4]]).clamp(min=1e-12))


def pick(u: float, **options) -> int:
    return int(choose(LOGITS, torch.tensor([u], dtype=torch.float64), Sampling(**options))[0])


def test_inverse_cdf_by_hand():
    assert [pick(u) for u in (0.0, 0.099, 0.101, 0.599, 0.601, 0.999999)] == [0, 0, 1, 1, 3, 3]


def test_greedy_ignores_the_uniform_and_scores_at_temperature_one():
    tokens, logprobs, _ = choose(LOGITS, torch.tensor([0.99], dtype=torch.float64), Sampling(temperature=0))
    assert int(tokens) == 1 and float(logprobs) == pytest.approx(np.log(0.5), abs=1e-6)


def test_temperature_sharpens():
    # p^2 normalised: 0.01, 0.25, 0.16 -> cdf .0238, .6190
    assert pick(0.62, temperature=0.5) == 3 and pick(0.61, temperature=0.5) == 1


def test_top_k_and_top_p_keep_the_right_tokens():
    assert {pick(u, top_k=2) for u in np.linspace(0, 0.999, 50)} == {1, 3}
    assert {pick(u, top_p=0.5) for u in np.linspace(0, 0.999, 50)} == {1}
    assert {pick(u, top_p=0.51) for u in np.linspace(0, 0.999, 50)} == {1, 3}
    assert {pick(u, top_p=1e-9) for u in np.linspace(0, 0.999, 50)} == {1}


def test_recorded_logprob_and_entropy_are_those_before_filtering():
    sampling = Sampling(top_k=1, entropy=True)
    _, logprobs, entropy = choose(LOGITS, torch.tensor([0.3], dtype=torch.float64), sampling)
    assert float(logprobs) == pytest.approx(np.log(0.5), abs=1e-6)
    p = np.array([0.1, 0.5, 0.4])
    assert float(entropy) == pytest.approx(-(p * np.log(p)).sum(), abs=1e-5)


def test_frequencies_follow_the_distribution():
    u = torch.from_numpy(np.random.default_rng(0).random(20000))
    tokens, _, _ = choose(LOGITS.expand(20000, 4), u, Sampling())
    share = np.bincount(tokens.numpy(), minlength=4) / 20000
    assert np.abs(share - [0.1, 0.5, 0.0, 0.4]).max() < 0.015


def test_stop_strings_across_tokens_and_within_one():
    class Pieces(ByteTokenizer):
        def token_bytes(self, ids):
            return [{0: b"a", 1: b"<e", 2: b"nd>x", 3: "é".encode()[:1], 4: "é".encode()[1:]}[i] for i in ids]

    stops = StopStrings(["<end>", "é"], Pieces(), rows=2)
    both = np.array([0, 1])
    assert stops.hit(both, np.array([1, 0])).tolist() == [False, False]
    assert stops.hit(both, np.array([2, 2])).tolist() == [True, False]
    assert stops.hit(np.array([1]), np.array([3])).tolist() == [False]
    assert stops.hit(np.array([1]), np.array([4])).tolist() == [True]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1),
        ("top_p", 0),
        ("top_p", 1.5),
        ("top_k", -1),
        ("max_new_tokens", 0),
        ("stop", ("",)),
    ],
)
def test_bad_sampling_names_the_field(field, value):
    with pytest.raises(RecipeError, match=f"sampling.{field}"):
        Sampling(**{field: value})


def test_a_single_stop_string_is_one_string():
    assert Sampling(stop="END").stop == ("END",)
