"""A run is a folder; this is its writing and its reading end.

    config.yaml                    the resolved recipe
    status.json                    running | finished | interrupted | failed, and why, since when
    metrics.jsonl, timing.jsonl    one line per step and source; everything wall-clock goes to timing
    rollouts/step_000010.parquet   sampled rollouts
    checkpoints/step_000010/       complete or absent
    plots/*.png
    lock                           held by the process that writes

What makes a killed run end as an unkilled one, bit for bit: every line is on the disk before the next step
begins, a checkpoint appears by one rename, and resuming cuts everything after the newest checkpoint. For
this, whatever belongs to step s is logged before the checkpoint of step s; later lines are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guerdon.errors import StoreError
from guerdon.registry import nearest
from guerdon.store import folder, yaml_text
from guerdon.store.atomic import atomic_file, discard_leftovers, store_errors
from guerdon.store.checkpoints import Checkpoints, step_name, step_of
from guerdon.store.lines import Appender, keep_until, read_lines
from guerdon.store.lock import FolderLock

if TYPE_CHECKING:
    import numpy as np

    from guerdon.data.rollouts import Rollouts

STREAMS = ("metrics", "timing")
ENDINGS = ("finished", "interrupted", "failed")


class Run:
    """One run folder. Make it with `create`, `resume` or `start` to write, with `open` to read.

    As a context manager it is closed at the end; an exception marks it interrupted or failed.

    Attributes:
        path: the folder.
        config: the resolved recipe as plain data.
    """

    def __init__(self, path: Path, config: dict[str, Any], lock: FolderLock | None = None) -> None:
        self.path = path
        self.config = config
        self.checkpoints = Checkpoints(path / "checkpoints")
        self._lock = lock
        self._appenders: dict[str, Appender] = {}
        latest = self.checkpoints.latest()
        self._sealed = latest[0] if latest else -1

    # -- beginning ---------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> Run:
        """Begin a run in a new or empty folder.

        Args:
            path: the folder; its parents are made.
            config: the resolved recipe as plain data; `steps` in it is the length of the run.

        Raises:
            StoreError: the folder holds something already, or another process writes in it.
        """
        path = Path(path)
        yaml_text.dump(dict(config))  # a config that cannot be stored must fail before anything is made
        folder.must_be_free(path)
        with folder.locked(path) as lock:
            folder.must_be_free(path)  # another process may have begun a run in between
            discard_leftovers(path)
            folder.write_status(path, folder.new_status(config))
            # written last: a folder with a config is a whole run, one without can be begun again
            return cls(path, folder.write_config(path, config), lock)

    @classmethod
    def resume(cls, path: str | Path, config: Mapping[str, Any] | None = None) -> Run:
        """Continue a run: lock it, clear away what a kill left, cut it back to its newest checkpoint.

        Before the first checkpoint that means back to nothing: training starts at step 0 again.

        Args:
            path: the folder.
            config: the recipe to continue with; only the length of the run and where and how often it is
                stored may differ from the stored one.

        Raises:
            StoreError: no run there, another process writes in it, or the recipe is another one.
        """
        path = Path(path)
        old = folder.read_config(path)
        with folder.locked(path) as lock:
            if config is not None:
                new = yaml_text.load(yaml_text.dump(dict(config)), "recipe")
                folder.check_same(path, old, new)
                old = old if new == old else folder.write_config(path, new)
            run = cls(path, old, lock)
            for place in (path, path / "rollouts", path / "plots", run.checkpoints.folder):
                discard_leftovers(place)
            latest = run.latest_checkpoint()
            run.rewind(latest[0] if latest else None)
            fresh = folder.new_status(old)
            with suppress(StoreError):  # a broken status is replaced
                before = folder.read_status(path)
                fresh |= {"started": before["started"], "resumed": before["resumed"] + 1}
            folder.write_status(path, {**fresh, "step": run.last_step()})
            return run

    @classmethod
    def start(cls, path: str | Path, config: Mapping[str, Any], resume: bool = False) -> Run:
        """`resume` where asked for and a run is there, else `create`.

        A kill may come before the folder is a run, so `--resume` must be able to begin one.
        """
        exists = (Path(path) / folder.CONFIG).exists()
        return cls.resume(path, config) if resume and exists else cls.create(path, config)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run for reading; it may be one that another process is writing."""
        return cls(Path(path), folder.read_config(Path(path)))

    # -- writing -----------------------------------------------------------------------------------

    def log(self, step: int, metrics: Mapping[str, Any], stream: str = "metrics") -> None:
        """Append one line; it is on the disk when this returns.

        Args:
            step: updates done so far, from 0.
            metrics: name -> number. NaN and infinities are written as null and read back as NaN.
            stream: "metrics" (nothing that depends on the clock) or "timing".

        Raises:
            StoreError: not a number, a step that is checkpointed already, or a full disk (the file keeps
                the lines it had).
        """
        from guerdon.store.columns import number

        self._must_write()
        if stream not in STREAMS:
            raise StoreError(f"unknown stream {stream!r}{nearest(stream, STREAMS)}")
        if stream == "metrics" and step <= self._sealed:
            raise StoreError(
                f"step {step} lies at or before the checkpoint of step {self._sealed}: log a step before "
                "its checkpoint, else a resumed run would differ"
            )
        record = {"step": int(step), **{name: number(name, value, step) for name, value in metrics.items()}}
        if stream not in self._appenders:
            self._appenders[stream] = Appender(self.path / f"{stream}.jsonl")
        self._appenders[stream].append(record)

    def save_rollouts(self, step: int, rollouts: Rollouts) -> Path:
        """Write the rollouts of a step as Parquet and return the file.

        Raises:
            StoreError: the step is checkpointed already, or the disk is full.
        """
        self._must_write()
        if step <= self._sealed:
            raise StoreError(f"rollouts of step {step} come after its checkpoint; save them before")
        from guerdon.data.io import write

        path = self.rollouts_path(step)
        with atomic_file(path, f"the rollouts of step {step}") as temporary:
            write(rollouts, temporary)
        return path

    def checkpoint(
        self, step: int, write: Callable[[Path], None], keep: int = 2, pin: str | None = None
    ) -> Path:
        """Make the checkpoint of `step`, complete or not at all, and keep the newest `keep`.

        Args:
            step: updates done so far. A step that has a checkpoint keeps the one it has.
            write: fills the empty folder it is given (model, optimizer, generators, reward states).
            keep: how many unpinned checkpoints to keep.
            pin: a name under which this one is kept for good ("final").

        Raises:
            StoreError: the disk is full; earlier checkpoints are untouched.
        """
        self._must_write()
        path = self.checkpoints.write(step, write, keep)
        self._sealed = max(self._sealed, step)
        if pin is not None:
            self.checkpoints.pin(step, pin)
        self._set_status(step=step)
        return path

    def rewind(self, step: int | None) -> None:
        """Drop everything after `step` (None: everything): checkpoints, lines, half lines, rollouts.

        Raises:
            StoreError: the folder cannot be written.
        """
        self._must_write()
        self._close_appenders()
        last = -1 if step is None else step
        self.checkpoints.drop_after(last)  # first: a newer checkpoint without its lines would be a lie
        for stream in STREAMS:
            keep_until(self.path / f"{stream}.jsonl", last)
        for path in (self.path / "rollouts").glob("step_*.parquet"):
            if (step_of(path) or 0) > last:
                with store_errors("the removal of later rollouts", path):
                    path.unlink()
        latest = self.checkpoints.latest()
        self._sealed = latest[0] if latest else -1

    def warn(self, step: int, text: str) -> None:
        """Note in the status what people should know; a newer warning takes the place of an older one."""
        self._must_write()
        self._set_status(warning=f"step {step}: {text}")

    def finish(self, status: str = "finished", reason: str | None = None) -> None:
        """Write how the run ended ("finished", "interrupted" or "failed") and free the folder."""
        if status not in ENDINGS:
            raise StoreError(f"unknown status {status!r}{nearest(status, ENDINGS)}")
        self._must_write()
        self._set_status(state=status, reason=reason, step=self.last_step(), ended=folder.now())
        self.close()

    def close(self) -> None:
        """Free the folder without changing its status; twice is fine."""
        self._close_appenders()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is not None and self._lock is not None and self._lock.held:
            ending = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            with suppress(StoreError):  # on a full disk the first error is the one to show
                self.finish(ending, reason)
        self.close()

    # -- reading -----------------------------------------------------------------------------------

    @property
    def status(self) -> dict[str, Any]:
        """`state`, `reason`, `step`, `steps`, `started`, `ended`, `resumed`, `host`, `pid`, `warning`.

        A run that says "running" while nobody holds its lock was killed; its state reads "killed".
        """
        return folder.read_status(self.path)

    def metrics(self, stream: str = "metrics") -> dict[str, np.ndarray]:
        """All logged numbers as columns: "step" int64 (n,) and every name float64 (n,).

        Lines of one step are one row; NaN where a name was not logged at a step or was not a number.
        """
        from guerdon.store.columns import columns

        return columns(record for record, _ in read_lines(self.path / f"{stream}.jsonl"))

    def series(self, name: str, stream: str = "metrics") -> tuple[np.ndarray, np.ndarray]:
        """Steps int64 (n,) and values float64 (n,) of one name, only where it has a value.

        Raises:
            StoreError: the name was never logged.
        """
        from guerdon.store.columns import present

        table = self.metrics(stream)
        if name not in table or name == "step":
            raise StoreError(f"{self.path}: no metric {name!r}{nearest(name, set(table) - {'step'})}")
        return present(table, name)

    def last_step(self) -> int:
        """The last step that is logged, 0 before the first."""
        lines = read_lines(self.path / "metrics.jsonl")
        return max((record["step"] for record, _ in lines), default=0)

    def latest_checkpoint(self) -> tuple[int, Path] | None:
        """The newest complete checkpoint, None before the first."""
        return self.checkpoints.latest()

    def pinned_checkpoint(self, name: str) -> tuple[int, Path] | None:
        """The checkpoint pinned under a name, None where there is none."""
        step = self.checkpoints.pins().get(name)
        return None if step is None else (step, self.checkpoints.path(step))

    def rollouts_path(self, step: int) -> Path:
        """Where the rollouts of a step lie."""
        return self.path / "rollouts" / f"{step_name(step)}.parquet"

    def plot(self) -> list[Path]:
        """Draw reward, accuracy, entropy, length, KL and gradient norm; see `guerdon.store.plots`."""
        from guerdon.store.plots import draw

        return draw(self)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    # -- inside ------------------------------------------------------------------------------------

    def _must_write(self) -> None:
        if self._lock is None or not self._lock.held:
            raise StoreError(f"{self.path} is open for reading only; use Run.create or Run.resume to write")

    def _set_status(self, **changes: Any) -> None:
        status = folder.new_status(self.config)
        with suppress(StoreError):
            status = folder.read_status(self.path)
        folder.write_status(self.path, {**status, **changes})

    def _close_appenders(self) -> None:
        for appender in self._appenders.values():
            appender.close()
        self._appenders.clear()
