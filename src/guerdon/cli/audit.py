"""`guerdon audit`: attack a reward before a policy does; a report and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.audit import ATTACKS, Audit, audit
from guerdon.audit.items import PARTIAL, items_for, read_items
from guerdon.audit.optimise import best_of_n_curve, overoptimised, policy_curve
from guerdon.cli import show
from guerdon.errors import DataError, RecipeError
from guerdon.score.loading import load
from guerdon.score.spec import parse_specs

FAILED = 1
"""Exit code of an audit whose worst rate passes the limit."""


def audit_command(
    name: str,
    settings: Sequence[str],
    items: str | None,
    data: Path | None,
    number: int,
    attacks: Sequence[str],
    threshold: float | None,
    rollouts: Path | None,
    optimise: int,
    max_fpr: float | None,
    html: Path | None,
    seed: int,
    json: bool,
) -> int:
    """Audit, print a table or JSON, write the page, leave with 1 where `max_fpr` is passed.

    The folder of a run in place of a reward is looked at for a reward that rose while the truth fell.
    """
    if Path(name).is_dir():
        return _run(Path(name), json)
    if data is not None and items is not None:
        raise RecipeError("give either --items or --data, not both")
    reward = load(parse_specs([name], show.parse_settings(settings))[0])
    problems = read_items(data, number) if data is not None else items_for(name, items, number, seed)
    chosen = list(attacks) or list(ATTACKS)
    with show.progress(len(chosen), f"attacking {name}", quiet=json) as bar:
        found = audit(
            reward, problems, name, chosen, threshold, seed, watch=bar.advance, full=name in PARTIAL
        )
    if rollouts is not None:
        found.curve = _saved(reward, rollouts)
    elif optimise:
        with show.progress(optimise, "optimising against it", quiet=json) as bar:
            found.curve = policy_curve(reward, optimise, seed, watch=bar.advance)
    if html is not None:
        from guerdon.audit.report import write_html

        write_html(found, html)
    if json:
        show.print_json(found.to_dict())
    else:
        _print(found)
    if max_fpr is not None and not found.max_fpr <= max_fpr:
        show.note(f"failed: the worst false-positive rate {found.max_fpr:.4g} is above {max_fpr:g}")
        return FAILED
    return 0


def _run(folder: Path, json: bool) -> int:
    """Print how a run's reward went against the truth; 1 where they went apart."""
    from guerdon.audit.collapse import audit_run

    found = audit_run(folder)
    if json:
        show.print_json(found.to_dict())
    else:
        rows = [
            [t.name, show.number(t.first), show.number(t.last), show.count(t.steps)] for t in found.trends
        ]
        show.print_table(["watched", "first", "last", "steps"], rows, title=str(folder))
    if not found.against:
        show.note("no true checker was logged: whether the reward still follows the truth cannot be told")
    if found.since is not None:
        show.note(f"warning: {found.warning} (since step {found.since}; held against {found.against})")
        return FAILED
    return 0


def _saved(reward: Any, path: Path) -> dict[str, list[float]]:
    """Best-of-N over saved rollouts whose signal `outcome` is the truth."""
    from guerdon.data import io

    rollouts = io.read(path)
    if "outcome" not in rollouts.signals:
        raise DataError(f"{path}: no signal 'outcome' (the true result of every rollout, one number each)")
    proxy = np.asarray(reward(rollouts).values, np.float64)
    return best_of_n_curve(proxy, rollouts.signals["outcome"].values, rollouts.groups()[0])


def _print(found: Audit) -> None:
    rows = [
        [
            f.attack,
            f.kind,
            f"{f.paid} of {show.count(f.n)}",
            show.percent(f.rate, f.low, f.high),
            show.number(f.mean),
            show.count(f.missing),
        ]
        for f in found.findings
    ]
    show.print_table(
        ["attack", "kind", "paid", "rate [95 %]", "mean", "not scored"],
        rows,
        left=("kind",),
        title=f"{found.reward}: {found.items} problems, paid from {found.threshold:g} on",
        caption=f"right completions paid: {show.percent(found.accuracy)}; order of a group: {found.order:g}",
    )
    for f in found.findings:
        if f.paid and f.kind == "false positive":
            show.note(f"{f.attack}: {f.worst['completion'][:100]!r} got {f.worst['got']:g}")
    for cause, count in found.causes.items():
        show.note(f"{count} not scored: {cause}")
    if found.curve is not None:
        columns = list(found.curve)
        cells = [[f"{v:.3g}" for v in row] for row in zip(*found.curve.values(), strict=True)]
        verdict = "over-optimised: proxy held, gold fell" if overoptimised(found.curve) else "gold held"
        show.print_table(columns, cells, title=f"optimiser attack ({verdict})")
