"""RewardMATH: one right against nine wrong, and against one, as a forecast of best-of-N."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from guerdon.audit.calibration import spearman
from guerdon.bench.rewardmath import CHOSEN
from guerdon.claims.bench import _simulated as lab
from guerdon.claims.claim import Claim, Measured
from guerdon.systems.bench.rewardmath import rewardmath

MODELS, PROBLEMS, N = 20, 300, 256


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Rank correlation of the benchmark's accuracy with best-of-256 accuracy over reward models."""
    rng = np.random.default_rng(seed)
    wrong, problems = (9 if arm == "nine wrong" else 1), 20 if smoke else PROBLEMS
    measured, real = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, model in enumerate(lab.models(rng, MODELS)):
            scores = lab.one_right(model, np.random.default_rng([seed, number, 1]), wrong, problems)
            sources = [CHOSEN, *["model"] * wrong]
            rows = [
                {"problem": str(i), "solution_reference": sources, "score": row}
                for i, row in enumerate(scores.tolist())
            ]
            path = lab.saved(Path(folder) / f"{number}.jsonl", rows)
            measured.append(rewardmath(path).metrics["normal"]["accuracy"])
            real.append(lab.best_of(model, np.random.default_rng([seed, number, 2]), N, 5 * problems))
    return spearman(measured, real)


CLAIM = Claim(
    slug="rewardmath",
    claim="Asking a reward model to prefer one right solution to nine wrong ones forecasts best-of-N and "
    "policy results better than asking for one pair (Kim et al., arXiv 2410.01729).",
    metric="rank correlation of benchmark accuracy with best-of-256 accuracy over 20 reward models",
    baseline="one wrong",
    system="nine wrong",
    run=run,
    margin=0.02,
    seeds=10,
    notes="Simulated reward models that separate right from wrong by 1 to 2 standard deviations and are "
    "fooled by up to 10 % of wrong solutions, with an exponential bonus of 1 to 5. Both forms have 300 "
    "problems; a quarter of the 256 candidates is right.",
)
