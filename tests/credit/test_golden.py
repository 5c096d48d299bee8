"""Equality with verl 0.9.1's own functions on one small batch."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from guerdon import credit
from guerdon.data import Ragged, Rollouts, Signal

DATA = os.environ.get("GUERDON_DATA")
GOLDEN = Path(DATA).parent / "golden" / "verl_0.9.1.json" if DATA else None
pytestmark = pytest.mark.skipif(
    GOLDEN is None or not GOLDEN.exists(),
    reason="GUERDON_DATA is unset: no reference numbers to compare with",
)


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())


def batch(golden, rows=slice(None)):
    """The golden batch as rollouts with the signals its methods read."""
    lens = np.array(golden["lens"])[rows]
    _, group = np.unique(np.array(golden["index"])[rows], return_inverse=True)

    def ragged(name):
        return Ragged.from_padded(np.array(golden[name])[rows], lens)

    return Rollouts(
        tokens=Ragged.from_lengths(np.ones(lens.sum(), np.int32), lens),
        group=group,
        values=ragged("values"),
        signals={
            "outcome": Signal(np.array(golden["reward"])[rows], "rollout", "outcome"),
            "baseline": Signal(np.linspace(-1, 1, 12)[rows], "rollout", "baseline"),
            "reward": Signal(ragged("dense").values, "token", "reward"),
        },
    )


CASES = {
    "grpo": (credit.grpo(), slice(None)),
    "grpo_nostd": (credit.grpo(scale="none"), slice(None)),
    "rloo": (credit.rloo(), slice(None)),
    "reinforce_pp_baseline": (credit.reinforce_pp_baseline(), slice(None)),
    "reinforce_pp": (credit.reinforce_pp(gamma=0.95), slice(None)),
    "gae": (credit.gae(gamma=0.97, lam=0.9), slice(None)),
    "opo": (credit.opo(), slice(None)),
    "gpg": (credit.gpg(), slice(None)),
    "remax": (credit.remax(), slice(None)),
    "grpo_passk": (credit.pass_at_k(), slice(0, 8)),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_verl(golden, name):
    method, rows = CASES[name]
    rollouts = batch(golden, rows)
    expected = np.array(golden["results"][name])
    expected = expected[0] if expected.ndim == 3 else expected
    got = rollouts.tokens.with_values(method(rollouts).values).to_padded()
    valid = np.arange(9)[None, :] < np.array(golden["lens"])[rows][:, None]
    np.testing.assert_allclose(got[valid], expected[valid], atol=1e-5)
    assert (got[~valid] == 0).all()
