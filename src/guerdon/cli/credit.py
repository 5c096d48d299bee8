"""`guerdon credit`: signals of saved rollouts to one advantage per token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.cli import show
from guerdon.registry import build


def credit_command(
    source: Path, method: str, settings: Sequence[str], out: Path, json: bool, skip_bad: bool
) -> None:
    """Read records, assign credit, write the same records with `advantages`, report what was seen."""
    credit = build("credit", {"use": method, **show.parse_settings(settings)}, f"--method {method}")

    from guerdon.data import io
    from guerdon.data.ragged import Ragged

    skipped: list[Any] = []
    rollouts = io.read(source, skip_bad=skip_bad, skipped=skipped)
    if hasattr(credit, "explain_parts"):  # a shaped reward: what was credited is worth keeping
        advantage, diagnostics, parts = credit.explain_parts(rollouts)
        rollouts = rollouts.with_signal(parts["reward"])
    else:
        advantage, diagnostics = credit.explain(rollouts)
    if rollouts.tokens is not None:
        rollouts = rollouts.replace(advantages=Ragged(advantage.values, rollouts.tokens.offsets))
    else:  # text only: one value per finest span instead of one per token
        rollouts = rollouts.with_signal(advantage)
    io.write(rollouts, out)

    result = {
        "method": method,
        "rollouts": len(rollouts),
        "groups": rollouts.groups()[1],
        "level": advantage.level,
        "values": len(advantage),
        "skipped": [{"line": line, "reason": reason} for line, reason in skipped],
        "sources": diagnostics,
        "out": out,
    }
    if json:
        show.print_json(result)
        return
    _print(result)


_SHOWN = (
    "spans",
    "missing",
    "groups",
    "group_size",
    "singletons",
    "uniform",
    "abs_advantage",
)
"""Columns of the table; whatever else a method reports follows in words."""


def _print(result: dict[str, Any]) -> None:
    rows = [
        [
            source,
            show.count(int(numbers["spans"])),
            show.count(int(numbers["missing"])),
            show.count(int(numbers["groups"])) if "groups" in numbers else show.NOTHING,
            show.number(numbers.get("group_size"), 1),
            show.percent(numbers.get("singletons", math.nan)),
            show.percent(numbers.get("uniform", math.nan)),
            show.number(numbers["abs_advantage"]),
        ]
        for source, numbers in result["sources"].items()
    ]
    columns = ["source", "values", "missing", "groups", "mean size", "of one", "all equal", "mean |A|"]
    count = show.count(result["rollouts"])
    where = "advantages" if result["level"] == "token" else f"signal 'advantage' per {result['level']}"
    show.print_table(
        columns,
        rows,
        title=f"{result['method']}: {count} rollouts in {show.count(result['groups'])} groups",
        caption=f"{where} written to {result['out']}",
    )
    for source, numbers in result["sources"].items():
        told = [
            f"{name.replace('_', ' ')} {show.number(value)}"
            for name, value in numbers.items()
            if name not in _SHOWN and (value or name != "dropped")
        ]
        if told:
            show.note(f"{source}: {', '.join(told)}")
    for bad in result["skipped"][:5]:
        show.note(f"skipped line {bad['line']}: {bad['reason']}")
    if result["skipped"]:
        show.note(f"skipped {len(result['skipped'])} broken records in all")
