"""A training run looked at afterwards: did its reward rise while the truth fell?

Enters: a run folder. Leaves: what was watched at the beginning and at the end, and where it went apart. Runs
with a self-reward log `collapse/*`; any other run is judged by its reward against its evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.errors import DataError
from guerdon.intrinsic.collapse import CollapseWatch
from guerdon.store import Run

WATCHED = ("reward", "truth", "agreement", "entropy", "diversity", "blank", "length")
SPARSE_WINDOW = 2
"""Evaluations averaged at either end, where a run is judged by them."""


@dataclass(frozen=True)
class Trend:
    """One watched number: its mean over the first and over the last steps, and how many had it."""

    name: str
    first: float
    last: float
    steps: int


@dataclass(frozen=True)
class RunAudit:
    """What became of a run.

    Attributes:
        run: its folder. trends: watched numbers.
        since: the first step at which the reward had risen while the truth had fallen, None for none.
        warning: how far apart they are, at the last step that shows it.
        against: what the reward was held against, "" where there is no truth.
    """

    run: str
    trends: list[Trend]
    since: int | None
    warning: str | None
    against: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "collapsed": self.since is not None}


def audit_run(path: Path, window: int = 5, margin: float = 0.02) -> RunAudit:
    """Look at a run's log.

    Args:
        window, margin: see `CollapseWatch`.

    Raises:
        DataError: nothing in the log can be held against each other. StoreError: no run there.
    """
    metrics = Run.open(path).metrics()
    watched = {name: metrics[f"collapse/{name}"] for name in WATCHED if f"collapse/{name}" in metrics}
    against = "the true checker" if "truth" in watched else ""
    if "reward" not in watched:
        name = next((name for name in metrics if name.startswith("reward/")), None)
        if name is None or "eval/pass@1" not in metrics:
            raise DataError(
                f"{path}: nothing to audit: no collapse/* and no reward beside evaluations is logged"
            )
        watched = {"reward": metrics[name], "truth": metrics["eval/pass@1"]}
        window, against = min(window, SPARSE_WINDOW), f"eval/pass@1 (the reward is {name})"
    since, warning = _apart(metrics["step"], watched, CollapseWatch(window, margin))
    trends = [_trend(name, values, window) for name, values in watched.items()]
    return RunAudit(str(path), trends, since, warning, against)


def _apart(
    steps: np.ndarray, watched: Mapping[str, np.ndarray], watch: CollapseWatch
) -> tuple[int | None, str | None]:
    """The first step with a warning, and the text of the last one."""
    since: int | None = None
    warning: str | None = None
    truth = watched.get("truth", np.full(len(steps), np.nan))
    for step, reward, true in zip(steps.tolist(), watched["reward"].tolist(), truth.tolist(), strict=True):
        said = watch.add({"collapse/reward": reward, "collapse/truth": true})
        if said is not None and not (math.isnan(reward) or math.isnan(true)):
            since, warning = (step if since is None else since), said
    return since, warning


def _trend(name: str, values: np.ndarray, window: int) -> Trend:
    seen = values[~np.isnan(values)]
    nothing = float("nan")
    first, last = (float(part.mean()) if len(part) else nothing for part in (seen[:window], seen[-window:]))
    return Trend(name, first, last, len(seen))
