"""The audit as a page: one HTML file with its plots inside, nothing fetched."""

from __future__ import annotations

import base64
import html
import io
import math
from pathlib import Path
from typing import Any

from guerdon.audit.attacks import FALSE
from guerdon.audit.run import Audit
from guerdon.errors import RecipeError
from guerdon.store.atomic import write_bytes

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{padding:.3rem .6rem;text-align:left;
border-bottom:1px solid #ddd;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}
code{white-space:pre-wrap;word-break:break-word;font-size:13px}.bad{color:#b00020;font-weight:600}
img{max-width:100%}
"""


def write_html(audit: Audit, path: Path) -> None:
    """Write the report.

    Raises:
        RecipeError: matplotlib is not installed.
    """
    title = html.escape(f"Audit of {audit.reward}")
    rows = "".join(_row(f) for f in audit.findings)
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>{_STYLE}</style>
<h1>{title}</h1>
<p>{audit.items} problems; a completion is paid from {audit.threshold:g} on. Right completions paid:
{_percent(audit.accuracy)}. Worst false-positive rate: {_percent(audit.max_fpr)}, mean over attacks:
{_percent(audit.mean_fpr)}. Largest change when a group is given in another order: {audit.order:g}.</p>
<img alt="false-positive rates" src="{_picture(_rates, audit)}">
<table><tr><th>attack</th><th>what</th><th>paid</th><th>rate, 95 % interval</th><th>mean</th>
<th>worst</th></tr>
{rows}</table>{_curve_html(audit)}{_causes_html(audit)}</html>"""
    write_bytes(path, page.encode(), "the audit report")


def _row(finding: Any) -> str:
    worst = finding.worst.get("completion")
    bad = finding.kind == FALSE and finding.paid
    cells = [
        f"<td>{html.escape(finding.attack)}</td><td>{html.escape(finding.what)} ({finding.kind})</td>",
        f'<td class="n{" bad" if bad else ""}">{finding.paid} / {finding.n}</td>',
        f'<td class="n">{_percent(finding.rate)} [{_percent(finding.low)}, {_percent(finding.high)}]</td>',
        f'<td class="n">{_number(finding.mean)}</td>',
        f"<td>{'' if worst is None else f'<code>{html.escape(repr(worst))}</code>'}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _curve_html(audit: Audit) -> str:
    if audit.curve is None:
        return ""
    return f'<h2>Optimiser attack</h2><img alt="over-optimisation" src="{_picture(_curve, audit)}">'


def _causes_html(audit: Audit) -> str:
    if not audit.causes:
        return ""
    items = "".join(f"<li>{count}: {html.escape(cause)}</li>" for cause, count in audit.causes.items())
    return f"<h2>Not scored</h2><ul>{items}</ul>"


def _picture(draw: Any, audit: Audit) -> str:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RecipeError("the HTML report needs matplotlib: pip install 'guerdon[lab]'") from error
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.subplots(), audit)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _rates(axes: Any, audit: Audit) -> None:
    shown = [f for f in audit.findings if f.kind == FALSE and f.n]
    at = list(range(len(shown)))
    errors = [[max(0.0, f.rate - f.low) for f in shown], [max(0.0, f.high - f.rate) for f in shown]]
    axes.barh(
        at, [f.rate for f in shown], xerr=errors, color=["#b00020" if f.paid else "#4c78a8" for f in shown]
    )
    axes.set_yticks(at, [f.attack for f in shown])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("false-positive rate with 95 % interval")


def _curve(axes: Any, audit: Audit) -> None:
    curve = audit.curve or {}
    axes.plot(curve["kl"], curve["proxy"], marker="o", label="proxy: the reward")
    axes.plot(curve["kl"], curve["gold"], marker="s", label="gold: the true checker")
    axes.set_xlabel("distance from the start, KL in nats")
    axes.legend()


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"
