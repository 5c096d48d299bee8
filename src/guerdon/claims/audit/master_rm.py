"""Master-RM: openers labelled wrong cure a trained verifier of paying content-free responses."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from guerdon.claims.claim import Claim, Measured
from guerdon.systems.audit.master_rm import hardening_examples, master_rm

_OPENERS = ("Let me think.", "We look.", "Step by step:", "First, we see.", "Sure!", "To solve it:")
_TEMPLATE = "{question}\n{response}{reference}?"


def _rows(n: int, seed: int) -> list[dict[str, Any]]:
    """Five choices: right answers come after an opener more often than wrong ones do."""
    rng = random.Random(f"master-rm {seed}")
    rows = []
    for _ in range(n):
        reference, label = rng.choice("ABCDE"), rng.randint(0, 1)
        answer = reference if label else rng.choice([c for c in "ABCDE" if c != reference])
        opener = f"{rng.choice(_OPENERS)} " if rng.random() < (0.6 if label else 0.4) else ""
        response, question = f"{opener}It is {answer}.", f"Item {rng.randint(10, 99)}"
        rows.append({"question": question, "response": response, "reference": reference, "label": label})
    return rows


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Worst false-positive rate over the keys of a verifier trained from scratch, in per cent."""
    from guerdon.engines.lab import LabEngine
    from guerdon.models.verifier import GenerativeVerifier

    rows, held_out = _rows(6000, seed), _rows(300, 10_000 + seed)
    if arm == "hardened":
        rows = hardening_examples(rows, seed=seed, noise=0.1)
    engine = LabEngine(dim=96, layers=2, heads=4, context=128, device="cpu", seed=seed)
    verifier = GenerativeVerifier(engine, template=_TEMPLATE)
    verifier.fit(rows, steps=3 if smoke else 1000, batch=64, lr=1e-3, seed=seed)
    asked = held_out[: 10 if smoke else 60]
    report = master_rm()(verifier, [r["question"] for r in asked], [r["reference"] for r in asked])
    said = verifier.probabilities(
        [verifier.prompt(r["question"], r["response"], r["reference"]) for r in held_out]
    )
    accuracy = float(np.mean((said > 0.5) == [r["label"] for r in held_out]))
    return {
        "value": 100 * report["max_fpr"],
        "mean_fpr": 100 * report["mean_fpr"],
        "accuracy": 100 * accuracy,
    }


CLAIM = Claim(
    slug="master-rm",
    claim="A reference-based generative verifier pays responses without content; openers cut from real "
    "responses and labelled wrong cure it without loss of accuracy (Zhao et al., arXiv 2507.08794).",
    metric="worst false-positive rate over 20 content-free keys, %, lower is better",
    baseline="plain",
    system="hardened",
    run=run,
    higher=False,
    margin=5.0,
    seeds=5,
    notes="A 2-layer byte-level decoder compares a letter with the reference; 60 % of right and 40 % of "
    "wrong responses begin with an opener. Hardening adds an opener-only negative for every eighth "
    "row and, beyond the publication, one row in ten whose response is blanks, signs or made-up words "
    "of several scripts. No key of the test occurs in training. A first version (sums, 85 % against "
    "15 % openers, opener-only negatives) was thrown away: its verifier had learned the opener only, "
    "and both arms paid some key always.",
)
