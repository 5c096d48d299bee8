"""Random batches as records, and the small loops the oracles share."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guerdon.cli import main

Record = dict[str, Any]
Rows = list[list[float]]
SIZES = (4, 2, 3)


def crowd(
    seed: int, level: str = "step", sizes: tuple[int, ...] = SIZES, masked: bool = True
) -> list[Record]:
    """Records of uneven groups: 1 to 4 spans of 1 to 3 tokens; where `masked`, tool text follows some."""
    rng = random.Random(seed)
    made = []
    for group, size in enumerate(sizes):
        for _ in range(size):
            ends: list[int] = []
            acted: list[int] = []
            for _ in range(rng.randint(1, 4)):
                acted += [1] * rng.randint(1, 3)
                if masked and rng.random() < 0.4:
                    acted += [0] * rng.randint(1, 2)
                ends.append(len(acted))
            record: Record = {"group": f"g{group}", "tokens": [7] * len(acted), f"{level}s": ends}
            made.append({**record, "acted": acted, "signals": {}})
    rng.shuffle(made)
    return made


def put(records: list[Record], name: str, level: str, draw: Callable[..., Any]) -> None:
    """A signal on every record; `draw` makes one value."""
    for record in records:
        n = {"rollout": 1, "token": len(record["tokens"])}.get(level) or len(record[f"{level}s"])
        record["signals"][name] = {"level": level, "values": [draw() for _ in range(n)]}


def get(record: Record, name: str) -> Any:
    """Values of a signal; the value itself of one per rollout."""
    signal = record["signals"][name]
    return signal["values"][0] if signal["level"] == "rollout" else signal["values"]


def groups(records: list[Record]) -> list[list[int]]:
    """Rows of every prompt."""
    found: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        found.setdefault(record["group"], []).append(i)
    return list(found.values())


def spans(record: Record, level: str = "step") -> list[list[int]]:
    """Token positions of every span that the policy wrote."""
    ends = record[f"{level}s"]
    bounds = zip([0, *ends], ends, strict=False)
    return [[t for t in range(a, b) if record["acted"][t]] for a, b in bounds]


def spread(record: Record, values: Any, level: str = "step") -> list[float]:
    """One value per span, or one for all, on every token that the policy wrote."""
    out = [0.0] * len(record["tokens"])
    for k, where in enumerate(spans(record, level)):
        for t in where:
            out[t] = values[k] if isinstance(values, list) else values
    return out


def mean(xs: list[float]) -> float:
    return sum(xs) / len(xs)


def std(xs: list[float], ddof: int = 1) -> float:
    m = mean(xs)
    return math.sqrt(sum((x - m) ** 2 for x in xs) / (len(xs) - ddof))


def scores(xs: list[float], eps: float = 1e-6, ddof: int = 1, alone: str = "raw") -> list[float]:
    """(x - mean)/(std + eps); one value alone keeps itself over 1 + eps, or is 0."""
    if len(xs) == 1:
        return [xs[0] / (1 + eps) if alone == "raw" else 0.0]
    return [(x - mean(xs)) / (std(xs, ddof) + eps) for x in xs]


def suffix(xs: list[float], gamma: float = 1.0) -> list[float]:
    """What follows, summed."""
    out: list[float] = []
    total = 0.0
    for x in reversed(xs):
        total = x + gamma * total
        out.append(total)
    return out[::-1]


def compared(records: list[Record], rewards: list[float], **how: Any) -> list[float]:
    """Rewards of rollouts, standardised in their group."""
    out = [0.0] * len(records)
    for rows in groups(records):
        for i, x in zip(rows, scores([rewards[i] for i in rows], **how), strict=True):
            out[i] = x
    return out


def through_the_command(folder: Path, method: str, records: list[Record], parameters: dict[str, Any]) -> Rows:
    """Advantages that `guerdon credit` writes."""
    source, out = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps(each) + "\n" for each in records))
    settings = [part for key, value in parameters.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    try:
        main(["credit", str(source), "--method", method, "--out", str(out), *settings])
    except SystemExit as stop:
        assert not stop.code, f"{method} {parameters}"
    return [json.loads(line)["advantages"] for line in out.read_text().splitlines()]
