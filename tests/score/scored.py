"""Helpers for tests of scoring: records to files, files to signals."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import guerdon
from guerdon.score import Limits, Options, Report, score_file

REWARDS = Path(__file__).with_name("rewards_for_tests.py")


def by_path(name: str) -> str:
    """How a command line names a test reward."""
    return f"{REWARDS}:{name}"


def write_lines(path: Path, records: list[dict[str, Any]]) -> Path:
    """Records as JSON Lines, gzipped by suffix."""
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON Lines file."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.splitlines()]


def numbered(n: int, **more: Any) -> list[dict[str, Any]]:
    """Records whose completion is right for every third of them, four to a group."""
    return [
        {
            "id": f"r{i}",
            "group": f"g{i // 4}",
            "prompt": f"p{i // 4}",
            "completion": f"{i}" if i % 3 else "wrong",
            "reference": f"{i}",
            **more,
        }
        for i in range(n)
    ]


def completions(*texts: str) -> list[dict[str, Any]]:
    """Records with these completions."""
    return [{"completion": text, "reference": "a"} for text in texts]


def score(
    source: Path, out: Path, *rewards: str, settings: dict[str, Any] | None = None, **options: Any
) -> Report:
    """`score_file` with few workers and no cache unless asked for."""
    limits = {
        name: options.pop(name)
        for name in ("item_seconds", "batch_seconds", "memory", "give_up")
        if name in options
    }
    chosen = Options(**{"workers": 2, "cache": None, "limits": Limits(**limits), **options})
    return score_file(source, out, list(rewards), settings, chosen)


def values(out: Path, name: str) -> list[Any]:
    """One signal of a scored file, None where missing."""
    found = guerdon.read(out).signals[name].values.tolist()
    return [None if value != value else value for value in found]


def causes(out: Path, name: str) -> dict[int, str]:
    """Why values of a signal are missing."""
    return dict(guerdon.read(out).signals[name].causes)
