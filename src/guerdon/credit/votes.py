"""Several critiques of the same steps become one verdict."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from guerdon.credit.view import View
from guerdon.data.signal import Signal
from guerdon.errors import DataError

RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "majority": lambda share: share >= 0.5,
    "strict": lambda share: share > 0.5,
    "intersection": lambda share: share == 1.0,
    "union": lambda share: share > 0.0,
    "single": lambda share: share > 0.0,
    "average": lambda share: share,
}


def voted(votes: np.ndarray, rule: str) -> np.ndarray:
    """One value in [0, 1] per step from k votes.

    Args:
        votes: (k, steps), 1 where the critique finds the step wrong, 0 where not, NaN where it says nothing.
        rule: one of `RULES`; "single" looks at the first critique only.

    Returns:
        float64 (steps,); shares are of the critiques that said something, NaN where none did.
    """
    votes = votes[:1] if rule == "single" else votes
    present = ~np.isnan(votes)
    said = present.sum(axis=0)
    flagged = np.where(present, votes, 0.0).sum(axis=0)
    share = np.divide(flagged, said, out=np.full(votes.shape[1], np.nan), where=said > 0)
    return np.where(np.isnan(share), np.nan, RULES[rule](share).astype(np.float64))


@dataclass(frozen=True)
class Votes:
    """The verdict over the step signals `<prefix>1`, `<prefix>2`, ...; see `voted`."""

    prefix: str = "critique_"
    rule: str = "majority"

    @property
    def name(self) -> str:
        return self.prefix.rstrip("_")

    def __call__(self, view: View) -> Signal:
        pattern = re.compile(re.escape(self.prefix) + r"(\d+)")
        found = sorted((int(m[1]), name) for name in view.signals if (m := pattern.fullmatch(name)))
        if not found:
            have = ", ".join(sorted(view.signals)) or "none"
            raise DataError(
                f"{view.method} needs the signals {self.prefix}1, {self.prefix}2, ... at level 'step'; "
                f"these rollouts carry: {have}"
            )
        votes = np.stack([view.signal(name, "step").values for _, name in found])
        return Signal(voted(votes, self.rule), "step", self.name)
