"""verify.math against math-verify: throughput, agreement, hostile answers, accuracy, fuzzing. One run.

Data: GUERDON_DATA (GSM8K model solutions, ProcessBench). Times are processor seconds of one process for
the comparison, wall-clock seconds where worker processes take part. math-verify is called as its users
call it: `verify(parse(gold), parse(text))`, with its own caches warm.

    python benchmarks/math_vs_math_verify.py [--fuzz 1000000] [--json FILE] [--disagreements FILE]
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "verify"))

import numpy as np
from math_fuzz import check
from math_hostile import hostile
from math_pairs import table

from guerdon.data.rollouts import Rollouts
from guerdon.verify.extract import last_boxed
from guerdon.verify.maths import answers, decide
from guerdon.verify.maths.reward import math as math_reward

Item = tuple[str, str, bool | None]  # gold, text, label where it is known


def lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def gsm8k(data: Path) -> list[Item]:
    """All model solutions with the label that came with them."""
    models = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    rows = lines(data / "gsm8k" / "model_solutions_first800.jsonl.gz")
    return [
        (row["ground_truth"].rsplit("A: ", 1)[1], row[model]["solution"], row[model]["is_correct"])
        for row in rows
        for model in models
    ]


def latex_mix(data: Path) -> list[Item]:
    """Real LaTeX solutions against their own box, a random one and one of equal length; the written pairs."""
    texts = ["\n\n".join(row["steps"]) for row in lines(data / "processbench" / "math.jsonl.gz")]
    boxed = [(text, box) for text in texts if (box := last_boxed(text))]
    rng = random.Random(0)
    golds = [box for _, box in boxed]
    items: list[Item] = []
    for text, box in boxed:
        close = [other for other in golds if other != box and abs(len(other) - len(box)) < 2]
        items += [
            (box, text, True),
            (rng.choice(golds), text, None),
            (rng.choice(close or golds), text, None),
        ]
    return items + [(p.gold, f"So the answer is $\\boxed{{{p.prediction}}}$.", p.equal) for p in table()]


def forget() -> None:
    """Empty the fast path's caches."""
    decide._remembered.cache_clear()
    answers._remembered.cache_clear()


def rollouts(items: Sequence[Item]) -> Rollouts:
    return Rollouts(completion=[text for _, text, _ in items], reference=[gold for gold, _, _ in items])


def ours(items: Sequence[Item], repeats: int = 7) -> tuple[list[bool | None], float]:
    """Verdicts of the fast path alone and the best processor seconds per item."""
    reward, batch, best = math_reward(fallback=False), rollouts(items), float("inf")
    for _ in range(repeats):
        forget()
        began = time.process_time()
        signal = reward(batch)
        best = min(best, time.process_time() - began)
    return [None if np.isnan(v) else bool(v) for v in signal.values], best / len(items)


def theirs(items: Sequence[Item]) -> tuple[list[bool | None], float]:
    """math-verify's verdicts (None: it raised) and processor seconds per item."""
    from math_verify import parse, verify

    parse("$1$")
    verdicts: list[bool | None] = []
    began = time.process_time()
    for gold, text, _ in items:
        try:
            verdicts.append(bool(verify(parse(f"${gold}$"), parse(text))))
        except Exception:
            verdicts.append(None)
    return verdicts, (time.process_time() - began) / len(items)


def compare(name: str, items: Sequence[Item], show: int, listing: list[dict[str, Any]]) -> dict[str, Any]:
    """Throughput of both and every disagreement, judged by the label where there is one.

    Args:
        listing: every disagreement is appended to it.
    """
    mine, my_seconds = ours(items)
    other, other_seconds = theirs(items)
    labelled = [
        (m, o, label) for m, o, (_, _, label) in zip(mine, other, items, strict=True) if label is not None
    ]
    differ = [(m, o, item) for m, o, item in zip(mine, other, items, strict=True) if m != o]
    fault = [d for d in differ if d[2][2] is not None and d[0] != d[2][2]]
    listing += [
        {"part": name, "gold": gold, "answer": last_boxed(text) or text[-60:], "guerdon": m, "math_verify": o}
        | {"label": label}
        for m, o, (gold, text, label) in differ
    ]
    result = {
        "items": len(items),
        "ours_us": my_seconds * 1e6,
        "math_verify_us": other_seconds * 1e6,
        "ratio": other_seconds / my_seconds,
        "ours_right": sum(m == label for m, _, label in labelled) / len(labelled),
        "math_verify_right": sum(o == label for _, o, label in labelled) / len(labelled),
        "disagreements": len(differ),
        "disagreements_we_lose": len(fault),
        "disagreements_without_label": sum(d[2][2] is None for d in differ),
    }
    right, unlabelled = result["ours_right"], result["disagreements_without_label"]
    print(f"\n{name}: {len(items)} items")
    print(
        f"  guerdon {1 / my_seconds:,.0f}/s, math-verify {1 / other_seconds:,.0f}/s: {result['ratio']:.1f}x"
    )
    print(f"  right where labelled: guerdon {right:.4f}, math-verify {result['math_verify_right']:.4f}")
    print(f"  {len(differ)} disagreements, {len(fault)} lost, {unlabelled} unlabelled")
    for mine_says, other_says, (gold, text, label) in [d for d in differ if d[2][2] is None or d in fault][
        :show
    ]:
        answer = last_boxed(text) or text[-60:]
        print(f"    gold {gold[:50]!r} answer {answer[:50]!r}: {mine_says} / {other_says}, label {label}")
    return result


