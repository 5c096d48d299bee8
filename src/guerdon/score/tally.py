"""What happened: counts, means, causes and latencies of a run, as plain data that survives a restart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_CAUSES = 1000
OTHER = "(other causes)"
_FINEST = 1e-6
_STEP = 1.05


class Latencies:
    """Seconds per record as counts in buckets 5 % wide, from a microsecond up."""

    def __init__(self, counts: Mapping[int, int] | None = None, longest: float = 0.0) -> None:
        self.counts: Counter[int] = Counter(counts or {})
        self.longest = longest

    def add(self, seconds: Sequence[float]) -> None:
        """Note how long some records took."""
        if not seconds:
            return
        times = np.maximum(seconds, _FINEST)
        buckets = (np.log(times / _FINEST) / math.log(_STEP)).astype(np.int64)
        for bucket, count in enumerate(np.bincount(buckets).tolist()):
            if count:
                self.counts[bucket] += count
        self.longest = max(self.longest, float(times.max()))

    def quantile(self, share: float) -> float:
        """Seconds that this share of the records did not exceed, within 5 %; NaN without records."""
        wanted, seen = share * self.counts.total(), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return min(_FINEST * _STEP ** (bucket + 0.5), self.longest)
        return math.nan

    def summary(self) -> dict[str, float]:
        """Percentiles in seconds."""
        quantiles = {f"p{round(100 * share)}": self.quantile(share) for share in (0.5, 0.95, 0.99)}
        return {**quantiles, "max": self.longest if self.counts else math.nan}


@dataclass
class RewardTally:
    """What became of one reward.

    Attributes:
        records: that went through.
        cached: of them, known from the verdict cache.
        repeated: of them, equal to a record of this run.
        missing: of them, without a verdict.
        values, total: number and sum of the values written.
        causes: why verdicts are missing; at most 1000 different ones are told apart.
        latencies: of those that were really scored.
        spent: what that took, for rewards that say so: requests, tokens, cost.
    """

    records: int = 0
    cached: int = 0
    repeated: int = 0
    missing: int = 0
    values: int = 0
    total: float = 0.0
    causes: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)
    spent: dict[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean of the values written, NaN where there are none."""
        return self.total / self.values if self.values else math.nan

    def add_causes(self, causes: Mapping[str, int]) -> None:
        """Count causes."""
        for cause, count in causes.items():
            known = cause in self.causes or len(self.causes) < _CAUSES
            self.causes[cause if known else OTHER] += count

    def add_spent(self, spent: Mapping[str, float]) -> None:
        """Add to what scoring took."""
        for name, amount in spent.items():
            self.spent[name] = self.spent.get(name, 0) + amount

    def merge(self, other: RewardTally) -> None:
        """Add what happened elsewhere."""
        for name in ("records", "cached", "repeated", "missing", "values", "total"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.add_causes(other.causes)
        self.add_spent(other.spent)
        self.latencies.counts.update(other.latencies.counts)
        self.latencies.longest = max(self.latencies.longest, other.latencies.longest)

    def dump(self) -> dict[str, Any]:
        """Plain JSON."""
        names = ("records", "cached", "repeated", "missing", "values", "total")
        return {
            **{name: getattr(self, name) for name in names},
            "causes": dict(self.causes),
            "spent": dict(self.spent),
            "latencies": {str(bucket): count for bucket, count in self.latencies.counts.items()},
            "longest": self.latencies.longest,
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> RewardTally:
        """The tally that `dump` made plain."""
        rest = dict(data)
        counts = {int(bucket): count for bucket, count in rest.pop("latencies").items()}
        latencies = Latencies(counts, rest.pop("longest"))
        return cls(causes=Counter(rest.pop("causes")), latencies=latencies, **rest)

    def summary(self) -> dict[str, Any]:
        """What people want to know."""
        return {
            "records": self.records,
            "mean": self.mean,
            "scored": self.records - self.missing,
            "missing": self.missing,
            "causes": dict(self.causes.most_common()),
            "cached": self.cached,
            "repeated": self.repeated,
            "computed": self.records - self.cached - self.repeated,
            "seconds": self.latencies.summary(),
            "spent": dict(self.spent),
        }


@dataclass
class Tally:
    """What happened in a run.

    Attributes:
        records: written.
        skipped: left out since they could not be used.
        examples: (line or row, reason) of the first of them.
        rewards: by label.
    """

    records: int = 0
    skipped: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)
    rewards: dict[str, RewardTally] = field(default_factory=dict)

    _EXAMPLES = 100

    def skip(self, records: Iterable[tuple[int, str]]) -> None:
        """Note records that were left out."""
        for number, reason in records:
            self.skipped += 1
            if len(self.examples) < self._EXAMPLES:
                self.examples.append((number, reason))

    def merge(self, other: Tally) -> None:
        """Add what happened elsewhere, later in the file."""
        self.records += other.records
        self.skipped += other.skipped
        self.examples = (self.examples + other.examples)[: self._EXAMPLES]
        for label, tally in other.rewards.items():
            self.rewards.setdefault(label, RewardTally()).merge(tally)

    def dump(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "records": self.records,
            "skipped": self.skipped,
            "examples": [list(example) for example in self.examples],
            "rewards": {label: tally.dump() for label, tally in self.rewards.items()},
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Tally:
        """The tally that `dump` made plain."""
        rewards = {label: RewardTally.load(each) for label, each in data["rewards"].items()}
        examples = [(number, reason) for number, reason in data["examples"]]
        return cls(data["records"], data["skipped"], examples, rewards)
