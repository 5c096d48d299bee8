"""The page of claims: a table, and per claim its numbers, a plot and what was scaled down.

python -m guerdon.claims.render docs
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.claims.analyses import ANALYSES
from guerdon.claims.stored import FOLDER, results
from guerdon.store.atomic import atomic_file, write_bytes

_HEAD = """# Claims

What publications promise, tried at small scale against the baseline they name: the same seeds for both arms,
a 95 % interval of the paired difference (positive is better), one verdict by a rule fixed beforehand:
*reproduced* where the interval lies above 0 (*small* where it lies below the smallest effect that would
count, the margin), else *not reproduced* where it lies at or below 0 or below that margin, else
*inconclusive*. Experiments that replaced an earlier version say so in their notes; those looked at once and
then changed prove less than those run once. Run one with `guerdon systems claim SLUG`.

"""


def render(docs: Path, folder: Path = FOLDER) -> int:
    """Write `claims.md` and one picture per claim under `docs`; returns the number of claims."""
    found = results(folder)
    (docs / "claims").mkdir(parents=True, exist_ok=True)
    for slug, result in found.items():
        draw(result, docs / "claims" / f"{slug}.png")
    write_bytes(docs / "claims.md", page(found).encode(), "the page of claims")
    return len(found)


def page(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of the page from results by slug."""
    rows = [
        f"| [{slug}](#{slug}) | {_verdict(r)} | {r['difference']:+.4g} | {_interval(r)} | {r['seeds']} | "
        f"{r['seconds']:.0f} s |"
        for slug, r in found.items()
    ]
    counts = {
        v: sum(r["verdict"] == v for r in found.values())
        for v in ("reproduced", "not reproduced", "inconclusive")
    }
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + ".\n\n"
    table = "| system | verdict | difference | 95 % interval | seeds | time |\n|---|---|---|---|---|---|\n"
    parts = [_section(slug, result) for slug, result in found.items()]
    return _HEAD + summary + table + "\n".join(rows) + "\n\n" + "\n".join(parts)


def _interval(result: Mapping[str, Any]) -> str:
    low, high = result["interval"]
    return "–" if low is None else f"[{low:+.4g}, {high:+.4g}]"


def _verdict(result: Mapping[str, Any]) -> str:
    """The verdict, and whether what was reproduced is smaller than what would count."""
    small = result["verdict"] == "reproduced" and result["interval"][1] < result["margin"]
    return result["verdict"] + (" (small)" if small else "")


def _section(slug: str, r: Mapping[str, Any]) -> str:
    means = {arm: np.nanmean(np.array(r["values"][arm], np.float64)) for arm in (r["baseline"], r["system"])}
    arms = ", ".join(f"{arm} {value:.4g}" for arm, value in means.items())
    note = "".join(f"\n\n{text}" for text in (r["notes"], _beside(r), ANALYSES.get(slug)) if text)
    return (
        f"## {slug}\n\n{r['claim']}\n\n**{_verdict(r)}**: {r['metric']}: {arms}; difference "
        f"{r['difference']:+.4g} {_interval(r)} over {r['seeds']} seeds, margin {r['margin']:g}.{note}\n\n"
        f"![{slug}](claims/{slug}.png)\n"
    )


def _beside(r: Mapping[str, Any]) -> str:
    """What else the arms measured, as means over seeds."""
    parts = [
        f"{arm}: " + ", ".join(f"{name} {np.nanmean(np.array(v, float)):.3g}" for name, v in found.items())
        for arm, found in (r.get("beside") or {}).items()
        if found
    ]
    return "Measured beside it, means over seeds; " + "; ".join(parts) + "." if parts else ""


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Paired values of both arms, and their mean curves where the experiment kept any."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = result.get("curves") or {}
    figure = Figure(figsize=(7.5 if curves else 3.6, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if curves else 1, squeeze=False)[0]
    arms = [result["baseline"], result["system"]]
    pairs = np.array([result["values"][arm] for arm in arms], np.float64)
    axes[0].plot([0, 1], pairs, color="#9aa", lw=0.8, marker="o", ms=3)
    axes[0].plot([0, 1], np.nanmean(pairs, axis=1), color="#b00020", lw=2)
    axes[0].set_xticks([0, 1], arms)
    axes[0].set_title(result["metric"], fontsize=7)
    axes[0].tick_params(labelsize=7)
    if curves:
        for arm in (arm for arm in arms if arm in curves):
            lines = np.array(curves[arm], np.float64)
            mean, spread = lines.mean(0), lines.std(0) / max(len(lines), 1) ** 0.5
            at = np.arange(len(mean))
            axes[1].plot(at, mean, label=arm)
            axes[1].fill_between(at, mean - spread, mean + spread, alpha=0.2)
        axes[1].legend(fontsize=7)
        axes[1].tick_params(labelsize=7)
    with atomic_file(path, "the plot") as file:
        figure.savefig(file, format="png", dpi=90)


if __name__ == "__main__":
    print(render(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")))
