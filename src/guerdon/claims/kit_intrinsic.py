"""Two small worlds for byte-level models, and a loop that learns in them from a reward or a loss.

`Notes`: a question, a thought, a long answer of which little depends on the thought. `Chains`: a secret map
applied a few times, written out hop by hop. Enters: a seed. Leaves: problems, lessons of a fallible teacher.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from guerdon.audit.calibration import auroc
from guerdon.claims import kit_votes as kit
from guerdon.claims.kit import TUNING_SEEDS
from guerdon.context import Context
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import Sampling
from guerdon.intrinsic.direct import direct_loss
from guerdon.learn.objective import Objective
from guerdon.learn.signals import keep_advantage
from guerdon.learn.update import update
from guerdon.tasks.base import Problem

LETTERS = string.ascii_lowercase
Step = Callable[[Any, int], None]


class Notes:
    """One digit is right for each of 26 letters; answers are `length` characters behind a thought.

    A thought is a style, x, y or z, and a digit; a mark opens the answer. Of an answer's characters `content`
    are the capital letter of the digit, at random places, the others small letters whose frequencies (1/rank)
    the style orders. The teacher thinks the right digit with the chance `known`, a habit of that letter with
    .4, else any digit; its answers always follow its thoughts. References follow the right digit, in a style
    of their own, and name it `mentions` times.
    """

    STYLES, MARK, DIGITS, SMALL = "xyz", "=", 10, 10

    def __init__(
        self, seed: int, length: int = 16, content: int = 4, mentions: int | None = None, known: float = 0.3
    ) -> None:
        rng = np.random.default_rng([seed, 11])
        self.length, self.content, self.known = length, content, known
        self.mentions = content if mentions is None else mentions
        self.right = rng.integers(self.DIGITS, size=len(LETTERS))
        self.habit = (self.right + rng.integers(1, self.DIGITS, size=len(LETTERS))) % self.DIGITS
        frequency = 1.0 / np.arange(1, self.SMALL + 1)
        orders = [rng.permutation(self.SMALL) for _ in self.STYLES]
        self.small = np.stack([frequency[order] / frequency.sum() for order in orders])
        self.prompts = [f"{letter}:" for letter in LETTERS]
        self.thoughts = [[f"{style}{d}" for style in self.STYLES] for d in range(self.DIGITS)]

    def answer(self, digit: int, style: int, rng: np.random.Generator, content: int) -> str:
        """A long answer that follows a thought."""
        drawn = rng.choice(self.SMALL, size=self.length, p=self.small[style])
        letters = [LETTERS[i] for i in drawn]
        for place in rng.choice(self.length, content, replace=False):
            letters[place] = string.ascii_uppercase[digit]
        return "".join(letters)

    def lesson(self, rng: np.random.Generator, size: int = 32) -> list[tuple[str, str]]:
        """Questions with thoughts and answers of the teacher."""
        out = []
        for at in rng.integers(len(LETTERS), size=size):
            draw, style = rng.random(), int(rng.integers(len(self.STYLES)))
            digit = int(rng.integers(self.DIGITS))
            digit = self.right[at] if draw < self.known else digit
            digit = self.habit[at] if self.known <= draw < self.known + 0.4 else digit
            said = self.answer(digit, style, rng, self.content)
            out.append((self.prompts[at], f"{self.thoughts[digit][style]}{self.MARK}{said}"))
        return out

    def problems(self, rng: np.random.Generator, size: int) -> list[Problem]:
        """Different questions, each with a reference written anew."""
        return [
            Problem(
                self.prompts[at],
                self.answer(int(self.right[at]), int(rng.integers(len(self.STYLES))), rng, self.mentions),
                {"digit": int(self.right[at])},
            )
            for at in rng.choice(len(LETTERS), size, replace=False)
        ]

    def sampled(self, engine: Any, problems: Sequence[Problem], group: int, seed: int) -> Rollouts:
        """Thoughts of every question: two tokens each."""
        return sampled(engine, problems, group, 2, seed)

    def opened(self, thoughts: Rollouts) -> Rollouts:
        """Texts whose answer the mark has opened, whatever was thought."""
        texts = [thoughts.text(i) + self.MARK for i in range(len(thoughts))]
        return Rollouts(
            prompt=thoughts.prompt, completion=texts, reference=thoughts.reference, group=thoughts.group
        )

    def climb_directly(
        self, engine: Any, thoughts: Rollouts, values: np.ndarray, how: str, lr: float
    ) -> None:
        """One step on the gradient of a likelihood reward: leave-one-out on the thoughts, and its own."""
        rows, mask = followed_by_references(engine, self.opened(thoughts))
        assert rows.tokens is not None
        advantages = left_out(values, thoughts.group)
        engine.train_step(rows, direct_loss(rows.tokens, mask, advantages, how), lr=lr, entropy=False)

    def right_thoughts(self, engine: Any) -> float:
        """Exact chance of a thought with the right digit, any style, mean over questions."""
        rows = [(at, self.thoughts[d][s]) for at, d in enumerate(self.right) for s in range(len(self.STYLES))]
        chances = opening_chances(engine, [self.prompts[at] for at, _ in rows], [t for _, t in rows])
        return float(chances.sum() / len(LETTERS))


class Chains:
    """A secret map of letters applied two to four times: "k3:" is answered "m>q>t".

    The teacher takes every hop right with the chance 1 - p, p being `slip` or, for a quarter of the letters,
    `trap`; a wrong hop goes to one habitual letter three times out of four, else anywhere. A quarter of the
    questions is kept for tests.
    """

    HOPS = (2, 3, 4)

    def __init__(self, seed: int, slip: float = 0.15, trap: float = 0.6) -> None:
        rng = np.random.default_rng([seed, 12])
        n = len(LETTERS)
        self.next = rng.permutation(n)
        self.habit = (self.next + rng.integers(1, n, size=n)) % n
        self.wrong = np.where(rng.permutation(n) < n // 4, trap, slip)
        every = [(k, hops) for k in range(n) for hops in self.HOPS]
        order = rng.permutation(len(every))
        self.test = [every[i] for i in order[: len(every) // 4]]
        self.train = [every[i] for i in order[len(every) // 4 :]]

    def path(self, letter: int, hops: int, rng: np.random.Generator | None = None) -> str:
        """Letters passed, the right ones or (with `rng`) those of the teacher."""
        out = []
        for _ in range(hops):
            slipped = rng is not None and rng.random() < self.wrong[letter]
            after = int(self.next[letter])
            if slipped and rng is not None:
                after = int(self.habit[letter] if rng.random() < 0.75 else rng.integers(len(LETTERS)))
            letter = after
            out.append(LETTERS[letter])
        return "".join(out)

    def prompt(self, letter: int, hops: int) -> str:
        """The question."""
        return f"{LETTERS[letter]}{hops}:"

    def problem(self, letter: int, hops: int) -> Problem:
        """The question with the last letter as its reference and the right path beside it."""
        path = self.path(letter, hops)
        return Problem(self.prompt(letter, hops), path[-1], {"path": path})

    def drawn(self, rng: np.random.Generator, size: int) -> list[tuple[int, int]]:
        """Different training questions."""
        return [self.train[i] for i in rng.choice(len(self.train), size, replace=False)]

    def lesson(self, rng: np.random.Generator, size: int = 32) -> list[tuple[str, str]]:
        """Training questions with paths of the teacher."""
        asked = [self.train[i] for i in rng.integers(len(self.train), size=size)]
        return [(self.prompt(k, hops), ">".join(self.path(k, hops, rng))) for k, hops in asked]

    def right_paths(self, engine: Any) -> float:
        """Exact chance of the right path to its end, mean over test questions."""
        texts = [">".join(self.path(*q)) for q in self.test]
        return float(kit.chance_of(engine, [self.prompt(*q) for q in self.test], texts).mean())


@lru_cache(maxsize=2)
def note_taker(
    seed: int, steps: int, length: int = 16, content: int = 4, mentions: int | None = None
) -> tuple[Notes, Any]:
    """The world of a seed and a model that imitated its teacher."""
    notes = Notes(seed, length, content, mentions)
    return notes, kit.imitate(kit.lab(seed, context=48, dim=32), notes.lesson, steps, seed, lr=5e-3)


@lru_cache(maxsize=2)
def chain_writer(seed: int, steps: int) -> tuple[Chains, Any]:
    """The world of a seed and a model that imitated its teacher."""
    chains = Chains(seed)
    return chains, kit.imitate(kit.lab(seed, context=32, dim=32), chains.lesson, steps, seed, lr=5e-3)


def opening_chances(engine: Any, prompts: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Exact chance that a completion starts with a text, float64 (N,)."""
    ids = [engine.tokenizer.encode(text) for text in texts]
    rows = Rollouts(
        prompt=list(prompts), completion=list(texts), tokens=Ragged.from_lists(ids, dtype=np.int32)
    )
    found = engine.logprobs(rows)
    return np.exp(np.add.reduceat(found.values.astype(np.float64), found.offsets[:-1]))


