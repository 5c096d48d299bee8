"""Bridge: any reasoning-gym generator as a task.

    {use: reasoning_gym, name: chain_sum, config: {min_terms: 3, max_terms: 5}}

The prompt is the generator's question, the reference its answer (None for generators that only verify),
`meta["entry"]` the whole entry, which scoring needs. The answer is what stands in the last
`<answer>...</answer>` of a completion, or the whole completion where there is no such tag. Scoring is exact
unless asked otherwise: `gym_answers` says what that means.

Splits: every split, seed and block of places has a dataset of its own seed (disjoint seeds), and a question
belongs to the one split its hash names, so that no two splits share a question even where a generator
repeats itself. Drawing one `valid` or `test` problem therefore generates about ten.

Determinism: generators get their random state from us, global ones included. A few (`UNORDERED`) iterate over
sets of strings, whose order changes with Python's hash seed: their stream is the same in every process only
where PYTHONHASHSEED is set, and a warning says so. Splits do not overlap in any case.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import random
import warnings
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

import numpy as np

from guerdon.errors import RecipeError
from guerdon.registry import nearest
from guerdon.tasks import gym_answers
from guerdon.tasks.answers import last_tag
from guerdon.tasks.base import SCORING_ONLY, Problem, Task, Unscorable, stable_seed

_PLACES, _DRAWS, _KEPT = 64, 32, 4
"""Places of the stream that share a dataset, entries each may draw from it, datasets kept in memory."""

UNORDERED = frozenset(
    ("isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder")
)
"""Generators of reasoning-gym 0.1.25 whose problems depend on PYTHONHASHSEED."""


@dataclass(frozen=True)
class ReasoningGym(Task):
    """Problems of one reasoning-gym generator.

    Args:
        name: the generator ("chain_sum", "countdown", "composite", ...).
        config: fields of the generator's configuration, without `seed` and `size`; for "composite"
            `datasets` is a list of {name, weight, config}.
        scoring: "exact" (0/1) or "partial" (the generator's own scorer): the `outcome` signal. `check` is
            always exact.
        extract: where the answer stands: "auto" (last <answer> tag, else everything), "tag" or "whole".
        instruction: text added to every question behind a blank line.

    Raises:
        RecipeError: reasoning-gym is not installed, an unknown generator or field (the nearest is
            offered), or values the generator refuses.
    """

    name: str = "chain_sum"
    config: Mapping[str, Any] = field(default_factory=dict)
    scoring: str = field(default="exact", metadata=SCORING_ONLY)
    extract: str = field(default="auto", metadata=SCORING_ONLY)
    instruction: str = field(default="", metadata=SCORING_ONLY)
    _datasets: OrderedDict[int, Any] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False, metadata=SCORING_ONLY
    )

    max_draws: ClassVar[int] = 400

    def __post_init__(self) -> None:
        for where, value, allowed in (
            ("scoring", self.scoring, ("exact", "partial")),
            ("extract", self.extract, ("auto", "tag", "whole")),
        ):
            if value not in allowed:
                raise RecipeError(f"{where} must be one of {', '.join(allowed)}, got {value!r}")
        self._dataset(0)
        if UNORDERED & self._sources() and not os.environ.get("PYTHONHASHSEED", "random").isdecimal():
            warnings.warn(
                f"{self.name} draws other problems in every process; set PYTHONHASHSEED to repeat them",
                stacklevel=3,
            )

    def _sources(self) -> set[str]:
        """The generators that make the problems."""
        parts = self.config.get("datasets", []) if self.name == "composite" else [{"name": self.name}]
        return {str(part["name"]) for part in parts}

    # -- problems ------------------------------------------------------------------------------------

    def candidates(self, split: str, seed: int, index: int) -> Iterator[Problem]:
        block, place = divmod(index, _PLACES)
        for attempt in count():
            dataset = self._dataset(stable_seed(self.stream(), split, seed, block, attempt) % 2**31)
            for draw in range(_DRAWS):
                yield self._problem(_read(dataset, place * _DRAWS + draw))

    def draw(self, rng: random.Random) -> Problem:
        return self._problem(_read(self._dataset(0), rng.randrange(_PLACES * _DRAWS)))

    def stream(self) -> str:
        return f"ReasoningGym({self.name}, {json.dumps(self.config, sort_keys=True, default=str)})"

    def _problem(self, entry: dict[str, Any]) -> Problem:
        # One trip through JSON, so that a stored and a fresh rollout are scored from the same data.
        entry = json.loads(json.dumps(entry, default=str))
        question, answer = str(entry["question"]), entry["answer"]
        prompt = f"{question}\n\n{self.instruction}" if self.instruction else question
        return Problem(prompt, answer, {"entry": entry}, answer if isinstance(answer, str) else None)

    def key(self, problem: Problem) -> str:
        """The question."""
        return f"reasoning_gym {gym_answers.normalised(problem.meta['entry']['question'])}"

    def _dataset(self, seed: int) -> Any:
        """The generator with this seed; the last few are kept, since neighbours share them."""
        known = self._datasets
        if seed not in known:
            known[seed] = _create(self.name, self.config, seed)
            while len(known) > _KEPT:
                known.popitem(last=False)
        known.move_to_end(seed)
        return known[seed]

    # -- checks --------------------------------------------------------------------------------------

    def answer(self, completion: str) -> str | None:
        """The final answer of a completion, or None where `extract="tag"` finds no tag."""
        tagged = None if self.extract == "whole" else last_tag(completion)
        return tagged if tagged is not None or self.extract == "tag" else completion.strip()

    def grade(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        entry, answer = _entry(reference, meta), self.answer(completion)
        return 0.0 if answer is None else gym_answers.exact(answer, entry, self._score_answer)

    def score(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        if self.scoring == "exact":
            return self.grade(completion, reference, meta)
        entry, answer = _entry(reference, meta), self.answer(completion)
        return 0.0 if answer is None else gym_answers.partial(answer, entry, self._score_answer)

    def _score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        return next(reversed(self._datasets.values())).score_answer(answer, entry)

    def identity(self, reference: Any, meta: Mapping[str, Any]) -> Hashable:
        entry = meta.get("entry")
        return repr(reference), entry.get("question") if isinstance(entry, Mapping) else None


def _read(dataset: Any, index: int) -> dict[str, Any]:
    """One entry; the few generators that use Python's or NumPy's global random state find it seeded."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(stable_seed("reasoning_gym", dataset.seed, index))
    try:
        return dataset[index]
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _entry(reference: Any, meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry to score against."""
    entry = meta.get("entry")
    if not isinstance(entry, Mapping) or not isinstance(entry.get("metadata"), Mapping):
        raise Unscorable("meta has no reasoning-gym entry under 'entry'")
    if reference is None and entry.get("answer") is not None:
        raise Unscorable("reference missing")
    return entry


def _library() -> Any:
    """reasoning-gym's factory (importing it registers all generators)."""
    try:
        return importlib.import_module("reasoning_gym.factory")
    except ImportError as error:
        raise RecipeError(
            f"task 'reasoning_gym' needs reasoning-gym ({error}); pip install 'guerdon[tasks]'"
        ) from error


def generators() -> list[str]:
    """Names of all generators of the installed reasoning-gym, sorted.

    Raises:
        RecipeError: reasoning-gym is not installed.
    """
    return sorted(_library().DATASETS)


def _create(name: str, config: Mapping[str, Any], seed: int) -> Any:
    """A dataset of one generator.

    Raises:
        RecipeError: see ReasoningGym.
    """
    known = generators()
    factory = _library()
    if name not in known:
        raise RecipeError(f"reasoning_gym.name: unknown generator {name!r}{nearest(name, known)}")
    allowed = {f.name for f in dataclasses.fields(factory.DATASETS[name][1])} - {"seed", "size"}
    for key in config:
        if key not in allowed:
            raise RecipeError(f"reasoning_gym.config.{key}: {name} has no such field{nearest(key, allowed)}")
    values = dict(config)
    try:
        if name == "composite":
            parts = [{"weight": 1.0, "config": {}, **part} for part in values.get("datasets") or []]
            spec = importlib.import_module("reasoning_gym.composite").DatasetSpec
            values["datasets"] = [spec(**part) for part in parts]
        return factory.create_dataset(name, seed=seed, size=_PLACES * _DRAWS, **values)
    except (AssertionError, TypeError, ValueError, KeyError) as error:
        raise RecipeError(f"reasoning_gym.config: {name} refuses {dict(config)!r}: {error}") from error
