"""Run a claim: every arm under every seed, resumable after each, stored as one JSON file."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon.claims.claim import Claim, compare
from guerdon.errors import StoreError
from guerdon.store.atomic import write_bytes

Watch = Callable[[str, int, float], None]


def run_claim(
    claim: Claim,
    out: Path | None = None,
    smoke: bool = False,
    seeds: int | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Run and compare.

    Args:
        out: folder for `<slug>.json`, and for `<slug>.partial.json` while it runs: a run that was stopped
            goes on from there as long as the experiment's source is the same.
        smoke: one quick pass over 5 seeds, stored nowhere; only good to see that it runs.
        seeds: fewer or more than the claim's own.
        watch: told (arm, seed, value) after each.

    Returns:
        slug, claim, metric, baseline, system, difference, interval, seeds, verdict, seconds, values, version;
        beside: arm -> what else it measured.
    """
    count = 5 if smoke else (seeds or claim.seeds)
    partial = None if out is None or smoke else Path(out) / f"{claim.slug}.partial.json"
    done = _resumed(partial, claim.version())
    for seed in range(count):
        for arm in (claim.baseline, claim.system):
            if str(seed) in done.get(arm, {}):
                continue
            began = time.perf_counter()
            found = claim.run(arm, seed, smoke)
            entry = dict(found) if isinstance(found, Mapping) else {"value": found}
            entry["value"] = float(entry["value"])
            entry["seconds"] = round(time.perf_counter() - began, 3)
            done.setdefault(arm, {})[str(seed)] = entry
            if partial is not None:
                _write(partial, {"version": claim.version(), "done": done})
            if watch is not None:
                watch(arm, seed, entry["value"])
    result = _result(claim, done, count)
    if out is not None and not smoke:
        _write(Path(out) / f"{claim.slug}.json", result)
        assert partial is not None
        partial.unlink(missing_ok=True)
    return result


def _result(claim: Claim, done: Mapping[str, Mapping[str, Any]], count: int) -> dict[str, Any]:
    values = {
        arm: [done[arm][str(s)]["value"] for s in range(count)] for arm in (claim.baseline, claim.system)
    }
    outcome = compare(values[claim.baseline], values[claim.system], claim.higher, claim.margin)
    curves = {
        arm: [list(done[arm][str(s)]["curve"]) for s in range(count)]
        for arm in values
        if all("curve" in done[arm][str(s)] for s in range(count))
    }
    return {
        "slug": claim.slug,
        "claim": claim.claim,
        "metric": claim.metric,
        "baseline": claim.baseline,
        "system": claim.system,
        "difference": outcome.difference,
        "interval": [outcome.low, outcome.high],
        "seeds": count,
        "verdict": outcome.verdict,
        "seconds": round(sum(e["seconds"] for arm in values for e in done[arm].values()), 1),
        "higher": claim.higher,
        "margin": claim.margin,
        "values": values,
        "curves": curves,
        "beside": {arm: _beside([done[arm][str(s)] for s in range(count)]) for arm in values},
        "notes": claim.notes,
        "version": claim.version(),
    }


def _beside(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """What else was measured under every seed: name -> one number per seed."""
    names = [
        k
        for k, v in entries[0].items()
        if k not in ("value", "seconds") and isinstance(v, int | float) and all(k in e for e in entries)
    ]
    return {name: [entry[name] for entry in entries] for name in names}


def _resumed(partial: Path | None, version: str) -> dict[str, dict[str, Any]]:
    """What an earlier run of the same experiment got to."""
    if partial is None or not partial.exists():
        return {}
    try:
        kept = json.loads(partial.read_text())
    except ValueError:
        return {}
    return kept["done"] if kept.get("version") == version else {}


def _write(path: Path, value: Any) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent}: cannot be made ({error.strerror})") from error
    write_bytes(
        path, (json.dumps(_plain(value), indent=1, ensure_ascii=False) + "\n").encode(), "the claim's result"
    )


def _plain(value: Any) -> Any:
    """NaN and infinities as null: JSON has none."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
