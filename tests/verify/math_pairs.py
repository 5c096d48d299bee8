"""Labelled answer pairs made by the rules of equality: for every kind, golds with what equals them and not.

`math_pairs.jsonl` holds one gold a line with predictions that equal it and predictions that do not;
`pairs()` also makes random numbers in many spellings, and decorates predictions.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    kind: str
    gold: str
    prediction: str
    equal: bool


def pairs(seed: int = 0) -> list[Pair]:
    """About nine thousand labelled pairs, the same for the same seed."""
    found = list(table())
    found += _numbers(random.Random(seed))
    found += _decorated(random.Random(seed + 1), found)
    return list(dict.fromkeys(found))


def table() -> Iterator[Pair]:
    """The written pairs."""
    for line in (Path(__file__).parent / "math_pairs.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        kind, gold = row["kind"], row["gold"]
        if kind != "empty":
            yield Pair(kind, gold, gold, True)
        yield from (Pair(kind, gold, text, True) for text in row["equal"])
        yield from (Pair(kind, gold, text, False) for text in row["different"])


def _numbers(rng: random.Random) -> list[Pair]:
    """Random integers, fractions, decimals and tuples in several spellings, with near misses."""
    found = []
    for _ in range(60):
        n = rng.randint(-(10**7), 10**7)
        found += [("integer", f"{n}", f"{n:,}", True), ("integer", f"{n}", f"{n}.0", True)]
        found += [
            ("integer", f"{n}", f"{n + rng.choice((1, -1, 10))}", False),
            ("integer", f"{n}", f"{-n}", not n),
        ]
        p, q, k = rng.randint(1, 99), rng.randint(2, 99), rng.randint(2, 9)
        fraction = f"\\frac{{{p}}}{{{q}}}"
        found += [
            ("fraction", fraction, f"{p * k}/{q * k}", True),
            ("fraction", fraction, f"{p}/{q + 1}", False),
        ]
        found.append(("fraction", fraction, f"\\frac{{{q}}}{{{p}}}", p == q))
        found.append(("tolerance", fraction, f"{p / q:.12g}", True))
        places, cents = rng.randint(1, 4), rng.randint(1, 99999)
        scale = 10**places
        decimal = f"{cents / scale:.{places}f}"
        found.append(("decimal", decimal, f"\\frac{{{cents}}}{{{scale}}}", True))
        found += [
            ("decimal", decimal, f"{decimal}0", True),
            ("decimal", decimal, f"{(cents + 1) / scale:.{places}f}", False),
        ]
        a, b = rng.randint(-20, 20), rng.randint(-20, 20)
        found.append(("tuple", f"({a}, {b})", f"\\left({a},{b}\\right)", True))
        found.append(("tuple", f"({a}, {b})", f"({b}, {a})", a == b))
        factors, rest = f"(x-({a}))(x-({b}))", f"x^2 + ({-a - b})x"
        found += [
            ("polynomial", factors, f"{rest} + ({a * b})", True),
            ("polynomial", factors, f"{rest} + ({a * b + 1})", False),
        ]
        found.append(("solutions", f"{a}, {b}", f"x={b} \\text{{ or }} x={a}", True))
    return [Pair(*row) for row in found]


def _decorated(rng: random.Random, base: list[Pair]) -> list[Pair]:
    """The same verdict for boxed, dollar-wrapped and spaced predictions."""
    plain = [
        p
        for p in base
        if p.prediction.strip() and "$" not in p.prediction and p.kind not in ("empty", "trap")
    ]
    plain = [p for p in plain if p.prediction.count("{") == p.prediction.count("}")]
    out = []
    for pair in rng.sample(plain, min(400, len(plain))):
        wrapped = rng.choice(("${}$", "\\boxed{{{}}}", " {} ", "\\({}\\)", "{}."))
        if wrapped == "{}." and pair.prediction.endswith((".", "!")):
            continue
        out.append(pair._replace(prediction=wrapped.format(pair.prediction)))
    return out
