"""Small rollouts as records, the way files carry them, and systems called the way recipes and commands do."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import guerdon as gd
from guerdon.context import Context
from guerdon.data import Rollouts
from guerdon.registry import build

LEVELS = {"prm": "step", "step": "turn", "score": "turn", "max_score": "turn", "entropy": "token"}
COLUMNS = ("acted", "meta", "reference", "values", "completion", "turns", "steps")


def record(tokens: int = 2, group: Any = "g", **fields: Any) -> dict[str, Any]:
    """One record; fields that are no columns are signals. A list at step or turn level cuts tokens evenly."""
    made: dict[str, Any] = {"group": group, "signals": {}}
    if "completion" not in fields:
        made["tokens"] = [0] * tokens
    for name, value in fields.items():
        if name in COLUMNS:
            made[name] = value
            continue
        level = LEVELS.get(name, "rollout")
        values = value if isinstance(value, list) else [value]
        made["signals"][name] = {"level": level, "values": values}
        if level in ("step", "turn") and f"{level}s" not in fields:
            size = len(values)
            made[f"{level}s"] = list(range(1, size + 1))
            made["tokens"] = [0] * size
    return made


def read(records: list[dict[str, Any]]) -> Rollouts:
    """Rollouts of the records, through a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in records))
        return gd.read(path)


def columns(n: int | None = None, **fields: Any) -> list[dict[str, Any]]:
    """One record per entry of the fields' lists."""
    n = n or len(next(v for v in fields.values() if isinstance(v, list)))
    return [record(**{k: v[i] if isinstance(v, list) else v for k, v in fields.items()}) for i in range(n)]


def shaped(
    slug: str, records: list[dict[str, Any]], ctx: Context | None = None, **parameters: Any
) -> dict[str, np.ndarray]:
    """Every part of a system's shaping, built by name."""
    shaping = build("shape", {"use": slug, **parameters})
    return {name: signal.values for name, signal in shaping.explain(read(records), None, ctx).items()}


def credit(slug: str, records: list[dict[str, Any]], **parameters: Any) -> list[list[float]]:
    """Advantages per rollout and token, built by name."""
    rollouts = read(records)
    found = build("credit", {"use": slug, **parameters})(rollouts)
    if rollouts.tokens is None:
        return [[value] for value in found.values]
    return rollouts.tokens.with_values(found.values).to_lists()


def first(rows: list[list[float]]) -> list[float]:
    """The first token's value of every rollout."""
    return [row[0] for row in rows]


def close(got: Any, expected: Any, digits: int = 6) -> None:
    """Equal to so many decimals."""
    np.testing.assert_allclose(
        np.array(got, float), np.array(expected, float), rtol=0, atol=0.51 * 10**-digits
    )
