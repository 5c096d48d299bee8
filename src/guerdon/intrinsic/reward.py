"""The shape of an intrinsic reward: a function of rollouts and an engine that returns values and causes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        state: objects with `state_dict`, by name; saved with a run.
    """

    version = "1"
    online = False

    def __init__(
        self,
        name: str,
        function: Callable[[Rollouts, Context | None], Values],
        level: str = "rollout",
        state: Mapping[str, Any] | None = None,
        tools: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.function, self.level = name, function, level
        self.state = dict(state or {})
        self.tools = dict(tools or {})

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
