"""bench: benchmarks of reward models, judges and verifiers.

Enters: a benchmark's file and either saved outputs (scores, verdicts, predictions) or a candidate to ask.
Leaves: a `Report` with the official metrics, their bootstrap intervals and the examples that went wrong.
"""

from guerdon.bench.aggregate import AGGREGATIONS, aggregate
from guerdon.bench.report import Report, Table

__all__ = ["AGGREGATIONS", "Report", "Table", "aggregate"]
