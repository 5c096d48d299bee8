"""Small rollouts as records, the way files carry them, and credit called the way recipes do."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import guerdon as gd
from guerdon.data import Rollouts
from guerdon.registry import build

LEVELS = {
    "critique": "step",
    "label": "step",
    "env": "step",
    "prm": "step",
    "j": "step",
    "call_ok": "step",
    "step_score": "step",
    "contribution": "step",
    "grounded": "step",
    "q_policy": "step",
    "forced_acc": "step",
    "implicit": "token",
    "answer_logprob": "turn",
    "turn_reward": "turn",
    "reward": "turn",
}
TURNS = ("q1", "q2", "v1", "v2", "target_v1", "target_v2")


def level_of(name: str) -> str:
    return (
        "turn"
        if name in TURNS
        else LEVELS.get("critique" if name.startswith("critique_") else name, "rollout")
    )


def record(lengths: list[int] | int, group: Any = "g", level: str = "step", **fields: Any) -> dict[str, Any]:
    """One record whose spans of `level` have the given lengths; other fields are columns or signals."""
    sizes = [1] * lengths if isinstance(lengths, int) else lengths
    ends = np.cumsum(sizes).tolist()
    made: dict[str, Any] = {"group": group, "tokens": [0] * sum(sizes), f"{level}s": ends, "signals": {}}
    for name, value in fields.items():
        if (
            name
            in (
                "acted",
                "state",
                "node",
                "meta",
                "reference",
                "values",
                "logprobs",
                "ref_logprobs",
                "turns",
            )
            or name == "truncated"
        ):
            made[name] = value
        else:
            values = value if isinstance(value, list) else [value]
            made["signals"][name] = {"level": level_of(name), "values": values}
    return made


def read(records: list[dict[str, Any]]) -> Rollouts:
    """Rollouts of the records, through a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in records))
        return gd.read(path)


def credit(slug: str, records: list[dict[str, Any]], **parameters: Any) -> list[list[float]]:
    """Advantages per token of every rollout."""
    rollouts = read(records)
    advantage = build("credit", {"use": slug, **parameters})(rollouts)
    assert advantage.level == "token"
    return gd.Ragged(advantage.values, rollouts.tokens.offsets).to_lists()


def close(got: list[list[float]], expected: list[list[float]], digits: int = 6) -> None:
    """Equal to so many decimals, row by row."""
    assert [len(row) for row in got] == [len(row) for row in expected]
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=0.51 * 10**-digits)
