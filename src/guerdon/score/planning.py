"""From what was asked for to plans: which rewards, where they run, what their verdicts are known by."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from guerdon.data import io
from guerdon.errors import DataError, RecipeError, StoreError
from guerdon.score.engines import check_asked, fingerprints, units_per_call
from guerdon.score.ledger import Plan
from guerdon.score.loading import Traits, load, traits_of
from guerdon.score.pool import Limits, Pool
from guerdon.score.report import Options
from guerdon.score.sinks import JsonlSink, Sink
from guerdon.score.spec import Spec, make_spec, parse_specs
from guerdon.scoring import Reward
from guerdon.store.verdicts import VerdictCache, default_path

Asked = Sequence[str] | Mapping[str, str | Mapping[str, Any] | Reward]
_FORMAT = 1  # of fingerprints: changes when the cells of an unchanged reward may change


def check_paths(source: str | Path, out: str | Path) -> tuple[Path, Path]:
    """Both paths, if the input is there and the output can be.

    Raises:
        DataError: which is not, and why.
    """
    source, out = Path(source), Path(out)
    for path in (source, out):
        if not path.name.lower().endswith(io.SUFFIXES):
            raise DataError(f"{path}: unknown kind of file; expected one of {', '.join(io.SUFFIXES)}")
        if path.is_dir():
            raise DataError(f"{path} is a folder; expected a file")
    if not source.exists():
        raise DataError(f"{source}: no such file")
    if not out.resolve().parent.is_dir():
        raise DataError(f"{out}: the folder {out.resolve().parent} does not exist; make it first")
    return source, out


def make_plans(
    rewards: Asked,
    settings: Mapping[str, Any],
    options: Options,
    opened: ExitStack,
    engines: Mapping[str, Any] | None = None,
) -> tuple[list[Plan], Pool | None]:
    """Everything there is to know about the rewards, and the workers that call them.

    Args:
        engines: name -> engine, for rewards that ask one.
    """
    engines = engines or {}
    specs, objects = _asked(rewards, settings)
    size = default_workers() if options.workers is None else options.workers
    here = {spec.label: load(spec) for spec in specs if not spec.by_path or not size}
    traits: dict[str, Traits] = {s.label: traits_of(here[s.label], s) for s in specs if s.label in here}
    remote = [s for s in specs if size and (s.label not in here or traits[s.label].where != "main")]
    pool: Pool | None = None
    if remote:
        pool = make_pool(remote, size, options)
        opened.callback(pool.close)
        if any(spec.by_path for spec in remote):
            traits |= {label: found for label, found in pool.describe().items() if label not in here}
    plans = []
    for spec in specs:
        if spec.label not in here and traits[spec.label].where == "main":
            here[spec.label] = load(spec)
        known = _with_engines(traits[spec.label], spec.label, here.get(spec.label), engines)
        plans.append(plan_of(spec, known, here.get(spec.label), options.parts, engines))
    for label, reward in objects.items():
        known = replace(_with_engines(traits_of(reward), label, reward, engines), where="main")
        plans.append(Plan(make_spec(label, label, {}), known, known.on_error, None, reward))
    return plans, pool


def _with_engines(traits: Traits, label: str, reward: Reward | None, engines: Mapping[str, Any]) -> Traits:
    """Traits of a reward whose engines were found to be there."""
    if traits.asks:
        check_asked(label, reward, engines)
    if traits.batch_rows or not (traits.asks or traits.stateful):
        return traits
    asked = [engines[name] for name in traits.asks]
    return replace(traits, batch_rows=1 if traits.stateful else units_per_call(asked))


def make_pool(specs: Sequence[Spec], size: int, options: Options) -> Pool:
    """Workers for some rewards."""
    return Pool(specs, size, fitting_limits(options.limits, size), options.parts)


def _asked(rewards: Asked, settings: Mapping[str, Any]) -> tuple[list[Spec], dict[str, Reward]]:
    if not isinstance(rewards, Mapping):
        return parse_specs(rewards, settings), {}
    if not rewards:
        raise RecipeError("no reward was named")
    specs, objects = [], {}
    for label, asked in rewards.items():
        if isinstance(asked, str):
            specs.append(make_spec(label, asked, {}))
        elif isinstance(asked, Mapping):
            given = dict(asked)
            if "use" not in given:
                raise RecipeError(f"{label}: expected a field 'use' that names a reward")
            specs.append(make_spec(label, str(given.pop("use")), given))
        else:
            objects[label] = asked
    if settings:
        raise RecipeError("settings go with rewards given as texts; others hold their own")
    return specs, objects


def plan_of(
    spec: Spec,
    traits: Traits,
    reward: Reward | None,
    parts: bool,
    engines: Mapping[str, Any] | None = None,
) -> Plan:
    """A reward as the pipeline takes it; verdicts of an engine are known by its fingerprint too."""
    policy = traits.on_error if spec.on_error is None else spec.on_error
    described = [
        _FORMAT,
        spec.use.rpartition(":")[2],
        traits.name,
        traits.version,
        traits.code.hex(),
        traits.shape,
        parts,
        {} if traits.versioned else spec.settings,
    ]
    seen = fingerprints(traits.asks, engines or {}) if traits.asks else []
    described += [seen] if seen else []
    text = json.dumps(described, sort_keys=True, default=repr)
    fingerprint = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return Plan(spec, traits, policy, None if traits.stateful or None in seen else fingerprint, reward)


def job_of(
    source: Path,
    out: Path,
    plans: Sequence[Plan],
    options: Options,
    engines: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What makes two runs the same job."""
    names = sorted({name for plan in plans for name in plan.traits.asks})
    asked = dict(zip(names, fingerprints(names, engines or {}), strict=True))
    status = source.stat()
    return {
        "input": str(source.resolve()),
        "size": status.st_size,
        "modified": status.st_mtime_ns,
        "out": out.name,
        "rewards": {p.label: f"{p.traits.name} {(p.fingerprint or b'').hex()}" for p in plans},
        "on_error": {plan.label: plan.policy for plan in plans},
        "gather": options.gather,
        **({"engines": asked} if asked else {}),
    }


