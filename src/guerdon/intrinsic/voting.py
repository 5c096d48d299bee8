"""Votes inside groups as rewards: the loop over groups that vote-type systems share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.intrinsic.reward import Extractor, Values, answers_of, groups_of
from guerdon.intrinsic.votes import ALONE, members

OfGroup = Callable[[Sequence["str | None"], np.ndarray], np.ndarray]
"""(answers of a group, its rows) -> one value each."""


def by_group(rollouts: Rollouts, extract: str | Extractor, value: OfGroup) -> Values:
    """Values of every group's answers; a group of one cannot vote and is missing."""
    answers = answers_of(rollouts, extract)
    out = np.full(len(rollouts), np.nan)
    causes: dict[int, str] = {}
    for rows in members(groups_of(rollouts)):
        if len(rows) < 2:
            causes |= dict.fromkeys(rows.tolist(), ALONE)
        else:
            out[rows] = value([answers[i] for i in rows.tolist()], rows)
    return out, causes
