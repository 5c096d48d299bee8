"""TRL's stepwise format of process supervision: {prompt, completions: [step], labels: [bool]}.

TRL has trained step models on it up to 1.14, and many datasets are written in it. A step's separator is not
part of it: steps are joined by one, by default a newline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError


def from_stepwise(
    rows: Iterable[Mapping[str, Any]], separator: str = "\n", name: str = "step_label"
) -> Rollouts:
    """Rollouts of text with steps, and a signal per step: 1 right, 0 wrong, missing where there is no label.

    Args:
        rows: mappings with `prompt`, `completions` and `labels`; `None` as a label is a missing one.
        separator: put behind every step but the last.
        name: of the signal.

    Raises:
        DataError: a row whose lists differ in length, or hold something else (row named).
    """
    prompts, texts, ends, labels = [], [], [], []
    for i, row in enumerate(rows):
        steps, marks = row.get("completions"), row.get("labels")
        if (
            not isinstance(steps, list)
            or not all(isinstance(step, str) and step for step in steps)
            or not steps
        ):
            raise DataError(f"row {i}: completions: expected a list of texts that are not empty")
        if not isinstance(marks, list) or len(marks) != len(steps):
            raise DataError(f"row {i}: labels: expected {len(steps)}, one for each step")
        if not all(mark in (0, 1, None) for mark in marks):
            raise DataError(f"row {i}: labels: expected true or false, got {marks}")
        pieces = [step + separator for step in steps[:-1]] + steps[-1:]
        prompts.append(row.get("prompt"))
        texts.append("".join(pieces))
        ends.append(np.cumsum([len(piece) for piece in pieces]))
        labels += [np.nan if mark is None else float(mark) for mark in marks]
    return Rollouts(
        prompt=prompts,
        completion=texts,
        partitions={"step": Ragged.from_lists(ends, np.int64)},
        signals={name: Signal(np.array(labels), "step", name)},
    )


def to_stepwise(
    rollouts: Rollouts, name: str = "step_label", separator: str = "\n", threshold: float = 0.5
) -> list[dict[str, Any]]:
    """Rows of the format; a separator at the end of a step is taken off.

    Args:
        rollouts: of text, with steps and a signal at step level.
        name: of the signal; values from `threshold` on are right, missing ones None.
        separator: as in `from_stepwise`.
        threshold: where right begins.

    Raises:
        DataError: no text, no steps, or no such signal.
    """
    if rollouts.completion is None or rollouts.tokens is not None or "step" not in rollouts.partitions:
        raise DataError("the stepwise format needs rollouts of text (no tokens) with steps")
    signal = rollouts.signals.get(name)
    if signal is None or signal.level != "step":
        raise DataError(
            f"expected a signal {name!r} per step; there are {', '.join(rollouts.signals) or 'none'}"
        )
    marks = [None if np.isnan(value) else bool(value >= threshold) for value in signal.values]
    ends = rollouts.partitions["step"]
    rows = []
    for i in range(len(rollouts)):
        text, bounds = rollouts.text(i), [0, *ends[i].tolist()]
        pieces = [text[a:b] for a, b in pairwise(bounds)]
        steps = [piece.removesuffix(separator) for piece in pieces[:-1]] + pieces[-1:]
        own = marks[ends.offsets[i] : ends.offsets[i + 1]]
        prompt = None if rollouts.prompt is None else rollouts.prompt[i]
        rows.append({"prompt": prompt, "completions": steps, "labels": own})
    return rows
