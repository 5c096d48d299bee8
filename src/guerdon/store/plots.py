"""Pictures of a run: what was rewarded, what was solved, and how the policy moved.

Enters: logged columns. Leaves: PNG files. Raw values are drawn pale, their running mean on top.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guerdon.errors import StoreError
from guerdon.store.atomic import write_bytes
from guerdon.store.columns import present

if TYPE_CHECKING:
    from guerdon.store.run import Run

REWARD = "reward/"
TRAIN_ACCURACY, PASS_AT_1 = "accuracy/train", "eval/pass@1"
ENTROPY, LENGTH, GRAD_NORM = ("policy/entropy", "rollout/entropy"), ("rollout/length",), ("policy/grad_norm",)
KL = ("policy/kl", "policy/old_kl")
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#111111")
_SINGLE = {  # file name -> metrics, of which the first logged one is drawn, and the label of the axis
    "entropy": (ENTROPY, "entropy (nats per token)"),
    "length": (LENGTH, "length (tokens per rollout)"),
    "kl": (KL, "KL divergence (nats per token)"),
    "grad_norm": (GRAD_NORM, "gradient norm before clipping"),
}
_DRAWN_AS = {"policy/kl": "to the reference policy", "policy/old_kl": "to the policy that sampled"}
Table = Mapping[str, np.ndarray]


def draw(run: Run) -> list[Path]:
    """Draw every plot the metrics allow, and all of them together as `overview.png`.

    Args:
        run: open for reading or writing.

    Returns:
        The files written under `plots/`; none before anything was logged.

    Raises:
        StoreError: matplotlib is not installed, or the disk is full.
    """
    table = run.metrics()
    panels = _panels(table)
    if not panels:
        return []
    written = []
    for name, panel in panels.items():
        figure = _figure(6.4, 4.0)
        panel(figure.add_subplot())
        written.append(_save(figure, run.path / "plots" / f"{name}.png"))
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure = _figure(4.6 * across, 3.3 * down)
    figure.suptitle(run.path.name)
    for index, panel in enumerate(panels.values(), start=1):
        panel(figure.add_subplot(down, across, index))
    written.append(_save(figure, run.path / "plots" / "overview.png"))
    return written


def compare_runs(
    runs: Sequence[Run] | Mapping[str, Run],
    metric: str,
    path: str | Path,
    title: str | None = None,
    ylabel: str | None = None,
) -> Path:
    """Draw one metric of several runs in one picture, with its interval where `_low` and `_high` are logged.

    Args:
        runs: label -> run, or runs labelled by their folder names.
        metric: a logged name, e.g. "eval/pass@1".
        path: the PNG file to write.
        title, ylabel: texts; the label of the axis defaults to the metric's name.

    Returns:
        `path`.

    Raises:
        StoreError: no run has the metric, matplotlib is not installed, or the disk is full.
    """
    labelled = dict(runs) if isinstance(runs, Mapping) else _labels(runs)
    figure = _figure(7.2, 4.4)
    axes = figure.add_subplot()
    drawn = 0
    for colour, (label, run) in zip(_cycle(len(labelled)), labelled.items(), strict=True):
        table = run.metrics()
        if metric in table:
            drawn += _line(axes, table, metric, label, colour)
    if not drawn:
        known = ", ".join(labelled) or "none given"
        raise StoreError(f"no run has logged {metric!r} (runs: {known})")
    if metric == TRAIN_ACCURACY or metric.startswith("eval/pass"):
        _percent(axes)
    _finish(axes, ylabel or metric, legend=True)
    if title:
        axes.set_title(title)
    return _save(figure, Path(path))


def _labels(runs: Sequence[Run]) -> dict[str, Run]:
    plain = [run.path.name for run in runs]
    return {
        (name if plain.count(name) == 1 else str(run.path)): run
        for name, run in zip(plain, runs, strict=True)
    }


def _panels(table: Table) -> dict[str, Callable[[Any], None]]:
    """File name -> a function drawing that plot into axes, for what is in the table."""
    panels: dict[str, Callable[[Any], None]] = {}
    rewards = [name for name in reward_names(table) if _any(table, name)]
    if rewards:
        panels["reward"] = partial(_rewards, table=table, names=rewards)
    if _any(table, TRAIN_ACCURACY) or _any(table, PASS_AT_1):
        panels["accuracy"] = partial(_accuracy, table=table)
    for name, (metrics, label) in _SINGLE.items():
        if metric := first_logged(table, metrics):
            panels[name] = partial(_single, table=table, metric=metric, label=label)
    return panels


def reward_names(table: Table) -> list[str]:
    """The columns that hold a mean reward; bounds and counts of missing values are none."""
    return [n for n in table if n.startswith(REWARD) and not n.endswith(("_low", "_high", "_missing"))]


def first_logged(table: Table, names: Sequence[str]) -> str | None:
    """The first of several names that has a value."""
    return next((name for name in names if _any(table, name)), None)


def _any(table: Table, name: str) -> bool:
    return name in table and not np.isnan(table[name]).all()


def _rewards(axes: Any, table: Table, names: Sequence[str]) -> None:
    for colour, name in zip(_cycle(len(names)), names, strict=True):
        _line(axes, table, name, name.removeprefix(REWARD), colour)
    _finish(axes, "mean reward", legend=True)


def _accuracy(axes: Any, table: Table) -> None:
    if _any(table, TRAIN_ACCURACY):
        _line(axes, table, TRAIN_ACCURACY, "training samples", _COLOURS[0])
    if _any(table, PASS_AT_1):
        _line(axes, table, PASS_AT_1, "evaluation, pass@1", _COLOURS[1], marker="o")
    _percent(axes)
    _finish(axes, "accuracy", legend=True)


def _single(axes: Any, table: Table, metric: str, label: str) -> None:
    _line(axes, table, metric, _DRAWN_AS.get(metric, ""), _COLOURS[0])
    values = present(table, metric)[1]
    if metric in GRAD_NORM and values.min() > 0 and values.max() > 10 * np.median(values):
        axes.set_yscale("log")  # one exploding step would flatten all others
    _finish(axes, label, legend=metric in _DRAWN_AS)


def _line(axes: Any, table: Table, metric: str, label: str, colour: str, marker: str = "") -> bool:
    """One metric: its interval as a band, raw values pale under the running mean; False without values."""
    steps, values = present(table, metric)
    if not len(values):
        return False
    low, high = f"{metric}_low", f"{metric}_high"
    banded = low in table and high in table
    if banded:
        bounded = ~np.isnan(table[low]) & ~np.isnan(table[high])
        at = table["step"][bounded]
        axes.fill_between(
            at, table[low][bounded], table[high][bounded], color=colour, alpha=0.18, linewidth=0
        )
    window = 1 if banded else max(1, len(values) // 20)
    if window > 1:
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.9)
    marker = marker or ("o" if len(values) < 20 else "")
    axes.plot(
        steps, smooth(values, window), color=colour, linewidth=1.8, label=label, marker=marker, markersize=3.5
    )
    return True


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Running mean over `window` values around each one, over fewer at the ends.

    Args:
        values: float64 (n,).
        window: how many values to average, at least 1; an even number counts as the next odd one.

    Returns:
        float64 (n,).
    """
    total = np.cumsum(np.concatenate([[0.0], values]))
    at, half = np.arange(len(values)), window // 2
    start, end = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    return (total[end] - total[start]) / (end - start)


def _finish(axes: Any, ylabel: str, legend: bool) -> None:
    axes.set_xlabel("step")
    axes.set_ylabel(ylabel)
    axes.grid(True, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(x=0.02)
    if legend and axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize="small")


def _percent(axes: Any) -> None:
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _cycle(n: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(n)]


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure  # no pyplot: no window system, no global state
    except ImportError as error:
        raise StoreError("plots need matplotlib; install it with: pip install 'guerdon[lab]'") from error
    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def _save(figure: Any, path: Path) -> Path:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")  # Figure without pyplot renders with Agg
    write_bytes(path, picture.getvalue(), f"the plot {path.name}")
    return path
