"""What a task is: problems in splits that never overlap, and exact checks of what a model wrote.

Enters: a task's parameters, then completions with their references. Leaves: `Problem`s, and the signals
`outcome` (one value per rollout) and `steps` (one value per step).

A task subclasses `Task`, a frozen dataclass whose fields are its recipe parameters, and implements

* `draw(rng)`: one random problem of this configuration,
* `key(problem)`: the canonical text of a problem; equal keys are the same problem,
* `grade(completion, reference, meta)`: 1.0 or 0.0,
* and, with `has_steps`, `split_steps(completion)` and `grade_steps(completion, reference, meta)`.

Where a grade cannot be computed (no reference, say), `grade` raises `Unscorable` with the cause; users see
NaN and find the cause in the signal. An answer that is wrong, empty or cannot be parsed is 0, not NaN.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from guerdon.data.signal import Signal
from guerdon.errors import DataError
from guerdon.tasks.answers import last_boxed, last_tag

if TYPE_CHECKING:
    from guerdon.context import Context
    from guerdon.data.rollouts import Rollouts

SPLITS = {"train": 8, "valid": 1, "test": 1}
"""Tenths of all problems that belong to each split."""

SCORING_ONLY = {"scoring_only": True}
"""Metadata of a dataclass field that changes rewards but not problems: it is no part of the random stream."""


class Unscorable(Exception):
    """A check cannot be computed; the message is the cause that is counted in the signal."""


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        prompt: what the model is shown.
        reference: ground truth, as `check` wants it.
        meta: what else the checks need, JSON-compatible.
        solution: a worked completion that checks as right, for supervised warm starts; None if unknown.
    """

    prompt: str
    reference: Any
    meta: dict[str, Any] = field(default_factory=dict)
    solution: str | None = None


def split_of(key: str) -> str:
    """The split a problem belongs to: "train", "valid" or "test".

    Decided by a BLAKE2b hash of the problem's canonical key alone, so that no seed, size or difficulty can
    put one problem into two splits.
    """
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, person=b"guerdon split").digest()
    place = int.from_bytes(digest) % sum(SPLITS.values())
    for name, share in SPLITS.items():
        if place < share:
            return name
        place -= share
    raise AssertionError("shares cover every place")


def stable_seed(*parts: object) -> int:
    """A 63-bit seed that depends on the texts of `parts` only (the same on every machine and Python)."""
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest()) >> 1


