"""The shape of an intrinsic reward: a function of rollouts and an engine that returns values and causes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError
from guerdon.verify.extract import last_boxed

Values = tuple[np.ndarray, Mapping[int, str]]
Extractor = Callable[[str], str | None]


class Intrinsic:
    """A reward that asks an engine, or compares the rollouts of a group.

    Args:
        name: its name. function: (rollouts, ctx) -> (values, causes of what is missing).
        level: of the values.
        state: objects with `state_dict` that change from batch to batch, by name; saved with a run.
        weights: objects with `write(folder)` and `read(folder)`, by name; saved with a run.
        learner: `(rollouts, ctx) -> metrics`, called in training after a batch was scored.
        asks: names of the engines it reads in `ctx.engines`. logprobs: whether it reads their log-probs.
        shape: what it must see whole: a "group", or "all" of a file.
        version: changes whenever verdicts may change.
    """

    update = "after"

    def __init__(
        self,
        name: str,
        function: Callable[[Rollouts, Context | None], Values],
        level: str = "rollout",
        state: Mapping[str, Any] | None = None,
        weights: Mapping[str, Any] | None = None,
        learner: Callable[[Rollouts, Context | None], dict[str, float]] | None = None,
        asks: Sequence[str] = (),
        logprobs: bool = True,
        shape: str = "group",
        version: str = "1",
    ) -> None:
        self.name, self.function, self.level = name, function, level
        self.state, self.weights = dict(state or {}), dict(weights or {})
        self.learner, self.online, self.saved = learner, learner is not None, bool(weights)
        self.asks, self.logprobs = tuple(asks), logprobs and bool(asks)
        self.shape, self.version, self.stateful = shape, version, bool(state)

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        values, causes = self.function(rollouts, ctx)
        return Signal(values, self.level, self.name, causes)

    def state_dict(self) -> dict[str, Any]:
        """State of the parts that have one."""
        return {name: part.state_dict() for name, part in self.state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        for name, part in self.state.items():
            part.load_state_dict(state[name])

    def observe(self, rollouts: Rollouts, ctx: Context | None = None) -> dict[str, float]:
        """Learn from a scored batch; what is reported."""
        return {} if self.learner is None else self.learner(rollouts, ctx)

    def write(self, folder: Path, optimizer: bool = False) -> None:
        """Write the weights, each into a folder of its name."""
        for name, part in self.weights.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            part.write(folder / name)

    def read(self, folder: Path) -> None:
        """Inverse of `write`."""
        for name, part in self.weights.items():
            part.read(folder / name)


def asked_of(engine: Any, name: str = "policy") -> tuple[str, ...]:
    """Whom a reward asks: the run's engine of that name, unless one was given to it."""
    return () if engine is not None else (name,)


def answers_of(rollouts: Rollouts, extract: str | Extractor = "boxed") -> list[str | None]:
    """The answer of every completion: the last box, the whole text, or what a function finds."""
    if rollouts.completion is None:
        raise DataError("votes read text, but these rollouts hold tokens only; decode them first")
    find = finder(extract)
    return [find(rollouts.text(i)) for i in range(len(rollouts))]


def finder(extract: str | Extractor) -> Extractor:
    """ "boxed", "text", a tag's name, or a function of one's own."""
    if callable(extract):
        return extract
    if extract == "boxed":
        return last_boxed
    if extract == "text":
        return lambda text: text.strip() or None
    from guerdon.verify.extract import last_tag

    return lambda text: last_tag(text, extract)


def groups_of(rollouts: Rollouts) -> np.ndarray:
    """The group of every rollout, int64.

    Raises:
        DataError: there are none.
    """
    if rollouts.group is None:
        raise DataError("this reward compares the rollouts of a group: give the column `group`")
    return np.asarray(rollouts.group)


def meta_of(rollouts: Rollouts, key: str) -> Sequence[Any]:
    """One entry of every row's meta, None where it has none."""
    return [(row or {}).get(key) for row in rollouts.meta or [{}] * len(rollouts)]


def signal_of(rollouts: Rollouts, source: str) -> np.ndarray:
    """One value per rollout of a signal, float64.

    Raises:
        DataError: there is none of that name.
    """
    if source not in rollouts.signals:
        there = ", ".join(rollouts.signals) or "none"
        raise DataError(f"pairs are chosen by the signal {source!r}; there is: {there}")
    signal = rollouts.signals[source]
    return signal.values if signal.level == "rollout" else rollouts.reduce(signal, "rollout", "mean").values
