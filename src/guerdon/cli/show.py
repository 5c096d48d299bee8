"""What commands print: progress on a terminal, tables for people, JSON for machines.

stdout carries the result only; progress and notes go to stderr, and progress only when that is a terminal.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guerdon.errors import RecipeError
from guerdon.store.yaml_text import parse_assignment

NOTHING = "–"
_PIPE_WIDTH = 200


class ProgressBar:
    """A bar with numbers beside it; outside a terminal it prints nothing."""

    def __init__(self, bar: Any = None, task: Any = None) -> None:
        self._bar = bar
        self._task = task

    def advance(self, steps: int = 1, /, **numbers: float) -> None:
        """Move on and show the newest numbers, e.g. `bar.advance(reward=0.41, accuracy=0.38)`."""
        if self._bar is not None:
            texts = {
                name: count(round(v)) if 1e3 <= abs(v) < 1e15 else number(v) for name, v in numbers.items()
            }
            shown = "  ".join(f"{name} {text}" for name, text in texts.items())
            extra = {"numbers": shown} if numbers else {}
            self._bar.update(self._task, advance=steps, **extra)

    def describe(self, text: str) -> None:
        """Change the text before the bar."""
        if self._bar is not None:
            self._bar.update(self._task, description=text)


@contextmanager
def progress(total: int, description: str, done: int = 0, quiet: bool = False) -> Iterator[ProgressBar]:
    """A progress bar on stderr, gone when the block ends.

    Args:
        total: how many steps there are.
        description: the text before the bar.
        done: steps done already (a resumed run).
        quiet: show nothing even on a terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield ProgressBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Remaining(),
        TextColumn("[dim]{task.fields[numbers]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield ProgressBar(bar, bar.add_task(description, total=total, completed=done, numbers=""))


def note(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str | None = None,
    left: Sequence[str] = (),
    caption: str | None = None,
) -> None:
    """A table on stdout; columns are right-aligned except the first and those in `left`.

    In a pipe the table is as wide as it needs to be, since nobody wants cut cells in a file.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title, caption=caption, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left"
    )
    for index, column in enumerate(columns):
        aligned = "left" if index == 0 or column in left else "right"
        table.add_column(column, justify=aligned, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: brackets in names are no markup
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    with console.capture() as captured:  # rich would end the process itself when the reader goes away
        console.print(table)
    print(captured.get(), end="")


def print_json(data: Any) -> None:
    """One JSON document on stdout; NaN and infinities are null, NumPy numbers and dataclasses plain."""
    print(json.dumps(plain(data), indent=1, ensure_ascii=False, allow_nan=False))


def plain(data: Any) -> Any:
    """Data as JSON has it."""
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return {f.name: plain(getattr(data, f.name)) for f in dataclasses.fields(data)}
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(value) for value in data]
    if isinstance(data, Path):
        return str(data)
    if hasattr(data, "tolist"):  # NumPy arrays and scalars
        return plain(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """`["scale=batch", "eps=1e-6"]` -> `{"scale": "batch", "eps": 1e-06}`; values are typed as in YAML.

    Raises:
        RecipeError: no `=`, a broken value, or a key given twice.
    """
    settings: dict[str, Any] = {}
    for text in assignments:
        key, value = parse_assignment(text)
        if key in settings:
            raise RecipeError(f"--set {text}: {key!r} is set twice")
        settings[key] = value
    return settings


def number(value: float | None, digits: int = 3) -> str:
    """A number in a table: `digits` decimals, a dash where it is missing."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value:.{digits}f}"


def percent(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """A share in [0, 1] as `71.5 % [65.0, 77.3]`."""
    if value is None or math.isnan(value):
        return NOTHING
    bounded = not (math.isnan(low) or math.isnan(high))
    return f"{100 * value:.1f} %" + (f" [{100 * low:.1f}, {100 * high:.1f}]" if bounded else "")


def count(value: int | None) -> str:
    """A whole number with thousands marked: `1 234 567`."""
    return NOTHING if value is None else f"{value:,}".replace(",", " ")


def duration(seconds: float) -> str:
    """Seconds as `8.4 s`, `3 min 05 s` or `2 h 07 min`."""
    if seconds is None or math.isnan(seconds):
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
