"""What a prefix is worth, by sampling on from it: all prefixes of all rollouts in one call of the engine.

Enters: prefixes (a rollout and how many of its tokens), an engine, a grader. Leaves: the mean grade of K
continuations of each, and what it cost. Equal prefixes of equal prompts are drawn once; the engine computes
each prefix once for its K draws. A continuation depends on (seed, prompt, prefix, draw), never on the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.kernels import label_moments
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import Sampling
from guerdon.errors import DataError, RecipeError

Grader = Callable[..., Signal]

NO_ROOM = "no room in the context to go on"
OVER_BUDGET = "left out: the token budget is spent"
NOT_GRADED = "no continuation could be graded"


@dataclass(frozen=True)
class Prefixes:
    """Places in rollouts.

    Attributes:
        rollouts: with prompts and tokens.
        row, length: int64 (places,): the rollout, and how many of its tokens have been written.
        cue: token ids put behind every prefix.
    """

    rollouts: Rollouts
    row: np.ndarray
    length: np.ndarray
    cue: tuple[int, ...] = ()


@dataclass(frozen=True)
class Worth:
    """What places are worth.

    Attributes:
        values: mean grade of each place's continuations, float64 (places,), NaN where missing.
        causes: place -> why it is missing.
        cost: "places", "distinct" prefixes drawn from, "draws" and "tokens" drawn.
        continuations: the continuations themselves with their grades; `group` is the distinct prefix.
    """

    values: np.ndarray
    causes: Mapping[int, str] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    continuations: Rollouts | None = None


def worth(
    engine: Any,
    grade: Grader,
    places: Prefixes,
    k: int,
    sampling: Sampling,
    budget: int | None = None,
    ctx: Context | None = None,
) -> Worth:
    """Mean grade of k continuations of every place.

    Args:
        grade: reward of whole completions, one value per rollout.
        budget: most tokens that may be drawn. Every draw counts with its limit beforehand, so the budget is
            never exceeded; distinct prefixes beyond it, chosen at random from the seed, are missing.

    Raises:
        DataError: rollouts without prompts or tokens. RecipeError: k < 1, or a budget that is not positive.
    """
    if k < 1 or (budget is not None and budget < 1):
        raise RecipeError(f"k and budget must be at least 1, got k={k} and budget={budget}")
    distinct, first = _distinct(places)
    room = _room(engine, places, first)
    fits = np.flatnonzero(room > 0)
    drawn = _within(fits, k * np.minimum(sampling.max_new_tokens, room), budget, sampling.seed)
    mean = np.full(len(first), np.nan)
    continuations = None
    tokens = 0
    if len(drawn):
        continuations, tokens = _continue(engine, grade, places, first[drawn], k, sampling, ctx)
        scores = continuations.signals["grade"].values
        mean[drawn] = label_moments(scores, continuations.group, len(drawn))[1]
    causes = np.full(len(first), NO_ROOM, dtype=object)
    causes[fits] = OVER_BUDGET
    causes[drawn] = NOT_GRADED
    values = mean[distinct]
    cost = {
        "places": len(places.row),
        "distinct": len(drawn),
        "draws": k * len(drawn),
        "tokens": tokens,
    }
    missing = {int(i): str(causes[distinct[i]]) for i in np.flatnonzero(np.isnan(values))}
    return Worth(values, missing, {name: float(n) for name, n in cost.items()}, continuations)


def _distinct(places: Prefixes) -> tuple[np.ndarray, np.ndarray]:
    """Number of every place's prefix, int64 (places,), and the first place of each number."""
    rollouts = places.rollouts
    if rollouts.tokens is None or rollouts.prompt is None:
        raise DataError("going on from a prefix needs rollouts with prompts and tokens")
    columns = (
        rollouts.prompt,
        rollouts.reference or [None] * len(rollouts),
        rollouts.meta or [{}] * len(rollouts),
    )
    problem: dict[str, int] = {}
    of_row = [problem.setdefault(repr(entry), len(problem)) for entry in zip(*columns, strict=True)]
    number: dict[tuple[int, bytes], int] = {}
    first: list[int] = []
    index = np.empty(len(places.row), np.int64)
    for at, (row, length) in enumerate(zip(places.row.tolist(), places.length.tolist(), strict=True)):
        start = int(rollouts.tokens.offsets[row])
        key = of_row[row], rollouts.tokens.values[start : start + length].tobytes()
        index[at] = number.setdefault(key, len(number))
        if index[at] == len(first):
            first.append(at)
    return index, np.array(first, dtype=np.int64)


def _room(engine: Any, places: Prefixes, first: np.ndarray) -> np.ndarray:
    """Tokens that may follow each distinct prefix, int64."""
    assert places.rollouts.prompt is not None
    rows = places.row[first]
    prompts = {row: len(engine.prompt_ids(places.rollouts.prompt[row])) for row in np.unique(rows).tolist()}
    used = np.array([prompts[row] for row in rows.tolist()], dtype=np.int64) + places.length[first]
    return engine.context - used - len(places.cue)


