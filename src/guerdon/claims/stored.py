"""Results as they were run: one JSON file per slug beside the experiments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def load_result(slug: str, folder: Path = FOLDER) -> dict[str, Any] | None:
    """The stored result of a slug, or None where it has not been run."""
    path = folder / f"{slug}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def results(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """All stored results by slug."""
    names = sorted(p.stem for p in folder.glob("*.json") if not p.stem.endswith(".partial"))
    return {name: found for name in names if (found := load_result(name, folder)) is not None}


def verdicts(folder: Path = FOLDER) -> dict[str, str]:
    """Slug -> verdict of all stored results."""
    return {slug: result["verdict"] for slug, result in results(folder).items()}
