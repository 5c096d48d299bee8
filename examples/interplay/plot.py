"""The study's picture: one panel per finding, one grey line or dot per seed, means in red."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

PANELS = (
    (
        "RL data: pass@16 on 4-5 operations, %",
        "edge pass@16",
        ("base", "rl-known", "rl", "rl-hard"),
        ("no RL", "RL on 1-3", "RL on 4-5", "RL on 7-8"),
    ),
    (
        "exposure: pass@16 in the second context, %",
        "school pass@16",
        ("rl-school-0", "rl-school-1", "rl-school-10"),
        ("0 %", "1 %", "10 %"),
    ),
    (
        "equal budgets: pass@16 on 4-5 operations, %",
        "edge pass@16",
        ("base", "rl", "mid-rl"),
        ("base", "RL", "mid + RL"),
    ),
    (
        "reward: right answers over wrong steps, %",
        "edge invalid",
        ("base", "rl-outcome", "rl"),
        ("base", "outcome", "process"),
    ),
)


def draw(results: dict[str, Any], path: Path) -> None:
    """Write the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, measure, arms, labels) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        test, metric = measure.split()
        seeds = results["seeds"].values()
        values = np.array([[seed[arm][test][metric] for arm in arms] for seed in seeds], np.float64)
        axes.plot(range(len(arms)), values.T, color="#9aa", lw=0.8, marker="o", ms=3)
        axes.plot(range(len(arms)), np.nanmean(values, axis=0), color="#b00020", lw=2)
        axes.set_xticks(range(len(arms)), labels)
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_ylim(-3, 103)
    figure.savefig(path, dpi=90)
