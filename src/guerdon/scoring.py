"""What a reward is, and how a plain function becomes one.

A reward is called with rollouts and returns a Signal. Most look at one sample at a time: they derive from
`SampleReward`, which takes care of messages, duplicates, failures and their causes.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, GuerdonError, RecipeError


@runtime_checkable
class Reward(Protocol):
    """Anything that scores rollouts. `version` changes whenever verdicts may change."""

    name: str
    version: str

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal: ...


@dataclass(frozen=True)
class Row:
    """One sample as a reward sees it; `completion` is text even where the rollout holds messages."""

    prompt: Any
    completion: str
    reference: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    messages: Any = None


@dataclass(frozen=True)
class Verdict:
    """A value, or NaN and why; `detail` is for people (path taken, expected, got)."""

    value: float
    cause: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def missing(cause: str, **detail: Any) -> Verdict:
    """A verdict that could not be reached."""
    return Verdict(math.nan, cause, detail)


class SampleReward:
    """A reward of one sample at a time.

    Subclasses set `name`, `version` and implement `score(row)`, or `score_batch(rows)` where work on many
    rows together is cheaper.

    Args:
        on_error: what a row is worth whose verdict could not be reached: "nan" (default), "raise", or a
            number.
    """

    name = "reward"
    version = "1"

    def __init__(self, on_error: str | float = "nan") -> None:
        number = isinstance(on_error, int | float) and math.isfinite(on_error)
        if not number and on_error not in ("nan", "raise"):
            raise RecipeError(f"{self.name}.on_error must be 'nan', 'raise' or a number, got {on_error!r}")
        self.on_error = on_error

    def score(self, row: Row) -> Verdict:
        """The verdict on one sample."""
        raise TypeError(f"{type(self).__name__} must implement score or score_batch")

    def score_batch(self, rows: Sequence[Row]) -> list[Verdict]:
        """Verdicts on many samples, in order."""
        return [self.score(row) for row in rows]

    def key(self, row: Row) -> Hashable:
        """Rows with equal keys have equal verdicts; None where a row must always be scored by itself."""
        return None

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        return self.signal(self.verdicts(rollouts))

    def verdicts(self, rollouts: Rollouts) -> list[Verdict]:
        """One verdict per rollout; rows with equal keys are scored once."""
        rows = rows_of(rollouts)
        place: dict[Hashable, int] = {}
        work: list[Row] = []
        index = []
        for row in rows:
            key = self.key(row)
            at = len(work) if key is None else place.setdefault(key, len(work))
            if at == len(work):
                work.append(row)
            index.append(at)
        found = self.score_batch(work) if work else []
        if len(found) != len(work):
            raise DataError(f"reward {self.name!r} returned {len(found)} verdicts for {len(work)} rows")
        return [found[i] for i in index]

    def signal(self, verdicts: Sequence[Verdict], name: str | None = None) -> Signal:
        """Verdicts as a rollout-level signal, with the failure policy applied."""
        values = np.array([verdict.value for verdict in verdicts], dtype=np.float64)
        causes = {i: verdicts[i].cause or "unknown" for i in np.flatnonzero(np.isnan(values)).tolist()}
        if causes and self.on_error == "raise":
            row, cause = next(iter(causes.items()))
            raise DataError(f"reward {self.name!r} could not score row {row}: {cause}")
        if causes and not isinstance(self.on_error, str):
            values = np.where(np.isnan(values), float(self.on_error), values)
        return Signal(values, "rollout", name or self.name, causes)


def rows_of(rollouts: Rollouts) -> list[Row]:
    """Rollouts as rows for sample rewards."""
    n = len(rollouts)
    prompts = rollouts.prompt or [None] * n
    references = rollouts.reference or [None] * n
    metas = rollouts.meta or [{}] * n
    completions = rollouts.completion
    if completions is None:
        raise DataError("this reward reads text, but the rollouts hold tokens only; decode them first")
    return [
        Row(prompts[i], rollouts.text(i), references[i], metas[i] or {}, None if isinstance(c, str) else c)
        for i, c in enumerate(completions)
    ]


class FunctionReward(SampleReward):
    """A user's function as a reward; see `reward`."""

    def __init__(
        self, function: Callable[..., Any], name: str, version: str, batch: bool, on_error: str | float
    ) -> None:
        self.name, self.version, self.function, self.batch = name, version, function, batch
        super().__init__(on_error)
        self._wanted = _wanted(function, batch)
        by_type = type(function).__call__  # an object may be called asynchronously
        self._async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(by_type)

    def _arguments(self, rows: Sequence[Row]) -> dict[str, Any]:
        columns = {
            "prompt": [row.prompt for row in rows],
            "completion": [row.completion for row in rows],
            "reference": [row.reference for row in rows],
            "meta": [row.meta for row in rows],
            "messages": [row.messages for row in rows],
        }
        return {given: columns[column] for given, column in self._wanted.items()}

    def score_batch(self, rows: Sequence[Row]) -> list[Verdict]:
        if self._async:
            return run_coroutine(self._score_async(rows))
        if self.batch:
            return self._check_batch(self._guard(lambda: self.function(**self._arguments(rows))), len(rows))
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> Verdict:
        arguments = {name: values[0] for name, values in self._arguments([row]).items()}
        return self._verdict(self._guard(lambda: self.function(**arguments)))

    async def _score_async(self, rows: Sequence[Row]) -> list[Verdict]:
        async def call(some: Sequence[Row]) -> Any:
            columns = self._arguments(some)
            arguments = columns if self.batch else {name: values[0] for name, values in columns.items()}
            try:
                return await self.function(**arguments)
            except GuerdonError:
                raise
            except Exception as error:  # a user's function may raise anything; the cause is kept and counted
                return missing(f"{type(error).__name__}: {error}")

        if self.batch:
            return self._check_batch(await call(rows), len(rows))
        return [self._verdict(value) for value in await asyncio.gather(*(call([row]) for row in rows))]

    def _guard(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except GuerdonError:
            raise
        except Exception as error:  # a user's function may raise anything; the cause is kept and counted
            return missing(f"{type(error).__name__}: {error}")

    def _check_batch(self, values: Any, n: int) -> list[Verdict]:
        if isinstance(values, Verdict):
            return [values] * n
        try:
            got = None if isinstance(values, str | Mapping) else len(values)
        except TypeError:
            got = None
        if got is None:
            return [missing(f"returned {type(values).__name__}, expected a list of {n} numbers")] * n
        if got != n:
            return [missing(f"wrong length: {got} values for {n} samples")] * n
        return [self._verdict(value) for value in values]

    def _verdict(self, value: Any) -> Verdict:
        if isinstance(value, Verdict):
            return value
        if value is None:
            return missing("returned None")
        try:  # whatever has one numeric value will do (NumPy and torch scalars, Fraction), but not text
            number = None if isinstance(value, str | bytes) else float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            number = None
        if number is None:
            return missing(f"returned {type(value).__name__}, expected a number")
        return Verdict(number) if math.isfinite(number) else missing(f"returned {_shown(number)}")


def _shown(number: float) -> str:
    return "NaN" if math.isnan(number) else f"{number}, expected a finite number"


def _name(function: Callable[..., Any]) -> str:
    """A function's name; a partial or callable object is called by its type."""
    return getattr(function, "__name__", type(function).__name__)


_COLUMNS = {
    "prompt": "prompt",
    "prompts": "prompt",
    "completion": "completion",
    "completions": "completion",
    "reference": "reference",
    "references": "reference",
    "meta": "meta",
    "metas": "meta",
    "messages": "messages",
}


def _wanted(function: Callable[..., Any], batch: bool) -> dict[str, str]:
    parameters = inspect.signature(function).parameters
    wanted = {name: _COLUMNS[name] for name in parameters if name in _COLUMNS}
    required = [
        name
        for name, p in parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and name not in _COLUMNS
    ]
    required += [name for name, p in parameters.items() if p.kind is p.POSITIONAL_ONLY and name in _COLUMNS]
    if required or not wanted:
        asked = ", ".join(required) or "nothing"
        raise RecipeError(
            f"reward function {_name(function)!r} asks for {asked}; it may ask by name for prompt, "
            "completion, reference, meta and messages" + (" (or their plurals)" if batch else "")
        )
    return wanted


def run_coroutine(coroutine: Any) -> Any:
    """Run a coroutine from sync code, also where an event loop is running in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def reward(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    version: str = "1",
    batch: bool = False,
    on_error: str | float = "nan",
) -> Any:
    """Decorator: make `f(prompt, completion, reference) -> float` a Reward.

    The function takes any of `prompt`, `completion`, `reference`, `meta` and `messages` by name, may be
    async, and with `batch=True` gets lists and returns a list. What it raises becomes a missing value with
    that cause; a string, None or a list of the wrong length likewise.

    Args:
        name: default: the function's name.
        version: change it when the function's verdicts change (part of cache keys).
        batch: the function scores many samples per call.
        on_error: "nan", "raise", or the number a failed sample is worth.
    """

    def lift(f: Callable[..., Any]) -> FunctionReward:
        return FunctionReward(f, name or _name(f), version, batch, on_error)

    return lift if function is None else lift(function)
