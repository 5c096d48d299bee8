"""`guerdon train`: a recipe from YAML, run to its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.cli import show
from guerdon.learn.recipe import Recipe
from guerdon.store import Run


def train_command(
    recipe: Path, overrides: Sequence[str], resume: bool, out: Path | None, device: str | None, json: bool
) -> None:
    """Train, show progress, end with a table; Ctrl-C saves and leaves with exit code 130."""
    chosen = (
        Recipe.from_yaml(recipe).override([*overrides, *([f"device={device}"] if device else [])]).validate()
    )
    folder = out or Path(chosen.out or Path("runs") / recipe.stem)
    run = Run.start(folder, chosen.to_dict(), resume)
    began = time.perf_counter()
    with run:
        try:
            train_with_progress(chosen, run, resume, description=folder.name, quiet=json)
        except KeyboardInterrupt:
            show.note(f"stopped and saved; go on with: guerdon train {recipe} --out {folder} --resume")
            raise
    result = summary(run) | {"seconds": time.perf_counter() - began}
    if json:
        show.print_json(result)
    else:
        print_summary([result], title=f"{folder} finished")


def train_with_progress(
    recipe: Recipe, run: Run, resume: bool, description: str, quiet: bool, engine: Any = None
) -> Any:
    """`learn.train` with a progress bar."""
    from guerdon.learn.loop import train

    found = run.latest_checkpoint() if resume else None
    with show.progress(recipe.steps, description, done=found[0] if found else 0, quiet=quiet) as bar:
        warned = False

        def advance(step: int, metrics: dict[str, float]) -> None:
            nonlocal warned
            if metrics.get("collapse/warning") and not warned:
                warned = True
                show.note(f"warning: {run.status.get('warning')}")
            shown = {"accuracy": metrics.get("accuracy/train"), "length": metrics.get("rollout/length")}
            bar.advance(**{name: value for name, value in shown.items() if value is not None})

        return train(recipe, run, engine=engine, resume=resume, progress=advance)


def summary(run: Run) -> dict[str, Any]:
    """First and last evaluation of a run and what it took."""
    metrics, timing = run.metrics(), run.metrics("timing")
    out: dict[str, Any] = {
        "run": str(run.path),
        "step": int(metrics["step"][-1]) if len(metrics["step"]) else 0,
    }
    for name in ("eval/pass@1", "eval/steps"):
        values = metrics.get(name)
        if values is None:
            continue
        seen = np.flatnonzero(~np.isnan(values))
        for label, i in (("before", seen[0]), ("after", seen[-1])) if len(seen) else ():
            low, high = metrics[f"{name}_low"][i], metrics[f"{name}_high"][i]
            out[f"{name}/{label}"] = {"mean": float(values[i]), "low": float(low), "high": float(high)}
    out["tokens"] = float(np.nansum(metrics.get("rollout/tokens", np.zeros(1))))
    out["phases"] = {name: float(np.nansum(values)) for name, values in timing.items() if name != "step"}
    return out


def print_summary(results: Sequence[dict[str, Any]], title: str) -> None:
    """One row per run."""
    rows = []
    for result in results:
        cells = [str(result.get("name", result["run"]))]
        for name in ("eval/pass@1", "eval/steps"):
            for moment in ("before", "after"):
                estimate = result.get(f"{name}/{moment}")
                cells.append(show.percent(**_as_interval(estimate)) if estimate else show.NOTHING)
        rows.append([*cells, show.count(round(result.get("tokens", 0))), show.duration(result["seconds"])])
    columns = ["run", "accuracy before", "after", "valid steps before", "after", "tokens", "time"]
    show.print_table(columns, rows, title=title)


def _as_interval(estimate: dict[str, float]) -> dict[str, float]:
    return {"value": estimate["mean"], "low": estimate["low"], "high": estimate["high"]}
