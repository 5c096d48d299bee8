"""Bridge: the tasks of a verifiers v1 environment, where one answer in text settles them.

    {use: verifiers, taskset: my_sums, config: {difficulty: 2}}

The prompt is the task's (its system prompt above it), `meta["verifiers"]` its data, the reference one field
of them. `outcome` is the weighted sum of the task's own rewards on a trace with that one answer. Tasks that
need a runtime, tools or a simulated user are refused: run those in verifiers and score their traces
(`guerdon.adapters.verifiers`).
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from itertools import islice
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import run_coroutine
from guerdon.tasks.base import SCORING_ONLY, Problem, Task, Unscorable


@dataclass(frozen=True)
class Verifiers(Task):
    """Problems and rewards of one taskset.

    Args:
        taskset: what verifiers calls its id: an installed package or module that exports it.
        config: fields of the taskset's configuration.
        reference: field of the task's data that is shown as the reference; the rewards see all of them.
        limit: tasks read at most, for tasksets without an end.
        right_from: reward from which an answer counts as right (`check`).

    Raises:
        RecipeError: verifiers is not installed or too old, there is no such taskset, it refuses the
            configuration, it has no task, or its tasks need more than an answer.
    """

    taskset: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    reference: str = "answer"
    limit: int = 10_000
    right_from: float = field(default=1.0, metadata=SCORING_ONLY)
    name: str = "verifiers"
    _tasks: list[Any] = field(
        default_factory=list, init=False, repr=False, compare=False, metadata=SCORING_ONLY
    )

    def __post_init__(self) -> None:
        self._tasks.extend(islice(_taskset(self.taskset, self.config), self.limit))
        if not self._tasks:
            raise RecipeError(f"taskset {self.taskset!r} has no task")
        first = self._tasks[0]
        needs = [fn.__name__ for fn in first.hooks("reward") if _needs_runtime(fn)]
        if needs or first.NEEDS_CONTAINER or type(first).toolsets(first.config):
            what = (
                f"rewards {', '.join(needs)} need a runtime"
                if needs
                else "its tasks need tools or a container"
            )
            raise RecipeError(
                f"taskset {self.taskset!r}: {what}; run it in verifiers and score its traces instead"
            )

    def draw(self, rng: random.Random) -> Problem:
        return self._problem(self._tasks[rng.randrange(len(self._tasks))])

    def key(self, problem: Problem) -> str:
        """The task's own key."""
        return f"verifiers {problem.meta['key']}"

    def stream(self) -> str:
        return f"Verifiers({self.taskset}, {sorted(self.config.items())!r}, {self.limit})"

    def _problem(self, task: Any) -> Problem:
        data = task.data.model_dump(mode="json")
        prompt = task.data.prompt_text
        if task.data.system_prompt:
            prompt = f"{task.data.system_prompt}\n\n{prompt}"
        return Problem(prompt, data.get(self.reference), {"verifiers": data, "key": task.key})

    def grade(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        return float(self.score(completion, reference, meta) >= self.right_from)

    def score(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        data = meta.get("verifiers")
        if not isinstance(data, Mapping):
            raise Unscorable("meta has no task of verifiers under 'verifiers'")
        example = self._tasks[0]
        task = type(example)(type(example.data).model_validate(dict(data)), example.config)
        trace = _trace(task, completion)
        try:
            run_coroutine(task.score(trace))
        except Exception as error:  # the task's own code may raise anything; the cause is kept and counted
            raise Unscorable(f"{type(error).__name__}: {error}") from error
        missing = [name for name, found in trace.rewards.items() if found is None]
        if missing or not trace.rewards:
            raise Unscorable(
                f"no verdict from {', '.join(missing)}" if missing else "the task gave no reward"
            )
        return float(trace.reward)

    def identity(self, reference: Any, meta: Mapping[str, Any]) -> Hashable:
        return str(meta.get("key")), repr(meta.get("verifiers"))


def _taskset(name: str, config: Mapping[str, Any]) -> Any:
    try:
        from verifiers.v1.utils import loaders
    except ModuleNotFoundError as error:
        found = [each.version for each in distributions() if each.metadata["Name"] == "verifiers"]
        raise RecipeError(
            f"task 'verifiers' needs verifiers >= 0.4, and {found[0] if found else 'none'} is installed "
            f"({error}); pip install 'guerdon[verifiers]'"
        ) from error
    try:
        made = loaders.taskset_config_type(name).model_validate({**config, "id": name})
        return loaders.load_taskset(made)
    except (ModuleNotFoundError, AttributeError, TypeError, ValueError) as error:
        raise RecipeError(f"taskset {name!r}: {error}") from error


def _needs_runtime(function: Any) -> bool:
    parameter = inspect.signature(function).parameters.get("runtime")
    return parameter is not None and parameter.default is parameter.empty


def _trace(task: Any, completion: str) -> Any:
    """A trace in which the model answered once."""
    from verifiers.v1.trace import WireTrace

    asked = {"message": {"role": "user", "content": task.data.prompt_text}}
    answered = {"message": {"role": "assistant", "content": completion}, "sampled": True, "parent": 0}
    about = {"type": type(task).__name__, "data": task.data.model_dump(), "key": task.key, "hash": task.hash}
    return WireTrace.model_validate(
        {
            "task": about,
            "agent": {"config": {}},
            "nodes": [asked, answered],
            "calls": [{"node": 1, "finish_reason": "stop"}],
            "is_completed": True,
            "ok": True,
        }
    )
