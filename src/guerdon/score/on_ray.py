"""The same job on a Ray cluster: Ray Data maps an actor pool over pieces of the input.

The driver cuts the input into pieces (byte ranges or row ranges, whole groups where rewards need them). An
actor runs the pipeline of a local job over one piece, with a killable worker process of its own, and leaves
the result in the work folder. The driver joins the results in order. Input, output and the files of users'
rewards must lie where all nodes see them; every node keeps a verdict cache of its own.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import shutil
import socket
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.data

from guerdon.errors import DataError, GuerdonError, RecipeError
from guerdon.score import job, planning
from guerdon.score.chunk import SeenGroups, check_contiguous
from guerdon.score.job import Watch
from guerdon.score.ledger import Plan
from guerdon.score.loading import load
from guerdon.score.pipeline import Pipeline, Progress
from guerdon.score.report import Options, Report
from guerdon.score.spec import Spec
from guerdon.score.work import WorkFolder
from guerdon.store.atomic import atomic_file, write_bytes
from guerdon.store.verdicts import default_path

PIECE_ROWS = 50_000
_LOOK = 64


@dataclass(frozen=True)
class Piece:
    """Consecutive records of the input: after one position, until another."""

    index: int
    after: dict[str, Any]
    until: dict[str, Any] | None


@dataclass(frozen=True)
class Work:
    """What every actor needs to know."""

    source: Path
    content: Path | None
    out: Path
    folder: Path
    plans: Sequence[Plan]
    options: Options
    path: Sequence[str]


def score_file_on_ray(
    source: str | Path,
    out: str | Path,
    rewards: Sequence[str],
    settings: Mapping[str, Any] | None = None,
    options: Options | None = None,
    watch: Watch | None = None,
    piece_rows: int = PIECE_ROWS,
) -> Report:
    """`score_file` on the Ray cluster this process is connected to, or on a local one.

    Args:
        source, out, rewards, settings, options, watch: as for `score_file`; `options.workers` is the
            number of actors (default: one per CPU of the cluster), each with one worker process.
        piece_rows: records per piece, the unit of what is done again after a kill.

    Raises:
        RecipeError: a reward that must run in one process.
        DataError, StoreError: as `score_file`.
    """
    options = options or Options()
    source, out = planning.check_paths(source, out)
    source, out = source.resolve(), out.resolve()
    began = time.perf_counter()
    with ExitStack() as opened:
        plans = _plans(rewards, settings or {}, options)
        options = replace(options, gather=options.gather or any(p.traits.shape == "all" for p in plans))
        identity = {**planning.job_of(source, out, plans, options), "pieces": piece_rows}
        folder = WorkFolder(out, identity, options.resume)
        opened.callback(folder.close)
        report, progress = job.begin(source, out, plans, folder, options)
        final: Path | None = None
        if not folder.moved:
            folder.keep = True
            folder.save(progress.dump())
            opened.enter_context(_cluster())
            work = Work(source, _unpacked(source, folder.path), out, folder.path, plans, options, sys.path)
            final, progress = _run(work, report, piece_rows, watch or (lambda records, total: None))
            folder.save(progress.dump())
        report.tally, report.seconds = progress.tally, time.perf_counter() - began
        folder.finish(final)
    return report


def _unpacked(source: Path, folder: Path) -> Path | None:
    """The content of a gzipped input where actors can begin in the middle."""
    if not source.name.lower().endswith(".gz"):
        return None
    target = folder / "input.jsonl"
    if not target.exists():
        with atomic_file(target) as temporary, open(temporary, "wb") as file:
            try:
                with gzip.open(source) as packed:
                    shutil.copyfileobj(packed, file)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise DataError(f"{source}: cannot be unpacked: {error}") from error
    return target


def _plans(rewards: Sequence[str], settings: Mapping[str, Any], options: Options) -> list[Plan]:
    """Plans without the reward objects: those are made where they are called."""
    if not all(isinstance(reward, str) for reward in rewards):
        raise RecipeError("on Ray, rewards are given by name or path, not as objects")
    with ExitStack() as opened:
        plans, _ = planning.make_plans(rewards, settings, replace(options, workers=1), opened)
    for plan in plans:
        if plan.traits.where == "main":
            raise RecipeError(
                f"reward {plan.label!r} must run in one process with its state or engine; not on Ray"
            )
    return [replace(plan, spec=_absolute(plan.spec), reward=None) for plan in plans]


def _absolute(spec: Spec) -> Spec:
    """Actors have other working directories."""
    place, colon, attribute = spec.use.rpartition(":")
    return (
        replace(spec, use=f"{Path(place).resolve()}:{attribute}") if place.endswith(".py") and colon else spec
    )


@contextlib.contextmanager
def _cluster() -> Iterator[None]:
    """The cluster at hand, or a local one for as long as it is needed."""
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


def _run(work: Work, report: Report, piece_rows: int, watch: Watch) -> tuple[Path, Progress]:
    reader = planning.make_source(work.source, work.plans, work.options, work.content)
    pieces = cut(reader, work, (1 << 60) if work.options.gather else piece_rows)
    todo = [piece for piece in pieces if not _result(work.folder, piece.index).exists()]
    done = [_load(work.folder, piece.index)[0].tally for piece in pieces if piece not in todo]
    report.resumed = sum(tally.records for tally in done)
    total = reader.estimate()
    watch(report.resumed, total)
    if todo:
        size = work.options.workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
        for row in _map(work, todo, min(size, len(todo))):
            report.replaced += row["replaced"]
            if row["error"]:
                raise DataError(row["error"])
            watch(row["records"], total)
    return _join(work, report, pieces)


def _map(work: Work, pieces: Sequence[Piece], actors: int) -> Iterator[dict[str, Any]]:
    """One row per piece, as they get done."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    rows = [{"piece": json.dumps([piece.index, piece.after, piece.until])} for piece in pieces]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        ScorePieces,
        fn_constructor_args=[work],
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=1,
    )
    yield from dataset.iter_rows()