class Task(ABC):
    """A family of problems with an exact checker. See the module's text for what a subclass provides."""

    name: str = "task"
    has_steps: ClassVar[bool] = False
    max_draws: ClassVar[int] = 10_000

    @abstractmethod
    def draw(self, rng: random.Random) -> Problem:
        """One random problem of this configuration."""

    @abstractmethod
    def key(self, problem: Problem) -> str:
        """Canonical text of a problem: two problems are the same exactly when their keys are equal."""

    @abstractmethod
    def grade(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        """1.0 where the answer is right, else 0.0; raises Unscorable where this cannot be decided."""

    def answer(self, completion: str) -> str | None:
        """The answer alone, for votes: the last box, the last tag, or the whole text; None if blank."""
        return last_boxed(completion) or last_tag(completion) or completion.strip() or None

    def score(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        """Value of the `outcome` signal in [0, 1]; the grade, unless the task has a graded reward."""
        return self.grade(completion, reference, meta)

    def split_steps(self, completion: str) -> list[int]:
        """Character end offsets of the steps: strictly increasing, the last is len(completion)."""
        raise DataError(f"task {self.name!r} has no steps")

    def grade_steps(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> list[float]:
        """1.0 or 0.0 for every step of `split_steps`; raises Unscorable where this cannot be decided."""
        raise DataError(f"task {self.name!r} has no steps")

    def identity(self, reference: Any, meta: Mapping[str, Any]) -> Hashable:
        """What, besides the completion, a verdict depends on; equal identities share one verdict per call."""
        return repr(reference)

    # -- problems ------------------------------------------------------------------------------------

    def problems(self, split: str, n: int, seed: int = 0, start: int = 0) -> list[Problem]:
        """Problems number `start` to `start + n - 1` of the stream that belongs to (task, split, seed).

        Every place of the stream has its own random generator, seeded by (task parameters, split, seed,
        place), so that a later place costs no more than an early one and no state has to be saved to go
        on. The first draw that belongs to `split` and has not occurred earlier *in this call* is the
        problem of that place: problems are distinct within a call; across calls a repeat is possible, and
        a place may show its next draw where its first one is taken.

        Args:
            split: "train" (8/10 of all problems), "valid" or "test" (1/10 each).
            n: how many problems.
            seed: another seed is another stream over the same split.
            start: first place, to go on where an earlier call ended.

        Raises:
            DataError: unknown split, negative n or start, or a configuration with too few distinct
                problems.
        """
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
        if n < 0 or start < 0:
            raise DataError(f"n and start must not be negative, got n={n} and start={start}")
        taken: set[str] = set()
        return [self._place(split, seed, index, taken) for index in range(start, start + n)]

    def candidates(self, split: str, seed: int, index: int) -> Iterator[Problem]:
        """Endless draws for one place of the stream; `problems` takes the first that fits."""
        rng = random.Random(stable_seed(self.stream(), split, seed, index))
        while True:
            yield self.draw(rng)

    def stream(self) -> str:
        """The parameters that decide which problems are drawn, as text."""
        chosen = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)  # type: ignore[arg-type]
            if not f.metadata.get("scoring_only")
        ]
        return f"{type(self).__name__}({', '.join(chosen)})"

    def _place(self, split: str, seed: int, index: int, taken: set[str]) -> Problem:
        for problem in islice(self.candidates(split, seed, index), self.max_draws):
            key = self.key(problem)
            if key not in taken and split_of(key) == split:
                taken.add(key)
                return problem
        raise DataError(
            f"task {self.name!r}: no further {split!r} problem in {self.max_draws} draws after {len(taken)} "
            f"distinct ones; ask for fewer problems or widen the task ({self.stream()})"
        )

    # -- checks --------------------------------------------------------------------------------------

    def check(self, completion: str, reference: Any, meta: Mapping[str, Any] | None = None) -> float:
        """1.0 right, 0.0 wrong or unparseable, NaN where the check cannot be computed."""
        try:
            return self.grade(completion, reference, meta or {})
        except Unscorable:
            return math.nan

    def check_steps(
        self, completion: str, reference: Any, meta: Mapping[str, Any] | None = None
    ) -> list[float]:
        """One value per step of `split_steps`: 1.0 valid, 0.0 not, NaN where it cannot be computed."""
        try:
            return self.grade_steps(completion, reference, meta or {})
        except Unscorable:
            return [math.nan] * len(self.split_steps(completion))

    def outcome(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        """Reward of every rollout's answer: rollout level, named "outcome", NaN with a cause if missing."""
        found = self._verdicts(rollouts, self.score)
        values = np.array([math.nan if isinstance(v, str) else v for v in found], dtype=np.float64)
        return Signal(values, "rollout", "outcome", {i: v for i, v in enumerate(found) if isinstance(v, str)})

    def steps(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        """Validity of every step: step level, named "steps", NaN with a cause where missing.

        The rollouts carry the `step` partition made by `split_steps`. A rollout whose text is empty but
        which has a span (the policy ended at once) showed no valid work: that span is 0. Where a
        tokenizer merged characters across steps, so that spans and steps differ in number, the
        rollout's spans are NaN.

        Raises:
            DataError: the task has no steps, there is no step partition, or it fits no rollout at all.
        """
        if not self.has_steps:
            raise DataError(f"task {self.name!r} has no steps; use its outcome only")
        counts = np.diff(rollouts.offsets("step"))
        values: list[float] = []
        causes: dict[int, str] = {}
        fits = 0
        for count, found in zip(counts.tolist(), self._verdicts(rollouts, self.grade_steps), strict=True):
            fits += isinstance(found, str) or count == len(found)
            if not isinstance(found, str) and len(found) == 0:
                found = [0.0] * count
            if not isinstance(found, str) and len(found) != count:
                found = f"the step partition has {count} spans, the text has {len(found)} steps"
            if isinstance(found, str):
                causes.update(dict.fromkeys(range(len(values), len(values) + count), found))
                found = [math.nan] * count
            values.extend(found)
        if causes and not fits:
            raise DataError(
                f"row 0: {next(iter(causes.values()))}, and no other row fits; "
                f"make the partition with the task's own splitter (Task.split_steps)"
            )
        return Signal(np.array(values, dtype=np.float64), "step", "steps", causes)

    def _verdicts(self, rollouts: Rollouts, grade: Callable[..., Any]) -> list[Any]:
        """Grade of every rollout, or the cause (a str) why there is none; equal rows are graded once."""
        n = len(rollouts)
        references = rollouts.reference or [None] * n
        metas = rollouts.meta or [{}] * n
        known: dict[Hashable, Any] = {}
        found = []
        for row in range(n):
            text, reference, meta = rollouts.text(row), references[row], metas[row] or {}
            key = (text, self.identity(reference, meta))
            if key not in known:
                try:
                    known[key] = grade(text, reference, meta)
                except Unscorable as cause:
                    known[key] = str(cause)
            found.append(known[key])
        return found


def span_of(value: Any, name: str, low: int, high: int) -> tuple[int, int]:
    """A difficulty given as one number or as [from, to], as a pair.

    Raises:
        ValueError: not whole numbers, reversed, or outside [low, high].
    """
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    whole = len(pair) == 2 and all(isinstance(v, int) and not isinstance(v, bool) for v in pair)
    if not whole or not low <= pair[0] <= pair[1] <= high:
        raise ValueError(f"{name} must be a whole number or [from, to] within {low}..{high}, got {value!r}")
    return pair[0], pair[1]