def sampled(engine: Any, problems: Sequence[Problem], group: int, tokens: int, seed: int) -> Rollouts:
    """`group` completions of every problem, with references and meta."""
    rollouts = engine.generate([p.prompt for p in problems], n=group, sampling=Sampling(tokens, seed=seed))
    at = rollouts.group.tolist()
    return rollouts.replace(
        reference=[problems[g].reference for g in at], meta=[dict(problems[g].meta) for g in at]
    )


def last_letter_right(rollouts: Rollouts) -> np.ndarray:
    """1 where a finished completion ends with its reference."""
    assert rollouts.reference is not None
    ends = [float(rollouts.text(i)[-1:] == r) for i, r in enumerate(rollouts.reference)]
    return np.where(rollouts.truncated, 0.0, ends)


def followed_by_references(engine: Any, opened: Rollouts) -> tuple[Rollouts, np.ndarray]:
    """Completions with their references behind them as tokens, and which tokens are the references'."""
    assert opened.reference is not None
    thoughts = [engine.tokenizer.encode(opened.text(i)) for i in range(len(opened))]
    references = [engine.tokenizer.encode(str(r)) for r in opened.reference]
    both = [a + b for a, b in zip(thoughts, references, strict=True)]
    mask = [[False] * len(a) + [True] * len(b) for a, b in zip(thoughts, references, strict=True)]
    rows = Rollouts(prompt=opened.prompt, tokens=Ragged.from_lists(both, dtype=np.int32))
    return rows, np.concatenate([np.array(row, bool) for row in mask])