def with_hostile(name: str, items: Sequence[Item], budget: float) -> dict[str, Any]:
    """Every hundredth answer hostile: throughput of a batch, and latency of single items."""
    poison = [(gold, f"\\boxed{{{text}}}", None) for gold, text, _ in hostile()]
    mixed = [poison[(i // 100) % len(poison)] if i % 100 == 50 else item for i, item in enumerate(items)]
    reward = math_reward(budget=budget)
    reward(rollouts([("1/2", "\\boxed{\\int_0^1 x dx}", None)]))  # start the workers outside the clock

    def seconds(batch: Sequence[Item]) -> float:
        forget()
        began = time.perf_counter()
        reward(rollouts(batch))
        return time.perf_counter() - began

    clean, dirty = (min(seconds(batch) for _ in range(5)) for batch in (items, mixed))
    forget()
    latencies = []
    for item in mixed:
        began = time.perf_counter()
        reward(rollouts([item]))
        latencies.append(time.perf_counter() - began)
    causes = reward(rollouts(poison)).cause_counts()
    p50, p99, worst = np.percentile(latencies, [50, 99, 100])
    share, milliseconds = clean / dirty, [p50 * 1e3, p99 * 1e3, worst * 1e3]
    print(f"\n{name} with 1 % hostile answers, budget {budget:g} s")
    print(f"  clean {len(items) / clean:,.0f}/s, hostile {len(items) / dirty:,.0f}/s: {share:.2f} of clean")
    print("  single items: p50 {:.3f} ms, p99 {:.2f} ms, max {:.0f} ms".format(*milliseconds))
    print(f"  causes over {len(poison)} hostile items: {causes}")
    return {"share_of_clean": share, "p50_p99_max_ms": milliseconds, "causes": causes}


def accuracy() -> dict[str, Any]:
    """Share right by kind on the written pairs, ours and math-verify's."""
    from math_verify import parse, verify

    kinds: dict[str, list[int]] = {}
    wrong_accepts = [0, 0]
    for p in table():
        row = kinds.setdefault(p.kind, [0, 0, 0])
        mine = decide.decide(p.gold, p.prediction).equal
        try:
            other: bool | None = bool(verify(parse(f"${p.gold}$"), parse(f"${p.prediction}$")))
        except Exception:
            other = None
        row[0] += 1
        row[1] += mine == p.equal
        row[2] += other == p.equal
        wrong_accepts[0] += bool(mine and not p.equal)
        wrong_accepts[1] += bool(other and not p.equal)
    total = [sum(row[i] for row in kinds.values()) for i in range(3)]
    print(f"\naccuracy on {total[0]} written pairs (guerdon, math-verify)")
    for kind, (n, mine_right, other_right) in kinds.items():
        print(f"  {kind:16s} {n:4d}  {mine_right / n:.3f}  {other_right / n:.3f}")
    print(f"  {'all':16s} {total[0]:4d}  {total[1] / total[0]:.4f}  {total[2] / total[0]:.4f}")
    print(f"  wrong acceptances: {wrong_accepts[0]}, {wrong_accepts[1]}")
    return {
        "pairs": total[0],
        "ours": total[1] / total[0],
        "math_verify": total[2] / total[0],
        "accepts": wrong_accepts,
    }


def fuzz(count: int) -> dict[str, Any]:
    """Generated answers through extraction and comparison: no crash, symmetric, repeatable."""
    began = time.perf_counter()
    seen = {"equal": 0, "different": 0, "no verdict": 0}
    for seed in range(0, count, 20_000):
        forget()
        for key, value in check(min(20_000, count - seed), seed).items():
            seen[key] += value
    seconds = time.perf_counter() - began
    print(f"\nfuzz: {count} pairs in {seconds:.0f} s, no crash, symmetric, repeatable: {seen}")
    return {"pairs": count, "seconds": seconds, **seen}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("GUERDON_DATA"))
    parser.add_argument("--fuzz", type=int, default=100_000)
    parser.add_argument("--budget", type=float, default=2.0)
    parser.add_argument("--show", type=int, default=40)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--disagreements", type=Path, help="JSON lines of every answer the two judge apart")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    listing: list[dict[str, Any]] = []
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "accuracy": accuracy,
        "fuzz": lambda: fuzz(options.fuzz),
    }
    if options.data is None:
        print("GUERDON_DATA is unset: the parts on GSM8K and ProcessBench are skipped")
    else:
        data = Path(options.data)
        solutions, mix = gsm8k(data), latex_mix(data)
        parts = {
            "gsm8k": lambda: compare("GSM8K model solutions", solutions, options.show, listing),
            "latex": lambda: compare("LaTeX mix", mix, options.show, listing),
            "gsm8k_hostile": lambda: with_hostile("GSM8K", solutions, options.budget),
            "latex_hostile": lambda: with_hostile("LaTeX mix", mix, options.budget),
            **parts,
        }
    results = {name: part() for name, part in parts.items()}
    if options.disagreements:
        rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in listing)
        options.disagreements.write_text(rows, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
