"""The generative verifier: learns, round-trips, refuses, and reads each text once."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

import guerdon
from guerdon.engines.lab import LabEngine
from guerdon.errors import DataError
from guerdon.models import GenerativeVerifier, load, save


def engine(seed=0):
    return LabEngine(dim=32, layers=2, heads=2, context=48, device="cpu", seed=seed)


def rows(n, seed):
    rng = random.Random(seed)
    out = []
    for _ in range(n):
        reference, label = rng.choice("abcd"), rng.randint(0, 1)
        response = reference if label else rng.choice([c for c in "abcd" if c != reference])
        out.append({"question": "?", "response": response, "reference": reference, "label": label})
    return out


def test_it_learns_to_compare_with_the_reference_and_round_trips(tmp_path):
    verifier = GenerativeVerifier(engine(), template="{question}{response}{reference}:")
    losses = verifier.fit(rows(400, 0), steps=200, batch=32, lr=3e-3)
    assert losses[-1] < losses[0]
    test = rows(100, 9)
    batch = guerdon.Rollouts(
        prompt=["?"] * 100,
        completion=[r["response"] for r in test],
        reference=[r["reference"] for r in test],
    )
    found = verifier(batch)
    assert np.mean((found.values > 0.5) == [r["label"] for r in test]) > 0.8
    save(verifier, tmp_path / "v")
    again = load(tmp_path / "v", device="cpu")
    assert again(batch).values == pytest.approx(found.values, abs=1e-5)
    few = batch.select([3, 1])
    assert verifier(few).values == pytest.approx(found.values[[3, 1]], abs=1e-5)


def test_places_are_filled_once():
    verifier = GenerativeVerifier(engine(), template="{question}|{response}|{reference}")
    assert verifier.prompt("q", "{reference}", "r") == "q|{reference}|r"
    with pytest.raises(DataError, match=r"no place \{response\}"):
        GenerativeVerifier(engine(), template="{question}{reference}")


def test_a_template_without_a_reference_needs_none():
    verifier = GenerativeVerifier(engine(), template="{question}{response}:")
    learnt = [{"question": "", "response": c, "label": int(c == "a")} for c in "aabc"]
    losses = verifier.fit(learnt, steps=60, batch=4, lr=3e-3)
    assert losses[-1] < losses[0]
    signal = verifier(guerdon.Rollouts(completion=["a", "b"]))
    assert signal.values[0] > signal.values[1] and not signal.causes


def test_what_is_missing_and_what_is_refused():
    verifier = GenerativeVerifier(engine(), template="{question}{response}{reference}:")
    batch = guerdon.Rollouts(completion=["a", "b" * 100, ""], reference=[None, "b", "c"])
    signal = verifier(batch)
    assert signal.causes == {0: "reference missing", 1: "longer than the engine's context"}
    assert math.isnan(signal.values[0]) and 0 < signal.values[2] < 1
    with pytest.raises(DataError, match="label 0 or 1"):
        verifier.fit([{"question": "", "response": "", "reference": "", "label": 0.5}], steps=1)
    with pytest.raises(DataError, match="label 0 or 1"):
        verifier.fit([], steps=1)