def left_out(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """r - mean of the others of the group, 0 for a group of one."""
    _, labels = np.unique(groups, return_inverse=True)
    count, total = np.bincount(labels)[labels], np.bincount(labels, values)[labels]
    return np.where(count > 1, values - (total - values) / np.maximum(count - 1, 1), 0.0)


def climb(engine: Any, rollouts: Rollouts, values: np.ndarray, credit: Any, lr: float, seed: int) -> None:
    """One policy-gradient step on rewards of the rollouts."""
    scored = rollouts.with_signal(Signal(values, "rollout", "outcome"))
    advantage = credit(scored, scored.signals, Context(rng=np.random.default_rng(seed)))
    update(engine, keep_advantage(scored, advantage), Objective(), np.random.default_rng(seed), lr)


def curve_of(
    engine: Any, step: Step, steps: int, measure: Callable[[Any], float], every: int = 5
) -> np.ndarray:
    """The measure before the first step, after every few and after the last."""
    out = [measure(engine)]
    for at in range(steps):
        step(engine, at)
        if (at + 1) % every == 0 or at + 1 == steps:
            out.append(measure(engine))
    return np.array(out)


def tuned_rate(
    score: Callable[[str, float, int], float], rates: Sequence[float], seeds: int = 2
) -> Callable[[str], float]:
    """arm -> the step size with the best mean score on seeds of their own, found once per arm."""

    @lru_cache
    def best(arm: str) -> float:
        found = [[score(arm, rate, seed) for rate in rates] for seed in TUNING_SEEDS[:seeds]]
        return rates[int(np.mean(found, axis=0).argmax())]

    return best


def shown(value: float, curve: np.ndarray, **more: float) -> dict[str, Any]:
    """The entry of a run."""
    return {"value": value, "curve": [round(float(v), 5) for v in curve], **more}


def auroc_within(scores: np.ndarray, right: np.ndarray, groups: np.ndarray) -> float:
    """Chance that of a right and a wrong sample of one question the right one scores higher."""
    found, pairs = 0.0, 0
    for group in np.unique(groups):
        rows = np.flatnonzero((groups == group) & ~np.isnan(scores))
        both = int(right[rows].sum()) * int((1 - right[rows]).sum())
        if both:
            place = np.unique(scores[rows], return_inverse=True)[1] / len(rows)
            found, pairs = found + both * auroc(place, right[rows]), pairs + both
    return found / pairs if pairs else float("nan")
