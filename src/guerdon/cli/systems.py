"""`guerdon systems`: the catalogue, what a system is, and its claim tried here."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from guerdon.claims.analyses import ANALYSES
from guerdon.claims.claim import find as find_claim
from guerdon.claims.claim import slugs as claim_slugs
from guerdon.claims.run import run_claim
from guerdon.claims.stored import load_result, verdicts
from guerdon.cli import show
from guerdon.systems import catalogue

MAX_DEFAULT = 40  # characters of a default text that `show` prints


def list_command(json: bool) -> None:
    """All systems: one object each with slug, title, family, arxiv, kind, entry and the claim's verdict."""
    known = verdicts()
    entries = [_entry(slug, known) for slug in catalogue.slugs()]
    if json:
        show.print_json(entries)
        return
    rows = [
        [e["slug"], e["family"], e["kind"], e["arxiv"], e["claim"] or show.NOTHING, e["title"]]
        for e in entries
    ]
    columns = ["slug", "family", "kind", "arXiv", "claim", "title"]
    show.print_table(columns, rows, left=tuple(columns), title=f"{len(rows)} systems")


def _entry(slug: str, known: dict[str, str]) -> dict[str, Any]:
    found = catalogue.find(slug)
    return {
        "slug": slug,
        "title": found.title,
        "family": found.family,
        "arxiv": found.arxiv,
        "kind": found.kind,
        "entry": f"{found.factory.__module__}:{found.factory.__name__}",
        "claim": known.get(slug),
    }


def show_command(slug: str, json: bool) -> None:
    """One system: its entry, parameters with defaults, docstring and stored claim."""
    found = catalogue.find(slug)
    entry = _entry(slug, verdicts())
    parameters = {
        name: None if p.default is p.empty else p.default
        for name, p in inspect.signature(found.factory).parameters.items()
    }
    result = load_result(slug)
    if json:
        show.print_json(
            {**entry, "parameters": {k: _shown(v) for k, v in parameters.items()},
             "doc": inspect.getdoc(found.factory), "result": result}
        )  # fmt: skip
        return
    print(f"{slug}: {found.title} ({found.family}, {found.kind}; arXiv {found.arxiv or show.NOTHING})")
    print(f"{entry['entry']}({_signature(found.factory)})\n")
    print(inspect.getdoc(found.factory))
    if result is not None:
        print()
        _print(result)
        if slug in ANALYSES:
            print(ANALYSES[slug])
    elif slug in claim_slugs():
        print(f"\nclaim not run yet: guerdon systems claim {slug}")


def _shown(value: Any) -> Any:
    plain = isinstance(value, str | int | float | bool | None | list | tuple | dict)
    return value if plain else getattr(value, "__qualname__", repr(value))


def _signature(factory: Any) -> str:
    """Parameters with their defaults; long texts are cut, functions go by their names."""
    shown = []
    for name, parameter in inspect.signature(factory).parameters.items():
        default = parameter.default
        if default is parameter.empty:
            shown.append(name)
        elif isinstance(default, str) and len(default) > MAX_DEFAULT:
            shown.append(f"{name}={default[:MAX_DEFAULT]!r}..")
        else:
            text = repr(default) if isinstance(default, str) else str(_shown(default))
            shown.append(f"{name}={text}")
    return ", ".join(shown)


def claim_command(slug: str, out: Path | None, seeds: int | None, smoke: bool, json: bool) -> None:
    """Run a claim over its seeds, store the result, print the verdict."""
    claim = find_claim(slug)
    total = 2 * (5 if smoke else (seeds or claim.seeds))
    try:
        with show.progress(total, f"claim {slug}", quiet=json) as bar:
            result = run_claim(
                claim, out, smoke, seeds, lambda arm, seed, value: bar.advance(1, **{arm: value})
            )
    except KeyboardInterrupt:
        kept = None if out is None else out / f"{slug}.partial.json"
        if kept is not None and kept.is_file():
            show.note(f"stopped; what ran is kept in {kept}, the same command goes on from there")
        raise
    if json:
        show.print_json(result)
        return
    if smoke:
        show.note("smoke run: it runs, its numbers mean nothing")
    _print(result)
    if out is not None and not smoke:
        show.note(f"stored in {out / f'{slug}.json'}")


def _print(result: dict[str, Any]) -> None:
    print(result["claim"])
    rows = [
        [
            arm,
            *(show.number(value) for value in result["values"][arm]),
            show.number(_mean(result["values"][arm])),
        ]
        for arm in (result["baseline"], result["system"])
    ]
    columns = ["arm", *(f"seed {i}" for i in range(result["seeds"])), "mean"]
    low, high = result["interval"]
    show.print_table(columns, rows, title=result["metric"])
    print(
        f"{result['verdict']}: difference {show.number(result['difference'])} "
        f"[{show.number(low)}, {show.number(high)}] ({result['seeds']} seeds, {result['seconds']:.0f} s)"
    )


def _mean(values: list[float | None]) -> float:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else float("nan")
