"""One scoring job from files to files: `score_file`.

It plans, opens the work folder, runs the pipeline with a commit every second, and puts the result in its
place.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from guerdon.context import Context
from guerdon.errors import DataError, StoreError
from guerdon.score import planning
from guerdon.score.chunk import Chunk, SeenGroups, check_contiguous
from guerdon.score.ledger import Plan
from guerdon.score.pipeline import Pipeline, Progress
from guerdon.score.planning import Asked
from guerdon.score.pool import Pool
from guerdon.score.report import Options, Report
from guerdon.score.sinks import Sink
from guerdon.score.work import WorkFolder
from guerdon.store.verdicts import VerdictCache

_COMMIT_SECONDS = 1.0
Watch = Callable[[int, int | None], None]
"""Told how many more records are done, and about how many there are in all."""


def score_file(
    source: str | Path,
    out: str | Path,
    rewards: Asked,
    settings: Mapping[str, Any] | None = None,
    options: Options | None = None,
    context: Context | None = None,
    watch: Watch | None = None,
    stop: Callable[[], bool] | None = None,
) -> Report:
    """Score the records of a file and write them with one more signal per reward.

    Memory is bounded whatever the size of the file. Equal work is done once, known verdicts come from the
    cache. After a kill at any moment the same call with `resume` goes on; the result is that of a run that
    was never interrupted.

    Args:
        source: .jsonl, .jsonl.gz or .parquet.
        out: likewise; replaced when everything is done. While the run is under way `OUT.unfinished` is
            a folder beside it.
        rewards: `[LABEL=]NAME` texts as on the command line, or label -> name, recipe section
            (`{"use": ...}`) or Reward. Rewards given as objects are called in this process and not
            cached, since nothing tells whether two of them are the same.
        settings: as `--set`, for rewards given as texts.
        options: how to do it.
        context: for rewards that run in this process.
        watch: hears of progress.
        stop: asked often; True ends the run, as Ctrl-C does.

    Raises:
        DataError: no such file, a record that cannot be used, or that could not be scored under the
            policy "raise". What was done until then is kept for `resume`.
        RecipeError: an unknown reward or setting.
        StoreError: the disk is full, or the unfinished run is another job.
        KeyboardInterrupt: `stop` said so; all that was done is kept.
    """
    options = options or Options()
    source, out = check_paths(source, out)
    began = time.perf_counter()
    with ExitStack() as open_things:
        open_things.enter_context(_rare_collection())
        plans, pool = make_plans(rewards, settings or {}, options, open_things)
        shapes = {plan.traits.shape for plan in plans}
        options = replace(options, gather=options.gather or "all" in shapes)
        work = WorkFolder(out, job_of(source, out, plans, options), options.resume)
        open_things.callback(work.close)
        report = Report(source, out, rewards={p.label: (p.traits.name, p.traits.version) for p in plans})
        if work.discarded and not options.resume:
            report.notes.append(f"an unfinished run with {work.discarded} records was discarded (no --resume)")
        progress = Progress.load(work.state)
        if any(plan.traits.stateful for plan in plans) and not work.moved:
            progress = Progress()  # what such rewards learnt from the records before is gone
        report.resumed, before = progress.tally.records, float(work.state.get("seconds", 0.0))
        if not work.moved:
            cache = open_cache(options, plans, report.notes)
            if cache is not None:
                open_things.callback(_quietly, cache.close)
            final = _run(work, plans, pool, cache, options, progress, report, context, watch, stop)
        else:
            final = None
        report.tally = progress.tally
        report.seconds = before + time.perf_counter() - began
        report.replaced = pool.killed if pool is not None else 0
        work.finish(final)
    return report


def _run(
    work: WorkFolder,
    plans: list[Plan],
    pool: Pool | None,
    cache: VerdictCache | None,
    options: Options,
    progress: Progress,
    report: Report,
    context: Context | None,
    watch: Watch | None,
    stop: Callable[[], bool] | None,
) -> Path:
    """Take all records through the pipeline; the final file."""
    reader = make_source(report.source, plans, options)
    total = reader.estimate()
    where = f"{report.source} {reader.unit}"
    sink = make_sink(work, report.source, report.out, [plan.label for plan in plans], progress)
    pipeline = Pipeline(plans, pool, cache, options.parts, progress, where, context)
    pipeline.notes = report.notes
    committer = _Committer(work, sink, pipeline)
    try:
        chunks = reader.chunks(progress.after, pipeline.rows)
        if reader.whole_groups:
            names = ", ".join(plan.label for plan in plans if plan.traits.shape == "group")
            chunks = _contiguous(reader, chunks, progress, where, names)

        def done(records: int) -> None:
            committer.often()
            if watch is not None:
                watch(records, total)

        if watch is not None and progress.tally.records:
            watch(progress.tally.records + progress.tally.skipped, total)
        try:
            pipeline.run(_noted(chunks, options, report.notes), sink, stop or (lambda: False), done)
        finally:
            committer.now()
        if not progress.tally.records:
            skipped = progress.tally.examples[:1]
            hint = f" ({progress.tally.skipped} were skipped, the first: {skipped[0][1]})" if skipped else ""
            raise DataError(f"{report.source} holds no rollouts{hint}")
        return sink.build(progress.streams)
    finally:
        sink.close()


class _Committer:
    """Makes what is done so far safe from a kill, about once a second."""

    def __init__(self, work: WorkFolder, sink: Sink, pipeline: Pipeline) -> None:
        self._work, self._sink, self._pipeline = work, sink, pipeline
        self._began = self._last = time.monotonic()
        self._before = float(work.state.get("seconds", 0.0))

    def often(self) -> None:
        """Commit if the last time is a while ago."""
        if time.monotonic() - self._last >= _COMMIT_SECONDS:
            self.now()

    def now(self) -> None:
        """Commit: first the records, then the note that they count."""
        state = {**self._pipeline.progress.dump(), "sink": self._sink.commit()}
        state["seconds"] = self._before + time.monotonic() - self._began
        self._work.save(state)
        self._pipeline.flush()
        self._last = time.monotonic()


def _contiguous(
    reader: Any, chunks: Iterator[Chunk], progress: Progress, where: str, names: str
) -> Iterator[Chunk]:
    seen = SeenGroups()
    for label in reader.labels_until(progress.after):
        seen.add(label)
    for chunk in chunks:
        check_contiguous(chunk, seen, where, names)
        yield chunk


def _noted(chunks: Iterator[Chunk], options: Options, notes: list[str]) -> Iterator[Chunk]:
    for chunk in chunks:
        if options.gather:
            import resource
            import sys

            unit = 1 if sys.platform == "darwin" else 1024
            size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
            notes.append(f"all {len(chunk)} records were in memory at once; this process took {size:.0f} MB")
        yield chunk


@contextmanager
def _rare_collection() -> Iterator[None]:
    """Records are many small objects without cycles; looking for cycles among them takes a third of the time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except StoreError:  # the verdicts are in the output; the cache is a convenience
        pass