class ScorePieces:
    """The actor: scores one piece per call; what it leaves behind is complete or not there.

    Args:
        work: the job.
    """

    def __init__(self, work: Work) -> None:
        sys.path[:] = [*work.path, *(entry for entry in sys.path if entry not in work.path)]
        # Users' code is imported by the worker only, as in a local job.
        self._plans = [
            plan if plan.spec.by_path else replace(plan, reward=load(plan.spec)) for plan in work.plans
        ]
        self._work = work
        self._notes: list[str] = []
        self._pool = planning.make_pool([plan.spec for plan in work.plans], 1, work.options)
        self._cache = planning.open_cache(_on_this_node(work.options), work.plans, self._notes)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Score the pieces of a batch."""
        rows: dict[str, list[Any]] = {"records": [], "error": [], "replaced": []}
        for text in batch["piece"]:
            before, error, records = self._pool.killed, "", 0
            try:
                records = self._score(Piece(*json.loads(str(text))))
            except GuerdonError as problem:
                error = str(problem)
            rows["records"].append(records)
            rows["error"].append(error)
            rows["replaced"].append(self._pool.killed - before)
        return rows

    def _score(self, piece: Piece) -> int:
        work, notes = self._work, self._notes
        folder = work.folder / f"piece-{piece.index:06d}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        reader = planning.make_source(work.source, work.plans, work.options, work.content)
        where = f"{work.source} {reader.unit}"
        progress = Progress(after=piece.after)
        sink = planning.make_sink(folder, work.source, work.out, work.plans, {})
        pipeline = Pipeline(self._plans, self._pool, self._cache, work.options.parts, progress, where, notes)
        try:
            chunks = reader.chunks(piece.after, pipeline.rows, piece.until)
            pipeline.run(chunks, sink, lambda: False, lambda records: None)
            sink.commit()
        finally:
            sink.close()
            pipeline.flush()
        result = {**progress.dump(), "notes": notes}
        write_bytes(_result(work.folder, piece.index), json.dumps(result).encode(), "the unfinished run")
        return progress.tally.records


def _on_this_node(options: Options) -> Options:
    """With a verdict cache of the node's own: SQLite's write-ahead mode does not work between machines."""
    if options.cache is None or len([node for node in ray.nodes() if node["Alive"]]) == 1:
        return options
    place = Path(options.cache or default_path())
    return replace(options, cache=place.with_name(f"{place.stem}-{socket.gethostname()}{place.suffix}"))


def _result(folder: Path, index: int) -> Path:
    return folder / f"piece-{index:06d}.json"


def _load(folder: Path, index: int) -> tuple[Progress, list[str]]:
    """What an actor noted about a piece."""
    data = json.loads(_result(folder, index).read_text(encoding="utf-8"))
    return Progress.load(data), data["notes"]


def cut(reader: Any, work: Work, rows: int) -> list[Piece]:
    """Pieces of the input of about so many records.

    Where rewards need whole groups, the input is parsed for it and checked for groups that come back.
    """
    if not reader.whole_groups:
        first = next(iter(reader.chunks({}, lambda: _LOOK)), None)
        known = {} if first is None else {name: first.after[name] for name in ("fields", "levels")}
        ends = [{**position, **known} for position in reader.positions(rows)]
    else:
        seen, ends = SeenGroups(), []
        names = ", ".join(plan.label for plan in work.plans if plan.traits.shape == "group")
        for chunk in reader.chunks({}, lambda: rows):
            check_contiguous(chunk, seen, f"{work.source} {reader.unit}", names)
            ends.append(chunk.after)
    return [Piece(i, {} if i == 0 else ends[i - 1], end) for i, end in enumerate(ends)]


def _join(work: Work, report: Report, pieces: Sequence[Piece]) -> tuple[Path, Progress]:
    """The final file from the pieces in order, and all that happened."""
    progress = Progress()
    sink = planning.make_sink(work.folder, work.source, work.out, work.plans, {})
    try:
        for piece in pieces:
            found, notes = _load(work.folder, piece.index)
            report.notes += [note for note in notes if note not in report.notes]
            progress.tally.merge(found.tally)
            progress.streams = _merged(progress.streams, found.streams)
            sink.file.join(work.folder / f"piece-{piece.index:06d}" / sink.file.path.name)
        if not progress.tally.records:
            raise job.nothing(report, progress)
        sink.commit()
        return sink.build(progress.streams), progress
    finally:
        sink.close()


def _merged(
    before: Mapping[str, tuple[str, bool]], now: Mapping[str, tuple[str, bool]]
) -> dict[str, tuple[str, bool]]:
    merged = dict(before)
    for name, (level, caused) in now.items():
        known, caused_before = merged.get(name, (level, False))
        if known != level:
            raise DataError(
                f"signal {name!r} has level {known!r} in one part of the file and {level!r} in another"
            )
        merged[name] = level, caused or caused_before
    return merged
