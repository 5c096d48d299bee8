"""`guerdon runs`: list and compare the runs in a folder."""

from __future__ import annotations

from pathlib import Path

from guerdon.cli import show
from guerdon.errors import StoreError
from guerdon.store.compare import RunSummary, summarise_all

_COLUMNS = ("run", "status", "step", "accuracy [95 %]", "reward", "entropy", "length", "tokens", "time")


def runs_command(folder: Path, json: bool = False, plot: str | None = None, out: Path | None = None) -> None:
    """Print the runs at or under a folder as a table or as JSON.

    Args:
        folder: where to look.
        json: print a list of objects (see RunSummary) in place of the table.
        plot: also draw this metric of all runs that logged it.
        out: the picture's file; default `compare_<metric>.png` in the folder.

    Raises:
        StoreError: no such folder, or nothing to plot.
    """
    if out is not None and plot is None:
        raise StoreError("--out names the picture of --plot METRIC, and no --plot is given")
    summaries = summarise_all(folder)
    picture = _plot(folder, summaries, plot, out) if plot else None
    if json:
        show.print_json(summaries)
    elif not summaries:
        show.note(f"no runs under {folder}; train one with: guerdon train recipe.yaml --out {folder}/first")
    else:
        notes = [f"{s.name}: {s.cause}" for s in summaries if s.cause]
        show.print_table(_COLUMNS, [_row(s) for s in summaries], left=("status",))
        for line in notes:
            print(line)
    if picture is not None:
        show.note(f"drawn: {picture}")


def _row(summary: RunSummary) -> list[str]:
    s = summary
    step = show.NOTHING if s.step is None else f"{s.step}/{s.steps}" if s.steps else str(s.step)
    alone = len(s.rewards) == 1
    rewards = [show.number(v) if alone else f"{name} {show.number(v)}" for name, v in s.rewards.items()]
    return [
        s.name,
        s.state,
        step,
        show.percent(s.accuracy, s.accuracy_low, s.accuracy_high),
        "\n".join(rewards) or show.NOTHING,
        show.number(s.entropy),
        show.number(s.length, 1),
        show.count(s.tokens),
        show.duration(s.seconds),
    ]


def _plot(folder: Path, summaries: list[RunSummary], metric: str, out: Path | None) -> Path:
    from guerdon.store.plots import compare_runs
    from guerdon.store.run import Run

    readable = {s.name: Run.open(s.path) for s in summaries if s.state != "broken"}
    return compare_runs(readable, metric, out or folder / f"compare_{metric.replace('/', '_')}.png")
