"""How a job is to be done, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guerdon.score.pool import Limits
from guerdon.score.tally import Tally


@dataclass(frozen=True)
class Options:
    """How a job is to be done; nothing here changes a verdict.

    Attributes:
        workers: processes that call rewards; None: one per core; 0: rewards are called in this process,
            where nothing can stop one that hangs.
        limits: what a reward may take in a worker.
        cache: file of the verdict cache; None: none; "": the usual place.
        resume: go on with an unfinished run of the same job.
        skip_bad: leave out records that cannot be used and count them.
        gather: read all records into memory, for rewards of groups whose records lie apart.
        parts: write the parts of composite rewards as signals of their own, `LABEL.PART`.
    """

    workers: int | None = None
    limits: Limits = field(default_factory=Limits)
    cache: str | Path | None = ""
    resume: bool = False
    skip_bad: bool = False
    gather: bool = False
    parts: bool = False


@dataclass
class Report:
    """What a job did.

    Attributes:
        source, out: the files.
        tally: counts, means, causes and latencies.
        rewards: label -> name and version.
        seconds: wall-clock time.
        before: the same of earlier, unfinished runs.
        resumed: records that an earlier, unfinished run had done.
        replaced: worker processes that were killed or died.
        notes: what people should know.
    """

    source: Path
    out: Path
    tally: Tally = field(default_factory=Tally)
    rewards: dict[str, tuple[str, str]] = field(default_factory=dict)
    seconds: float = 0.0
    before: float = 0.0
    resumed: int = 0
    replaced: int = 0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        rewards = {
            label: {"name": name, "version": version, **self.tally.rewards[label].summary()}
            for label, (name, version) in self.rewards.items()
            if label in self.tally.rewards
        }
        return {
            "source": str(self.source),
            "out": str(self.out),
            "records": self.tally.records,
            "skipped": self.tally.skipped,
            "skipped_examples": [{"at": at, "reason": reason} for at, reason in self.tally.examples],
            "seconds": self.seconds,
            "seconds_before": self.before,
            "records_per_second": (self.tally.records - self.resumed) / max(self.seconds, 1e-9),
            "resumed": self.resumed,
            "workers_replaced": self.replaced,
            "rewards": rewards,
            "notes": self.notes,
        }
