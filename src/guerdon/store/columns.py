"""Logged records as columns of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from guerdon.errors import StoreError


def columns(records: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """One row per step, one column per name; NaN where a step has no number.

    Args:
        records: mappings with a whole number `step`; those of one step are joined, the later one wins.

    Returns:
        "step" int64 (n,) in the order of first appearance, every other name float64 (n,).
    """
    rows: dict[int, dict[str, Any]] = {}
    for record in records:
        rows.setdefault(record["step"], {}).update(record)
    names = dict.fromkeys(name for row in rows.values() for name in row if name != "step")
    table = {"step": np.array(list(rows), dtype=np.int64)}
    for name in names:
        table[name] = np.array([_as_float(row.get(name)) for row in rows.values()], dtype=np.float64)
    return table


def present(table: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps int64 (n,) and values float64 (n,) of one column, without its NaN rows."""
    there = ~np.isnan(table[name])
    return table["step"][there], table[name][there]


def _as_float(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def number(name: str, value: Any, step: int) -> int | float | None:
    """A metric as JSON has it: whole numbers whole, NaN and infinities None.

    Args:
        name, step: for messages.
        value: a Python, NumPy or torch number of one element, or None for missing.

    Raises:
        StoreError: something else.
    """
    if name == "step":
        raise StoreError(f"step {step}: a metric cannot be called 'step'")
    if value is not None and not isinstance(value, (int, float)):
        try:
            value = value.item()
        except (AttributeError, ValueError, RuntimeError):
            value = ...
        if not isinstance(value, (int, float)):
            raise StoreError(f"metric {name!r} of step {step} must be one number, got another type of value")
    if isinstance(value, bool):
        return int(value)
    return value if value is None or math.isfinite(value) else None
