"""A small world of word problems: quantities worked out one from another, told of two places.

    zoo       apes = 4. bears = apes + 3. camels = bears - 2. camels?
    school    aides = 4. books = aides + 3. clerks = books - 2. How many clerks are there?
    solution  Define apes as a; so a = 4. Define bears as b; so b = a + 3 = 7. ... <answer>5</answer>

Difficulty is the number of operations. Solutions have the form that the system `interplay-lab` reads: its
reward compares the graph of quantities in a completion with that of the worked solution. Phrases that belong
together are one token, so that a step is four tokens.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guerdon.tasks.answers import last_tag
from guerdon.tasks.base import Problem, Task

NAMES = {
    "zoo": "apes bears camels deer elks foxes goats hares ibexes jackals koalas lions moles"
    " newts otters pandas",
    "school": "aides books clerks desks exams flags gowns halls ideas jobs keys lamps maps notes oaths pens",
}
FORMS = {form: tuple(names.split()) for form, names in NAMES.items()}
_ALL = [name for names in FORMS.values() for name in names]
_SIZES = range(1, 10)
_PIECES = [
    *(f"{name} = " for name in _ALL),
    *_ALL,
    *(f" {sign} {size}. " for sign in "+-" for size in _SIZES),
    *(f"{value}. " for value in range(10)),
    *("?", "How many ", " are there?"),
    *(f"Define {name} as {name[0]}; so {name[0]}" for name in _ALL),
    *(f" = {letter}" for letter in "abcdefghijklmnop"),
    *(f" {sign} {size}" for sign in "+-" for size in _SIZES),
    *(f" = {value}. " for value in range(10)),
    *(f"<answer>{value}</answer>" for value in range(10)),
]


class Phrases:
    """One token per fixed phrase of this world; ids 0, 1, 2 are pad, bos, eos."""

    pad, bos, eos = 0, 1, 2

    def __init__(self) -> None:
        self.ids = {piece: at + 3 for at, piece in enumerate(_PIECES)}
        self.texts = {at: piece for piece, at in self.ids.items()}
        self.vocab_size = -(-(len(_PIECES) + 3) // 8) * 8
        self.pattern = re.compile("|".join(map(re.escape, sorted(_PIECES, key=len, reverse=True))))

    def encode(self, text: str) -> list[int]:
        """Ids, longest phrases first; text that is not of this world is an error."""
        pieces = self.pattern.findall(text)
        if "".join(pieces) != text:
            raise ValueError(f"not written in the phrases of this world: {text!r}")
        return [self.ids[piece] for piece in pieces]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.texts.get(int(i), "") for i in ids)

    def token_bytes(self, ids: Sequence[int]) -> list[bytes]:
        return [self.texts.get(int(i), "").encode() for i in ids]


@dataclass(frozen=True)
class Quantities(Task):
    """Problems of so many operations ([from, to]) in one surface form; values stay within 0..9."""

    operations: tuple[int, int]
    form: str = "zoo"

    name = "quantities"

    def draw(self, rng: random.Random) -> Problem:
        names = rng.sample(FORMS[self.form], rng.randint(*self.operations) + 1)
        values = [rng.randint(0, 9)]
        while len(values) < len(names):
            values.append(rng.choice([value for value in range(10) if value != values[-1]]))
        facts = [f"{names[0]} = {values[0]}. "]
        steps = [f"Define {names[0]} as {names[0][0]}; so {names[0][0]} = {values[0]}. "]
        for at in range(1, len(names)):
            change, (before, name) = values[at] - values[at - 1], names[at - 1 : at + 1]
            link = f"{'+-'[change < 0]} {abs(change)}"
            facts.append(f"{name} = {before} {link}. ")
            steps.append(f"Define {name} as {name[0]}; so {name[0]} = {before[0]} {link} = {values[at]}. ")
        ask = f"{names[-1]}?" if self.form == "zoo" else f"How many {names[-1]} are there?"
        solution = "".join(steps) + f"<answer>{values[-1]}</answer>"
        truth = {"answer": str(values[-1]), "solution": solution}
        return Problem("".join(facts) + ask, truth, {"operations": len(names) - 1}, solution)

    def key(self, problem: Problem) -> str:
        """The prompt; a form's problems of all difficulties share the splits."""
        return f"quantities {problem.prompt}"

    def grade(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        return float(last_tag(completion) == reference["answer"])


@dataclass(frozen=True)
class Mix:
    """Problems of several tasks with given shares."""

    tasks: Sequence[Task]
    shares: Sequence[float]
    name: str = "mix"

    def problems(self, split: str, n: int, seed: int = 0, start: int = 0) -> list[Problem]:
        chosen = np.random.default_rng([seed, start]).choice(len(self.tasks), n, p=self.shares)
        return [
            problem
            for at, task in enumerate(self.tasks)
            for problem in task.problems(split, int((chosen == at).sum()), seed, start)
        ]
