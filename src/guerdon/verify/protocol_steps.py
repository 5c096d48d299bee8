"""Step-by-step protocols as structured lines: parsing, aligning and comparing them.

A line is "Step k: {JSON object}" with an action, objects and parameters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from guerdon.verify.sequences import jaccard

_STEP = re.compile(r"Step\s+(\d+)\s*:\s*(.*)", re.IGNORECASE)
_SPLIT = re.compile(r"[^a-z0-9%µμ\-._]+")


class Step(NamedTuple):
    """One line of a `<key>` block, lower case."""

    number: int
    action: str
    objects: tuple[str, ...]
    parameters: tuple[str, ...]


def key_steps(block: str) -> tuple[list[Step], bool]:
    """Steps of a `<key>` block, lines that do not parse left out; and whether every line parsed."""
    steps, clean = [], True
    for line in filter(None, map(str.strip, block.splitlines())):
        match = _STEP.fullmatch(line)
        try:
            value = json.loads(match.group(2)) if match else None
        except (ValueError, RecursionError):
            value = None
        if match is None or not isinstance(value, dict) or not isinstance(value.get("action"), str):
            clean = False
            continue
        lists = [_lowered(value.get(name)) for name in ("objects", "parameters")]
        steps.append(Step(int(match.group(1)[:9]), value["action"].strip().lower(), lists[0], lists[1]))
    return steps, clean


def aligned(said: Sequence[str], gold: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places of equal actions, greedily from the left; an action gold does not have uses gold up."""
    pairs, j = [], 0
    for i, action in enumerate(said):
        while j < len(gold) and gold[j] != action:
            j += 1
        if j < len(gold):
            pairs.append((i, j))
            j += 1
    return pairs


def step_content(said: Step, gold: Step, distance: int, total: int, decay: float = 1.5) -> float:
    """m_x (objects + .5 parameters) of one aligned pair, at most 1.5."""
    objects = jaccard(said.objects, gold.objects) or jaccard(_words(said.objects), _words(gold.objects))
    parameters = 0.0
    if objects >= 0.5:
        parameters = float(not said.parameters and not gold.parameters)
        if said.parameters and gold.parameters:
            parameters = jaccard(_words(said.parameters), _words(gold.parameters))
    position = 0.0 if distance >= total else 1.0 - (distance / total) ** decay
    return position * (objects + 0.5 * parameters)


def covered(steps: Sequence[Step], orc: str) -> float:
    """Least share of a key step's words that the same-numbered orc step has; 0 without steps."""
    texts = {
        int(m.group(1)[:9]): m.group(2) for m in map(_STEP.fullmatch, map(str.strip, orc.splitlines())) if m
    }
    shares = []
    for step in steps:
        words = _words((step.action, *step.objects, *step.parameters))
        shares.append(len(words & _words((texts.get(step.number, ""),))) / len(words) if words else 1.0)
    return min(shares, default=0.0)


def _words(texts: Sequence[str]) -> set[str]:
    return {word for word in _SPLIT.split(" ".join(texts).lower()) if word}


def _lowered(values: object) -> tuple[str, ...]:
    listed = values if isinstance(values, list) else []
    return tuple(value.strip().lower() for value in listed if isinstance(value, str) and value.strip())
