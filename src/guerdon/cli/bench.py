"""`guerdon bench`: a benchmark on saved outputs or on a candidate; tables, intervals, examples to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from guerdon.bench.report import Metric, Report
from guerdon.bench.run import check_name, evaluate_candidate, evaluate_saved, options_of
from guerdon.cli import show
from guerdon.errors import RecipeError


def bench_command(
    name: str,
    data: Path | None,
    scores: Path | None,
    verdicts: Path | None,
    predictions: Path | None,
    reward: str | None,
    settings: Sequence[str],
    errors: int,
    plot: Path | None,
    json: bool,
) -> None:
    """Evaluate, print tables or JSON, and draw the intervals where a picture is asked for."""
    check_name(name)
    given = show.parse_settings(settings)
    if reward is None:
        report = evaluate_saved(name, data, scores, verdicts, predictions, given)
    else:
        if data is None or scores or verdicts or predictions:
            raise RecipeError("--reward NAME needs --data FILE and no saved outputs")
        options = {key: given.pop(key) for key in options_of(name) if key in given}
        report = _ask(name, data, reward, given, options, json)
    if plot is not None:
        draw(report, plot)
    if json:
        show.print_json(report.to_dict(errors))
    else:
        _print(report, errors)


def _ask(
    name: str, data: Path, reward: str, settings: dict[str, Any], options: dict[str, Any], quiet: bool
) -> Report:
    from guerdon.score.loading import load
    from guerdon.score.spec import parse_specs

    candidate = load(parse_specs([reward], settings)[0])
    with ExitStack() as stack:

        def watch(total: int) -> Any:
            bar = stack.enter_context(show.progress(total, f"{name}: {reward}", quiet=quiet))
            return bar.advance

        return evaluate_candidate(name, data, candidate, options, watch)


def _print(report: Report, errors: int) -> None:
    for table in report.tables:
        columns = list(dict.fromkeys(key for row in table.rows.values() for key in row))
        rows = [
            [name, *(_cell(row.get(key), 4 if key == "mrr" else 2) for key in columns)]
            for name, row in table.rows.items()
        ]
        counts = f"{report.n} of {report.expected}" if report.n < report.expected else f"{report.n}"
        show.print_table(
            ["", *columns], rows, title=f"{report.benchmark}: {table.title} ({counts}), {table.unit}"
        )
    single = {k: v for k, v in report.metrics.items() if isinstance(v, int | float)}
    if single:
        show.print_table(list(single), [[f"{v:.4g}" for v in single.values()]])
    for note in report.notes:
        show.note(note)
    for example in report.wrong[:errors]:
        show.note("wrong: " + ", ".join(f"{key} {value}" for key, value in example.items()))
    if len(report.wrong) > errors:
        show.note(f"{len(report.wrong) - errors} more went wrong (--errors N shows more, --json lists them)")


def _cell(metric: Metric | None, digits: int) -> str:
    if metric is None or math.isnan(metric.value):
        return show.NOTHING
    if math.isnan(metric.low):
        return f"{metric.value:.{digits}f}"
    return f"{metric.value:.{digits}f} [{metric.low:.{digits - 1}f}, {metric.high:.{digits - 1}f}]"


def draw(report: Report, path: Path) -> None:
    """One panel per table: a bar per row and metric with its interval; PNG, written atomically.

    Raises:
        RecipeError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RecipeError("a plot needs matplotlib: pip install 'guerdon[lab]'") from error
    from guerdon.store.atomic import atomic_file

    tables = report.tables
    figure = Figure(figsize=(8, 1 + sum(0.5 + 0.32 * len(t.rows) for t in tables)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, table in zip(figure.subplots(len(tables), 1, squeeze=False)[:, 0], tables, strict=True):
        columns = list(dict.fromkeys(key for row in table.rows.values() for key in row))
        height = 0.8 / len(columns)
        for i, column in enumerate(columns):
            points = [(at, row[column]) for at, row in enumerate(table.rows.values()) if column in row]
            at = [place + i * height for place, _ in points]
            values = [metric.value for _, metric in points]
            spans = [
                [max(0.0, _known(m.value - m.low)) for _, m in points],
                [max(0.0, _known(m.high - m.value)) for _, m in points],
            ]
            axes.barh(at, values, height, xerr=spans, label=column, error_kw={"lw": 0.8})
        axes.set_yticks([place + 0.4 for place in range(len(table.rows))], list(table.rows))
        axes.invert_yaxis()
        axes.set_title(f"{report.benchmark}: {table.title}", fontsize=10)
        axes.set_xlabel(table.unit)
        axes.legend(fontsize=7)
    with atomic_file(path, "the plot") as file:
        figure.savefig(file, format="png", dpi=120)


def _known(value: float) -> float:
    return 0.0 if math.isnan(value) else value
