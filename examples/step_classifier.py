"""Train a small step classifier from scratch on planted errors: a baseline for benchmarks of step rewards.

    python examples/step_classifier.py OUT [GSM8K_TRAIN]
    guerdon bench processbench --data gsm8k.jsonl.gz --reward bench.step_classifier --set path=OUT

GSM8K_TRAIN is `train.jsonl` (or .gz) of openai/grade-school-math, whose solutions mark every calculation
(`<<48/2=24>>`): half of them get a wrong value, a wrong operator, a wrong operand carried over, or lose a
step, and go on from there. Without that file the classifier learns from chains of arithmetic alone. One CPU
thread, one to two minutes. The last tenth of the solutions is held out; the F1 printed is ProcessBench's, on
those, and the threshold is the best one there: no benchmark has been looked at.
"""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from pathlib import Path

import torch

from guerdon.bench.candidates import score_steps
from guerdon.bench.files import read_rows
from guerdon.bench.processbench import best_threshold, first_below, score_report
from guerdon.bench.step_classifier import StepBag
from guerdon.tasks import Chain
from guerdon.tasks.planted_errors import Labelled, chain_trace, solutions
from guerdon.tasks.traces import Trace, read_trace

CHAINS = Chain(terms=(3, 7), max_operand=99, operators="+-*", high=9999)
PER_TRACE, EPOCHS = 5, 3


def gsm8k(path: Path) -> list[Trace]:
    """The calculator traces of GSM8K's training file."""
    rows = read_rows(path, {"question": str, "answer": str}, "GSM8K {question, answer}")
    return [read_trace(row["question"], row["answer"]) for row in rows]


def chains(n: int) -> list[Trace]:
    """Chains of arithmetic in the same form."""
    rng = random.Random(0)
    return [chain_trace(CHAINS, rng) for _ in range(n)]


def examined(model: StepBag, held: list[Labelled]) -> None:
    """Print how well first errors of held-out solutions are found, per kind of error."""
    scores = score_steps(model, [s.problem for s in held], [s.steps for s in held])
    labels = [s.label for s in held]
    threshold, _ = best_threshold(scores, labels)
    rows = [{"id": f"held-{i}", "label": label} for i, label in enumerate(labels)]
    found = score_report(rows, scores, threshold).metrics["held"]
    print(f"held out: F1 {found['f1']:.1f} (wrong {found['error']:.1f}, right {found['correct']:.1f})")
    hits = defaultdict(list)
    for solution, values in zip(held, scores, strict=True):
        hits[solution.kind or "no error"].append(first_below(values, threshold) == solution.label)
    print("found: " + ", ".join(f"{kind} {sum(hit) / len(hit):.0%}" for kind, hit in sorted(hits.items())))
    print(f"threshold {threshold:.4f}")


def main(out: Path, train: Path | None) -> None:
    torch.set_num_threads(1)
    traces = chains(3000)
    if train is not None:
        marked = gsm8k(train)
        random.Random(0).shuffle(marked)
        traces = traces[:600] + marked
        random.Random(1).shuffle(traces)
    cut = len(traces) // 10
    model = StepBag()
    losses = model.fit(solutions(traces[cut:], PER_TRACE * (len(traces) - cut)), EPOCHS)
    print("loss per epoch: " + ", ".join(f"{loss:.3f}" for loss in losses))
    examined(model, solutions(traces[:cut], cut, seed=1))
    model.save(out)
    print(f"guerdon bench processbench --data FILE --reward bench.step_classifier --set path={out}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else None)
