"""What a benchmark returns: tables of metrics with intervals, and the examples to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Metric:
    """A value with the bootstrap interval of its mean over examples.

    Attributes:
        value: in the metric's unit; NaN where there was nothing to average.
        low, high: 95 % percentile interval; NaN where there are fewer than two examples.
        n: examples behind it.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0


@dataclass(frozen=True)
class Table:
    """Metrics of several subsets: rows by subset, columns by metric."""

    title: str
    rows: Mapping[str, Mapping[str, Metric]]
    unit: str = "%"

    def values(self) -> dict[str, dict[str, float]]:
        """Plain numbers, as {subset: {metric: value}}."""
        return {row: {name: m.value for name, m in metrics.items()} for row, metrics in self.rows.items()}


@dataclass
class Report:
    """The outcome of one benchmark.

    Attributes:
        benchmark: its slug.
        n: examples evaluated; `expected`: examples the benchmark has (larger where outputs are partial).
        metrics: the headline numbers by name, in `units`.
        tables: breakdowns.
        notes: what a reader must know (partial outputs, ties, missing scores).
        wrong: the examples that went wrong, `{id, expected, got, ...}`.
    """

    benchmark: str
    n: int
    expected: int
    metrics: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    units: str = "percent unless the name says otherwise"

    def to_dict(self, errors: int = 20) -> dict[str, Any]:
        """Plain dicts and lists; at most `errors` wrong examples are kept."""
        return {
            "benchmark": self.benchmark,
            "n": self.n,
            "expected": self.expected,
            "complete": self.n == self.expected,
            "units": self.units,
            "metrics": self.metrics,
            "tables": {
                table.title: {
                    row: {
                        name: {"value": m.value, "interval": [m.low, m.high], "n": m.n}
                        for name, m in metrics.items()
                    }
                    for row, metrics in table.rows.items()
                }
                for table in self.tables
            },
            "notes": self.notes,
            "wrong": {"count": len(self.wrong), "examples": self.wrong[:errors]},
        }


def mean(values: Sequence[float] | np.ndarray, scale: float = 100.0, seed: int = 0) -> Metric:
    """Mean of per-example values times `scale`, with its percentile bootstrap interval (1000 resamples)."""
    values = np.asarray(values, np.float64)
    n = len(values)
    if n == 0:
        return Metric(math.nan)
    value = scale * float(values.mean())
    if n < 2:
        return Metric(value, n=n)
    low, high = np.percentile(_resampled(values, seed), [2.5, 97.5]) * scale
    return Metric(value, float(low), float(high), n)


def statistic(columns: Sequence[np.ndarray], function: Any, scale: float = 100.0, seed: int = 0) -> Metric:
    """A statistic of several groups of examples, resampled within each group.

    Args:
        columns: per-example values, one array per group.
        function: means of the groups (one float array per group, or floats) to the statistic.
    """
    arrays = [np.asarray(column, np.float64) for column in columns]
    n = sum(map(len, arrays))
    if any(len(array) == 0 for array in arrays):
        return Metric(math.nan, n=n)
    value = scale * float(function(*(float(array.mean()) for array in arrays)))
    draws = function(*(_resampled(array, seed + i) for i, array in enumerate(arrays)))
    low, high = np.percentile(np.asarray(draws), [2.5, 97.5]) * scale
    return Metric(value, float(low), float(high), n)


def _resampled(values: np.ndarray, seed: int, draws: int = 1000) -> np.ndarray:
    """Means of bootstrap resamples, (draws,); 0/1 values are drawn as binomials, which is the same thing."""
    rng, n = np.random.default_rng(seed), len(values)
    if np.isin(values, (0.0, 1.0)).all():
        return rng.binomial(n, float(values.mean()), draws) / n
    return np.array([values[rng.integers(n, size=n)].mean() for _ in range(draws)])
