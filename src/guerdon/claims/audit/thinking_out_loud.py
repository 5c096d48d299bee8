"""Stated confidence: what calibration error sees of over-confidence that ranking does not."""

from __future__ import annotations

import numpy as np

from guerdon.audit.calibration import spearman
from guerdon.claims.claim import Claim, Measured
from guerdon.systems.audit.thinking_out_loud import thinking_out_loud

MODELS, ANSWERS = 15, 500


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Rank correlation of a measure with how far stated confidence is from the model's own knowledge."""
    rng, measure = np.random.default_rng(seed), thinking_out_loud()
    planted, found = [], []
    for _ in range(MODELS):
        sharpness = rng.uniform(1.0, 5.0)
        logit = rng.normal(rng.uniform(-0.5, 1.0), rng.uniform(0.8, 1.6), 60 if smoke else ANSWERS)
        knows = 1 / (1 + np.exp(-logit))
        stated = 1 / (1 + np.exp(-sharpness * logit))
        right = (rng.random(len(logit)) < knows).astype(int)
        texts = [f"The answer is 4. Confidence: {100 * p:.0f}%" for p in stated]
        report = measure(texts, right.tolist(), [10] * len(texts))
        planted.append(float(np.abs(stated - knows).mean()))
        found.append(report["ece"] if arm == "ece" else 1.0 - report["auroc"])
    return spearman(found, planted)


CLAIM = Claim(
    slug="thinking-out-loud",
    claim="Calibration error of verbalised confidence tells apart models that know when they are right from "
    "models that only sound sure, which the ranking of answers by confidence does not (the measures of Mei "
    "et al., arXiv 2504.06564).",
    metric="rank correlation with the planted gap between stated and true confidence over 15 models",
    baseline="1 - auroc",
    system="ece",
    run=run,
    margin=0.1,
    seeds=10,
    notes="Synthetic models: chances of being right drawn per answer, stated in per cent after their logit "
    "was multiplied by 1 to 5; 500 answers each, read from text. That distillation and reinforcement "
    "learning improve the calibration of language models is not tried.",
)
