"""Multi-domain best-of-N: stepwise verdicts, aggregated by their minimum, on long solutions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.claims.bench import _simulated as lab
from guerdon.claims.claim import Claim, Measured
from guerdon.systems.bench.multi_rm import multi_rm

QUESTIONS, SOLUTIONS, STEPS, SHARE = 60, 16, 20, 0.4


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Best-of-16 accuracy of a verifier on solutions of 20 steps."""
    rng = np.random.default_rng(seed)
    questions = 10 if smoke else QUESTIONS
    right = rng.random((questions, SOLUTIONS)) < SHARE
    good = np.ones((questions, SOLUTIONS, STEPS), bool)
    at = rng.integers(0, STEPS, right.shape)
    np.put_along_axis(good, at[..., None], right[..., None], axis=2)
    noise = rng.normal(0.0, 1.17, (questions, SOLUTIONS, STEPS + 1))
    if arm == "gorm":
        logits = np.where(right, 1.5, -1.5)[..., None] + noise[..., STEPS:]
    else:
        logits = np.where(good, 1.5, -1.5) + noise[..., :STEPS]
    rewards = 1.0 / (1.0 + np.exp(-logits))
    numbers = [str(i) for i in range(SOLUTIONS)]
    data: list[dict[str, Any]] = [
        {
            "q_id": q,
            "cot_ids": numbers,
            "parsed_answers": ["yes" if ok else f"no{i}" for i, ok in enumerate(row)],
            "answer": "yes",
        }
        for q, row in enumerate(right.tolist())
    ]
    given = [{"q_id": q, "cot_ids": numbers, "rewards": row} for q, row in enumerate(rewards.tolist())]
    with tempfile.TemporaryDirectory() as folder:
        files = lab.saved(Path(folder) / "d.jsonl", data), lab.saved(Path(folder) / "r.jsonl", given)
        report = multi_rm(*files, verifier=arm, runs=5)
    return report.metrics[f"N={SOLUTIONS}"]["best_of_n"]


CLAIM = Claim(
    slug="multi-rm",
    claim="On long solutions a verdict on the whole chooses better than stepwise verdicts, whose errors add "
    "up over the steps (Lee et al., arXiv 2510.00492: generative outcome models are the most robust across "
    "domains).",
    metric="accuracy of best-of-16 on solutions of 20 steps, %",
    baseline="dprm",
    system="gorm",
    run=run,
    margin=2.0,
    seeds=10,
    notes="Simulated verifiers: every verdict, on a step or on the whole, is wrong one time in ten with the "
    "same noise; a wrong solution has one wrong step. The minimum is taken over steps, as the benchmark "
    "does for stepwise models. It tries the paper's explanation, errors that add up, not its trained models.",
)
