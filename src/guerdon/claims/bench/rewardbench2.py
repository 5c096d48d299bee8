"""RewardBench 2: best of four, and of a pair, as a forecast of best-of-N."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from guerdon.claims.bench import _simulated as lab
from guerdon.claims.claim import Claim, Measured
from guerdon.systems.bench.rewardbench2 import rewardbench2

MODELS, PROBLEMS, N = 20, 400, 16


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Correlation of the benchmark's average with best-of-16 accuracy over reward models."""
    rng = np.random.default_rng(seed)
    wrong, problems = (3 if arm == "three wrong" else 1), 20 if smoke else PROBLEMS
    rows = [
        {"id": str(i), "prompt": "", "chosen": ["a"], "rejected": ["b"] * wrong, "subset": "Math"}
        for i in range(problems)
    ]
    measured, real = [], []
    with tempfile.TemporaryDirectory() as folder:
        data = lab.saved(Path(folder) / "data.jsonl", rows)
        for number, model in enumerate(lab.models(rng, MODELS)):
            scores = lab.one_right(model, np.random.default_rng([seed, number, 1]), wrong, problems)
            given = [{"id": str(i), "scores": row} for i, row in enumerate(scores.tolist())]
            path = lab.saved(Path(folder) / f"{number}.jsonl", given)
            measured.append(rewardbench2(data, path).metrics["average"])
            real.append(lab.best_of(model, np.random.default_rng([seed, number, 2]), N, 5 * problems))
    return float(np.corrcoef(measured, real)[0, 1])


CLAIM = Claim(
    slug="rewardbench2",
    claim="Choosing one right answer of four follows best-of-N performance (Malik et al., arXiv 2506.01937: "
    "Pearson 0.87), more closely than the pairs of the first RewardBench.",
    metric="Pearson correlation of the benchmark with best-of-16 accuracy over 20 reward models",
    baseline="one wrong",
    system="three wrong",
    run=run,
    margin=0.02,
    seeds=10,
    notes="Simulated reward models that separate right from wrong by 1 to 2 standard deviations and are "
    "fooled by up to 10 % of wrong answers, with an exponential bonus of 1 to 5. One subset of 400 prompts "
    "in both forms; a quarter of the 16 candidates is right. The ties subset is not tried.",
)
