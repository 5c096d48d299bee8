"""What trainers hand to reward functions, as Rollouts: lists of prompts, completions and dataset columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError

REFERENCES = ("reference", "solution", "answer", "ground_truth", "label")
"""Columns that are taken for the ground truth, the first of them that is there."""


def to_rollouts(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    columns: Mapping[str, Sequence[Any]],
    ids: Sequence[Sequence[int]] | None = None,
    reference: str | None = None,
    group_size: int | None = None,
) -> Rollouts:
    """One batch of a trainer.

    Args:
        prompts, completions: texts or lists of chat messages, N each.
        columns: the other columns of the dataset, N entries each; they become `meta`.
        ids: token ids of the completions.
        reference: the column that holds the ground truth; None: the first of `REFERENCES` that is there.
        group_size: samples per prompt, which stand side by side; None: neighbours with equal prompts.

    Raises:
        DataError: lengths that differ, a column that is not there, or groups that are cut in two.
    """
    n = len(completions)
    for name, values in {"prompts": prompts, "completion_ids": ids, **columns}.items():
        if values is not None and len(values) != n:
            raise DataError(f"{name}: expected {n} entries, one per completion, got {len(values)}")
    names = list(columns)
    tokens = None if ids is None else Ragged.from_lists([np.asarray(row) for row in ids], np.int32)
    return Rollouts(
        prompt=list(prompts),
        completion=list(completions),
        reference=_reference(columns, reference),
        meta=[dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)] or None,
        tokens=tokens,
        group=_groups(prompts, n, group_size),
    )


def _reference(columns: Mapping[str, Sequence[Any]], wanted: str | None) -> list[Any] | None:
    if wanted is None:
        found = next((name for name in REFERENCES if name in columns), None)
        return None if found is None else list(columns[found])
    if wanted not in columns:
        raise DataError(
            f"the reward reads the dataset column {wanted!r}, but the trainer hands over "
            f"{', '.join(columns) or 'none'}; keep it in the dataset, with remove_unused_columns=False"
        )
    return list(columns[wanted])


def _groups(prompts: Sequence[Any], n: int, size: int | None) -> np.ndarray:
    if size is None:
        changed = [a != b for a, b in pairwise(prompts)]
        return np.concatenate([[0], np.cumsum(changed)]).astype(np.int64)[:n]
    if size < 1 or n % size:
        raise DataError(
            f"{n} completions are no whole number of groups of {size}: a process sees parts of groups; make "
            "the batch of a process a multiple of the samples per prompt"
        )
    return np.arange(n, dtype=np.int64) // size
