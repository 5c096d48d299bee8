"""Runs side by side: what each reached, and what it cost."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.errors import GuerdonError, StoreError
from guerdon.store.folder import CONFIG, STATUS
from guerdon.store.plots import ENTROPY, LENGTH, PASS_AT_1, REWARD, first_logged, reward_names
from guerdon.store.run import Run

TOKENS, SECONDS = "rollout/tokens", "seconds"
LAST = 10
_DEPTH = 4


@dataclass(frozen=True)
class RunSummary:
    """What a run reached. NaN and None: not logged.

    Attributes:
        name: the folder, relative to where the search began.
        path: the folder.
        state: running, finished, interrupted, failed, killed or broken.
        cause: why it ended or is broken.
        step, steps: last logged step and planned length.
        accuracy, accuracy_low, accuracy_high: last evaluated pass@1 with its interval, in [0, 1].
        rewards: name -> mean over the last 10 logged steps.
        entropy, length: means over the last 10 logged steps (nats per token, tokens per rollout).
        tokens: sampled tokens of all steps.
        seconds: wall seconds of all steps.
    """

    name: str
    path: str
    state: str
    cause: str | None = None
    step: int | None = None
    steps: int | None = None
    accuracy: float = math.nan
    accuracy_low: float = math.nan
    accuracy_high: float = math.nan
    rewards: dict[str, float] = field(default_factory=dict)
    entropy: float = math.nan
    length: float = math.nan
    tokens: int | None = None
    seconds: float = math.nan


def find_runs(root: str | Path) -> list[Path]:
    """Run folders at or under `root`, sorted; broken ones are included.

    Raises:
        StoreError: `root` is no folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise StoreError(f"no folder {root}; give the folder that holds your runs (guerdon runs DIR)")
    found = []
    for folder, below, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        if {CONFIG, STATUS, "metrics.jsonl"} & set(files):
            found.append(Path(folder))
            below.clear()
        elif depth >= _DEPTH:
            below.clear()
        below[:] = [name for name in below if not name.startswith(".")]
    return sorted(found)


def summarise(path: str | Path, name: str | None = None) -> RunSummary:
    """Summarise one run; one that cannot be read gets the state "broken" and the cause."""
    path = Path(path)
    name = name or path.name
    try:
        return _summarise(Run.open(path), name)
    except (GuerdonError, OSError) as error:
        return RunSummary(name=name, path=str(path), state="broken", cause=str(error))


def summarise_all(root: str | Path) -> list[RunSummary]:
    """Summaries of every run under `root`.

    Raises:
        StoreError: `root` is no folder.
    """
    root = Path(root)
    return [
        summarise(path, str(path.relative_to(root)) if path != root else path.name)
        for path in find_runs(root)
    ]


def _summarise(run: Run, name: str) -> RunSummary:
    status = run.status
    table, timing = run.metrics(), run.metrics("timing")
    pass_at_1 = _last(table, PASS_AT_1)
    at = None if pass_at_1 is None else pass_at_1[0]
    return RunSummary(
        name=name,
        path=str(run.path),
        state=str(status["state"]),
        cause=status.get("reason"),
        step=int(table["step"].max()) if len(table["step"]) else 0,
        steps=run.config.get("steps"),
        accuracy=math.nan if pass_at_1 is None else pass_at_1[1],
        accuracy_low=_at(table, f"{PASS_AT_1}_low", at),
        accuracy_high=_at(table, f"{PASS_AT_1}_high", at),
        rewards={n.removeprefix(REWARD): _recent(table, n) for n in reward_names(table)},
        entropy=_recent(table, first_logged(table, ENTROPY)),
        length=_recent(table, first_logged(table, LENGTH)),
        tokens=_tokens(run.config, table),
        seconds=_seconds(timing),
    )


def _last(table: dict[str, np.ndarray], name: str) -> tuple[int, float] | None:
    """Row and value of the last number in a column."""
    if name not in table or np.isnan(table[name]).all():
        return None
    row = int(np.flatnonzero(~np.isnan(table[name]))[-1])
    return row, float(table[name][row])


def _at(table: dict[str, np.ndarray], name: str, row: int | None) -> float:
    return float(table[name][row]) if row is not None and name in table else math.nan


def _tokens(config: dict[str, Any], table: dict[str, np.ndarray]) -> int | None:
    """All sampled tokens: logged ones, else mean lengths times the rollouts per step of the recipe."""
    if TOKENS in table:
        return int(np.nansum(table[TOKENS]))
    length, sampler = first_logged(table, LENGTH), config.get("sampler")
    if length is None or not isinstance(sampler, dict) or not {"group", "prompts"} <= sampler.keys():
        return None
    return round(float(np.nansum(table[length])) * sampler["group"] * sampler["prompts"])


def _seconds(timing: dict[str, np.ndarray]) -> float:
    """All logged seconds: the column "seconds" where there is one, else the phases added up."""
    phases = [timing[SECONDS]] if SECONDS in timing else [v for name, v in timing.items() if name != "step"]
    return float(sum(np.nansum(phase) for phase in phases)) if phases else math.nan


def _recent(table: dict[str, np.ndarray], name: str | None) -> float:
    values = table[name][~np.isnan(table[name])][-LAST:] if name in table else []
    return float(np.mean(values)) if len(values) else math.nan