def open_cache(options: Options, plans: Sequence[Plan], notes: list[str]) -> VerdictCache | None:
    """The verdict cache; the usual one is done without where it cannot be used."""
    if options.cache is None or all(plan.fingerprint is None for plan in plans):
        return None
    if options.cache:
        return VerdictCache(options.cache)
    try:
        return VerdictCache(default_path())
    except StoreError as error:
        notes.append(f"going on without a verdict cache: {error}")
        return None


def make_source(path: Path, plans: Sequence[Plan], options: Options, file: Path | None = None) -> Any:
    """The reader of a file, by its suffix; `file` holds the same content where that is not the place."""
    whole = not options.gather and any(plan.traits.shape == "group" for plan in plans)
    if path.name.lower().endswith(".parquet"):
        from guerdon.score.parquet_source import ParquetSource

        return ParquetSource(path, options.skip_bad, whole, options.gather)
    from guerdon.score.jsonl_source import JsonlSource

    return JsonlSource(path, options.skip_bad, whole, options.gather, file)


def make_sink(folder: Path, source: Path, out: Path, plans: Sequence[Plan], state: Mapping[str, Any]) -> Sink:
    """The writer, by the suffix of the input; `state` is that of its last commit."""
    labels = [plan.label for plan in plans]
    if source.name.lower().endswith(".parquet"):
        from guerdon.score.parquet_sink import ParquetSink

        return ParquetSink(folder, out, source, labels, state)
    return JsonlSink(folder, out, labels, state)


def default_workers() -> int:
    """One per core this process may use; none where processes cannot be handed sockets (Windows)."""
    if os.name != "posix":
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fitting_limits(limits: Limits, workers: int) -> Limits:
    """Limits that all workers together can reach without using up the machine."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return limits
    return replace(limits, memory=min(limits.memory, whole // (workers + 1))) if limits.memory else limits
