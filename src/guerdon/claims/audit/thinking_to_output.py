"""Profiles of reasoning traces: rates per thousand words against counts per trace, between models."""

from __future__ import annotations

import numpy as np

from guerdon.audit.calibration import spearman
from guerdon.claims.claim import Claim, Measured
from guerdon.systems.audit.thinking_to_output import thinking_to_output

MODELS, TRACES = 10, 30
MARKS = np.array(["wait", "hmm", "actually"])
PLAIN = np.array(["the", "sum", "is", "even", "waiting", "rooms", "hold", "two", "red", "actual", "cubes"])


def trace(rate: float, length: int, rng: np.random.Generator) -> str:
    """Words, of which a share is a mark of reflection; words that only contain one are no marks."""
    marked = rng.random(length) < rate / 1000
    return " ".join(np.where(marked, rng.choice(MARKS, length), rng.choice(PLAIN, length)))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Rank correlation of a measure of reflection with the planted rate over models."""
    rng, planted, found = np.random.default_rng(seed), [], []
    for _ in range(4 if smoke else MODELS):
        rate, typical = rng.uniform(3.0, 20.0), rng.integers(100, 600)
        lengths = rng.integers(typical // 2, 2 * typical, 3 if smoke else TRACES)
        report = thinking_to_output()([trace(rate, int(n), rng) for n in lengths])
        per_thousand, words = report["reflection"].value, report["words"].value
        planted.append(rate)
        found.append(per_thousand if arm == "rates" else per_thousand * words / 1000)
    return spearman(found, planted)


CLAIM = Claim(
    slug="thinking-to-output",
    claim="Models differ in how much they reflect while thinking, and counting phrases relative to length "
    "tells them apart (the profile of Liu et al., arXiv 2506.21609).",
    metric="rank correlation with the planted rate of reflection over 10 models",
    baseline="counts per trace",
    system="rates",
    run=run,
    margin=0.05,
    seeds=10,
    notes="Generated traces: 3 to 20 marks per thousand words, among words that merely contain one; models "
    "differ in typical length by up to six times, 30 traces each. The profile is tried, not the four "
    "published models.",
)
