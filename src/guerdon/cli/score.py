"""`guerdon score`: saved rollouts through rewards, with progress, and a table of what was found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.cli import show
from guerdon.context import Context
from guerdon.errors import RecipeError
from guerdon.learn.interrupts import StopRequest
from guerdon.score import Limits, Options, Report, score_file

_PLACES = ("local", "ray")
_CAUSES = 5
_COUNTS = ("scored", "missing", "cached", "repeated", "computed")
_SHARES = ("p50", "p95", "p99", "max")


def score_command(
    source: Path,
    rewards: Sequence[str],
    out: Path,
    settings: Sequence[str],
    workers: int | None,
    limit: float,
    batch_limit: float,
    memory: float,
    give_up: int,
    cache: Path | None,
    no_cache: bool,
    resume: bool,
    skip_bad: bool,
    gather: bool,
    parts: bool,
    on: str,
    engines: Sequence[str],
    device: str | None,
    json: bool,
) -> None:
    """Score, show progress, end with a table; Ctrl-C saves and leaves with exit code 130."""
    if on not in _PLACES:
        raise RecipeError(f"--on {on}: expected one of {', '.join(_PLACES)}")
    limits = Limits(limit or None, batch_limit or None, int(memory * 1e9), give_up)
    options = Options(
        workers=workers,
        limits=limits,
        cache=None if no_cache else (cache or ""),
        resume=resume,
        skip_bad=skip_bad,
        gather=gather,
        parts=parts,
    )
    parsed = show.parse_settings(settings)
    if on == "ray":
        if engines:
            raise RecipeError("--engine works with --on local only: the engine is in this process")
        from guerdon.score.on_ray import score_file_on_ray

        with _Bar(source.name, json) as bar:
            report = score_file_on_ray(source, out, rewards, parsed, options, watch=bar.move)
    else:
        report = _with_progress(source, out, rewards, parsed, options, _context(engines, device), json)
    if json:
        show.print_json(report.to_dict())
    else:
        print_report(report)


def _context(engines: Sequence[str], device: str | None) -> Context | None:
    if not engines:
        return None
    from guerdon.score.engines import open_engines

    return Context(engines=open_engines(engines, device or "auto"))


def _with_progress(
    source: Path,
    out: Path,
    rewards: Sequence[str],
    settings: dict[str, Any],
    options: Options,
    context: Context | None,
    quiet: bool,
) -> Report:
    with StopRequest() as request, _Bar(source.name, quiet) as bar:
        try:
            return score_file(
                source,
                out,
                rewards,
                settings,
                options,
                context,
                watch=bar.move,
                stop=lambda: request.asked,
            )
        except KeyboardInterrupt:
            show.note(
                f"stopped; what is done is kept in {out}.unfinished: go on with the same command and --resume"
            )
            raise


class _Bar:
    """A progress bar that appears when the number of records is known, with the rate beside it."""

    def __init__(self, name: str, quiet: bool) -> None:
        self._name, self._quiet = name, quiet
        self._open: Any = None
        self._bar = show.ProgressBar()
        self._began, self._done = time.monotonic(), 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)

    def move(self, records: int, total: int | None) -> None:
        """Hear of progress; the first call may be about what an earlier run did."""
        if self._open is None:
            # rich shows "?" for a total of None
            self._open = show.progress(total, self._name, quiet=self._quiet)  # type: ignore[arg-type]
            self._bar = self._open.__enter__()
        self._done += records
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        self._bar.advance(records, **{"records/s": rate})


def print_report(report: Report) -> None:
    """Counts and latencies of every reward, then causes and notes."""
    found = {label: report.tally.rewards[label].summary() for label in report.rewards}
    rate = show.count(round(report.to_dict()["records_per_second"]))
    resumed = f", {show.count(report.resumed)} of them by an earlier run" if report.resumed else ""
    show.print_table(
        ["reward", "mean", *_COUNTS],
        [
            [name, show.number(of["mean"]), *(show.count(of[c]) for c in _COUNTS)]
            for name, of in found.items()
        ],
        title=f"{report.source.name}: {show.count(report.tally.records)} records in "
        f"{show.duration(report.seconds)} ({rate}/s{resumed})",
        caption=f"written to {report.out}",
    )
    computed = {name: of["seconds"] for name, of in found.items() if of["computed"]}
    if computed:
        rows = [[name, *(_latency(of[share]) for share in _SHARES)] for name, of in computed.items()]
        show.print_table(["time per record", *_SHARES], rows)
    _print_causes(report)
    _print_notes(report)


def _print_notes(report: Report) -> None:
    for label in report.rewards:
        spent = report.tally.rewards[label].spent
        if spent:
            show.note(f"{label} took " + ", ".join(f"{_amount(n)} {name}" for name, n in spent.items()))
    for at, reason in report.tally.examples[:_CAUSES]:
        show.note(f"skipped record {at}: {reason}")
    if report.tally.skipped:
        show.note(f"skipped {show.count(report.tally.skipped)} broken records in all")
    if report.replaced:
        show.note(f"worker processes that were killed or died, and were replaced: {report.replaced}")
    for text in report.notes:
        show.note(text)


def _print_causes(report: Report) -> None:
    rows = []
    for label in report.rewards:
        causes = report.tally.rewards[label].causes.most_common()
        rows += [[label, show.count(count), cause] for cause, count in causes[:_CAUSES]]
        if len(causes) > _CAUSES:
            rest = sum(count for _, count in causes[_CAUSES:])
            rows.append([label, show.count(rest), f"({len(causes) - _CAUSES} other causes)"])
    if rows:
        show.print_table(["reward", "missing", "cause"], rows, left=("cause",))


def _amount(number: float) -> str:
    return show.count(round(number)) if number == round(number) else f"{number:.4g}"


def _latency(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    for scale, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds >= 0.1 / scale * (10 if scale == 1.0 else 1):
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs" if seconds == seconds else show.NOTHING
