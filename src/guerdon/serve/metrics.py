"""What happened, as the text that Prometheus collects. Used by the event loop's thread only."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from itertools import accumulate

from guerdon.score.tally import RewardTally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_HELP = {
    "guerdon_requests_total": "Requests answered, by route and status.",
    "guerdon_refused_total": "Requests sent away because too much was waiting.",
    "guerdon_records_total": "Records scored, by reward.",
    "guerdon_cached_total": "Of them, known from the verdict cache.",
    "guerdon_repeated_total": "Of them, equal to records scored before.",
    "guerdon_missing_total": "Of them, without a verdict.",
    "guerdon_workers_replaced_total": "Workers killed at a limit and replaced.",
    "guerdon_waiting_requests": "Requests accepted and not answered yet.",
    "guerdon_waiting_bytes": "Bytes of their bodies.",
}
_SECONDS = "guerdon_request_seconds"


class Metrics:
    """Counters by name and labels, and the time requests took."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[tuple[str, str], ...], float]] = defaultdict(
            lambda: defaultdict(float)
        )
        self._seconds: dict[str, list[int]] = {}
        self._sums: dict[str, float] = defaultdict(float)

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Count."""
        self._values[name][tuple(labels.items())] += value

    def set(self, name: str, value: float) -> None:
        """Replace a value that has no labels."""
        self._values[name][()] = value

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Note an answer."""
        self.add("guerdon_requests_total", route=route, status=str(status))
        counts = self._seconds.setdefault(route, [0] * (len(_BOUNDS) + 1))
        counts[bisect_left(_BOUNDS, seconds)] += 1
        self._sums[route] += seconds

    def scored(self, tallies: Mapping[str, RewardTally]) -> None:
        """Note what became of some records."""
        for label, tally in tallies.items():
            for name in ("records", "cached", "repeated", "missing"):
                self.add(f"guerdon_{name}_total", getattr(tally, name), reward=label)

    def text(self) -> str:
        """All of it."""
        lines = []
        for name, values in sorted(self._values.items()):
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in sorted(values.items())]
        if self._seconds:
            lines += [f"# HELP {_SECONDS} Time until requests were answered.", f"# TYPE {_SECONDS} histogram"]
        for route, counts in sorted(self._seconds.items()):
            for bound, count in zip((*map(str, _BOUNDS), "+Inf"), accumulate(counts), strict=True):
                lines.append(f"{_SECONDS}_bucket{_labels((('route', route), ('le', bound)))} {count}")
            lines.append(f"{_SECONDS}_sum{_labels((('route', route),))} {self._sums[route]:g}")
            lines.append(f"{_SECONDS}_count{_labels((('route', route),))} {sum(counts)}")
        return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    escaped = (
        (name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, value in labels
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
