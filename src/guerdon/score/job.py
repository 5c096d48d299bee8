"""One scoring job from files to files: `score_file`.

It plans, opens the work folder, runs the pipeline with a commit every second, and puts the result in its
place.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from guerdon.context import Context
from guerdon.errors import DataError, EngineError, RecipeError, StoreError
from guerdon.score import planning
from guerdon.score.chunk import Chunk, SeenGroups, check_contiguous
from guerdon.score.ledger import Plan
from guerdon.score.pipeline import Pipeline, Progress, Stopped
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
        context: for rewards that run in this process; its engines answer those that ask a model.
        watch: hears of progress.
        stop: asked often; True ends the run, as Ctrl-C does.

    Raises:
        DataError: no such file, a record that cannot be used, or that could not be scored under the
            policy "raise". What was done until then is kept for `resume`.
        RecipeError: an unknown reward or setting.
        EngineError: an engine without log-probs, or saved token ids that are not its tokenizer's.
        StoreError: the disk is full, or the unfinished run is another job.
        KeyboardInterrupt: `stop` said so; all that was done is kept.
    """
    options = options or Options()
    source, out = planning.check_paths(source, out)
    began = time.perf_counter()
    with ExitStack() as opened:
        opened.enter_context(_rare_collection())
        engines = context.engines if context is not None else {}
        plans, pool = planning.make_plans(rewards, settings or {}, options, opened, engines)
        options = replace(options, gather=options.gather or any(p.traits.shape == "all" for p in plans))
        work = WorkFolder(out, planning.job_of(source, out, plans, options, engines), options.resume)
        opened.callback(work.close)
        report, progress = begin(source, out, plans, work, options)
        final: Path | None = None
        if not work.moved:
            cache = planning.open_cache(options, plans, report.notes)
            if cache is not None:
                opened.callback(_close, cache)
            job = _Job(plans, pool, cache, options, work, report, progress)
            final = job.run(context, watch, stop or (lambda: False))
        report.tally = progress.tally
        report.before = float(work.state.get("before", 0.0))
        report.seconds = time.perf_counter() - began
        report.replaced = pool.killed if pool is not None else 0
        work.finish(final)
    return report


def begin(
    source: Path, out: Path, plans: Sequence[Plan], work: WorkFolder, options: Options
) -> tuple[Report, Progress]:
    """The report of a job to be filled in, and how far an earlier run got."""
    report = Report(source, out, rewards={p.label: (p.traits.name, p.traits.version) for p in plans})
    if work.discarded:
        report.notes.append(
            f"an unfinished run of {work.discarded} records was discarded; --resume would have continued it"
        )
    progress = Progress.load(work.state)
    if any(plan.traits.stateful for plan in plans) and not work.moved:
        progress = Progress()  # what such a reward learnt from the records before is gone
    report.resumed = progress.tally.records
    return report, progress


def nothing(report: Report, progress: Progress) -> DataError:
    """The error for an input without usable records."""
    tally = progress.tally
    hint = (
        f" ({tally.skipped} broken ones were left out, the first: {tally.examples[0][1]})"
        if tally.skipped
        else ""
    )
    return DataError(f"{report.source} holds no rollouts{hint}")


@dataclass
class _Job:
    """All that takes part in one run."""

    plans: list[Plan]
    pool: Pool | None
    cache: VerdictCache | None
    options: Options
    work: WorkFolder
    report: Report
    progress: Progress

    def __post_init__(self) -> None:
        self._began = self._committed = time.monotonic()
        self._before = float(self.work.state.get("seconds", 0.0))

    def run(self, context: Context | None, watch: Watch | None, stop: Callable[[], bool]) -> Path:
        """Take all records through the pipeline; the final file."""
        progress, report = self.progress, self.report
        reader = planning.make_source(report.source, self.plans, self.options)
        where, total = f"{report.source} {reader.unit}", reader.estimate()
        state = self.work.state.get("sink", {}) if progress.after else {}
        sink = planning.make_sink(self.work.path, report.source, report.out, self.plans, state)
        pipeline = Pipeline(
            self.plans,
            self.pool,
            self.cache,
            self.options.parts,
            progress,
            where,
            report.notes,
            total,
            context,
        )

        def done(records: int) -> None:
            if time.monotonic() - self._committed >= _COMMIT_SECONDS:
                self._commit(sink, pipeline)
            if watch is not None:
                watch(records, total)

        if progress.tally.records:
            done(progress.tally.records + progress.tally.skipped)
        try:
            try:
                pipeline.run(self._chunks(reader, pipeline, where), sink, stop, done)
            except (DataError, EngineError, RecipeError, Stopped):
                self._commit(sink, pipeline)  # what came before is whole; after any other error nobody knows
                raise
            self._commit(sink, pipeline)
            if not progress.tally.records:
                raise nothing(report, progress)
            return sink.build(progress.streams)
        finally:
            sink.close()

    def _commit(self, sink: Sink, pipeline: Pipeline) -> None:
        """Make what is done safe from a kill: first the records, then the note that they count."""
        state = {**self.progress.dump(), "sink": sink.commit(), "before": self._before}
        state["seconds"] = self._before + time.monotonic() - self._began
        self.work.save(state)
        pipeline.flush()
        self._committed = time.monotonic()

    def _chunks(self, reader: Any, pipeline: Pipeline, where: str) -> Iterator[Chunk]:
        """The chunks of the input, with what is to be known of whole groups and whole files."""
        chunks = reader.chunks(self.progress.after, pipeline.rows)
        if reader.whole_groups:
            seen = SeenGroups()
            for label in reader.labels_until(self.progress.after):
                seen.add(label)
            names = ", ".join(plan.label for plan in self.plans if plan.traits.shape == "group")
        for chunk in chunks:
            if reader.whole_groups:
                check_contiguous(chunk, seen, where, names)
            elif self.options.gather:
                self.report.notes.append(f"all {len(chunk)} records were in memory at once, {_resident()}")
            yield chunk


def _resident() -> str:
    if sys.platform == "win32":
        return "as asked for"
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return f"in {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6:.0f} MB"


def _close(cache: VerdictCache) -> None:
    with suppress(StoreError):  # the verdicts are in the output; keeping them is a convenience
        cache.close()


@contextmanager
def _rare_collection() -> Iterator[None]:
    """Records are many small objects without cycles; looking for cycles takes a third of the time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