def _within(fits: np.ndarray, cost: np.ndarray, budget: int | None, seed: int) -> np.ndarray:
    """The distinct prefixes to draw from, ascending."""
    if budget is None:
        return fits
    order = np.random.default_rng(seed).permutation(fits)
    return np.sort(order[np.cumsum(cost[order]) <= budget])


def _continue(
    engine: Any,
    grade: Grader,
    places: Prefixes,
    chosen: np.ndarray,
    k: int,
    sampling: Sampling,
    ctx: Context | None,
) -> tuple[Rollouts, int]:
    """k graded continuations of each chosen place in one call, and the tokens they took."""
    rollouts = places.rollouts
    assert rollouts.tokens is not None and rollouts.prompt is not None
    rows = places.row[chosen]
    given = [
        [*rollouts.tokens[row][:length].tolist(), *places.cue]
        for row, length in zip(rows, places.length[chosen], strict=True)
    ]
    drawn = engine.generate(
        [rollouts.prompt[row] for row in rows], k, sampling, prefix=given, group=np.arange(len(chosen))
    )
    source = np.repeat(rows, k)
    columns = {
        name: None if column is None else [column[row] for row in source]
        for name, column in (("reference", rollouts.reference), ("meta", rollouts.meta))
    }
    drawn = drawn.replace(**columns)
    signal = grade(drawn, ctx)
    if signal.level != "rollout":
        raise DataError(f"the grader must give one value per rollout, it gave one per {signal.level}")
    new = int(drawn.acted.values.sum()) if drawn.acted is not None else drawn.count("token")
    return drawn.replace(signals={"grade": signal.renamed("grade")}), new


@dataclass(frozen=True)
class Sampled:
    """What samplers of prefixes share: who draws, who grades, how much.

    Attributes:
        k: draws per prefix.
        prover: an engine; None for the policy of the run.
        grade: reward of whole completions.
        sampling: how continuations are drawn; its seed is mixed with the step.
        budget: most tokens per call.
    """

    k: int
    grade: Grader
    sampling: Sampling
    prover: Any = None
    budget: int | None = None

    def engine(self, ctx: Context | None) -> Any:
        """The prover.

        Raises:
            DataError: none was given and there is no policy.
        """
        found = self.prover if self.prover is not None else (ctx.engines.get("policy") if ctx else None)
        if found is None:
            raise DataError("there is nobody to draw with: give prover=engine, or ctx with a policy engine")
        return found

    def worth(self, places: Prefixes, ctx: Context | None) -> Worth:
        """See `worth`."""
        sampling = replace(self.sampling, seed=seed_in_run(self.sampling.seed, ctx))
        return worth(self.engine(ctx), self.grade, places, self.k, sampling, self.budget, ctx)


def seed_in_run(seed: int, ctx: Context | None, part: int = 0) -> int:
    """A seed for draws inside a training step: other than the rollouts' own, and anew in every step.

    With the rollouts' seed, going on from a bare prompt would draw the rollouts themselves again.
    """
    return seed if ctx is None else seed + 1_000_003 * ctx.step + ((part + 1) << 44)


def grader(grade: Any, task: Any) -> Grader:
    """The reward that judges continuations: a callable, a recipe's {use: ...}, or the task's own outcome.

    Raises:
        RecipeError: none of these.
    """
    if callable(grade):
        return grade
    if isinstance(grade, Mapping):
        from guerdon.registry import build

        return build("reward", grade, "grade")
    if grade in (None, "task.outcome") and task is not None:
        if hasattr(task, "max_turns"):
            raise RecipeError(
                f"grade: the task {task.name!r} is worked off in turns, and text sampled on from a prefix "
                f"gets no replies; use learn.continuing.prefix_values, or name a reward that needs none"
            )
        return task.outcome
    raise RecipeError(f"grade: expected a reward such as {{use: verify.math}}, got {grade!r} and no task")


def prover_engine(prover: Any, policy: Any) -> Any:
    """An engine: itself, a folder it was saved to, or a recipe's {use: ...}; None for the policy."""
    if prover is None or prover == "policy":
        return None
    if isinstance(prover, Mapping):
        from guerdon.registry import build

        return build("engine", prover, "prover", device=str(policy.device) if policy is not None else "auto")
    if isinstance(prover, str):
        from pathlib import Path

        from guerdon.models.folders import CONFIG_FILE, open_engine

        folder = Path(prover)
        if (folder / CONFIG_FILE).is_file():  # a saved model: the engine under its head
            folder = folder / "trunk"
        return open_engine(folder, str(policy.device) if policy is not None else "auto")
    return prover


def last_spans(offsets: np.ndarray) -> np.ndarray:
    """True for the last span of every rollout, bool (spans,)."""
    last = np.zeros(int(offsets[-1]), bool)
    last[offsets[1:][np.diff(offsets) > 0] - 1] = True
    return last


def rows_of_spans(rollouts: Rollouts, level: str) -> np.ndarray:
    """The rollout of every span, int64 (spans,)."""
    return np.repeat(np.arange(len(rollouts)), np.diff(rollouts.offsets(level)))


def encode_cue(engine: Any, cue: str | Sequence[int]) -> tuple[int, ...]:
    """Token ids of a cue."""
    return tuple(engine.tokenizer.encode(cue)) if isinstance(cue, str) else tuple(int(i) for i in cue)
