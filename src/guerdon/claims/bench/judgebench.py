"""JudgeBench: both orders against one, for judges that partly decide by position."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.claims.bench import _simulated as lab
from guerdon.claims.claim import Claim, Measured
from guerdon.systems.bench.judgebench import judgebench

JUDGES, PAIRS, SLIPS = 12, 350, 0.05


def verdicts(bias: float, skill: float, pairs: int, rng: np.random.Generator) -> tuple[list[Any], float]:
    """Rows of raw verdicts, and the share of pairs decided by content and rightly."""
    by_place, knows = rng.random(pairs) < bias, rng.random(pairs) < skill
    first_right = rng.random(pairs) < 0.55
    rows = []
    for i in range(pairs):
        shown = []
        for right_is_first in (first_right[i], not first_right[i]):
            takes_first = by_place[i] or (right_is_first == knows[i])
            takes_first ^= rng.random() < SLIPS
            shown.append({"decision": "A>B" if takes_first else "B>A"})
        label = "A>B" if first_right[i] else "B>A"
        rows.append({"pair_id": str(i), "source": "mmlu-pro", "label": label, "judgments": shown})
    return rows, float((knows & ~by_place).mean())


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Mean error of the reported accuracy, in points."""
    rng, errors = np.random.default_rng(seed), []
    metric = "accuracy" if arm == "both orders" else "first_order"
    with tempfile.TemporaryDirectory() as folder:
        for number in range(JUDGES):
            bias, skill = rng.uniform(0.0, 0.5), rng.uniform(0.5, 0.95)
            rows, deserved = verdicts(bias, skill, 40 if smoke else PAIRS, rng)
            report = judgebench(lab.saved(Path(folder) / f"{number}.jsonl", rows))
            errors.append(abs(report.metrics[metric]["overall"] - 100 * deserved))
    return float(np.mean(errors))


CLAIM = Claim(
    slug="judgebench",
    claim="A judge that must prefer the right response in both orders is not credited for deciding by "
    "position (Tan et al., arXiv 2410.12784).",
    metric="gap between reported accuracy and the share decided rightly by content, points; lower is better",
    baseline="first order only",
    system="both orders",
    run=run,
    higher=False,
    margin=2.0,
    seeds=10,
    notes="Twelve simulated judges per seed that decide up to half of 350 pairs by position and the others "
    "with a skill of 0.5 to 0.95; 5 % of single verdicts slip. The right response is shown first in 55 % of "
    "pairs.",
)
