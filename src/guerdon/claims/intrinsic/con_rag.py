"""Con-RAG: agreeing with the other paraphrases, against agreeing with oneself on the same paraphrase."""

from __future__ import annotations

import string
from functools import lru_cache
from typing import Any

import numpy as np

from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.intrinsic.reward import groups_of
from guerdon.intrinsic.votes import members
from guerdon.systems.intrinsic.con_rag import SIMILARITIES, con_rag, pairwise_consistency
from guerdon.tasks.base import Problem

THINGS = string.ascii_lowercase
WORDINGS = ("what is {}?", "tell me of {}:", "{}, that is", "define {}.")
VALUES, BATCH = 12, 6
LOOP = kit.Loop(steps=100, group=4, tokens=4, lr=3e-4)


class Facts:
    """Two one-letter words about each of 26 things, asked in four wordings, and what a teacher writes.

    In every wording two questions in five have a habit: another first or second word, drawn anew for each
    wording, written with a chance between .3 and .9; otherwise with a chance of .1.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 4])
        letters = string.ascii_uppercase[:VALUES]
        self.problems: list[Problem] = []
        self.habits: list[tuple[str, float]] = []
        for thing in THINGS:
            right = [str(c) for c in rng.choice(list(letters), 2)]
            for wording in WORDINGS:
                wrong, place = list(right), int(rng.integers(2))
                wrong[place] = str(rng.choice([c for c in letters if c != right[place]]))
                chance = rng.uniform(0.3, 0.9) if rng.random() < 0.4 else 0.1
                self.problems.append(Problem(wording.format(thing), " ".join(right), {"question": thing}))
                self.habits.append((" ".join(wrong), float(chance)))

    def lesson(self, rng: np.random.Generator) -> list[tuple[str, str]]:
        """64 questions with answers of the teacher."""
        pairs = []
        for i in rng.integers(len(self.problems), size=64):
            wrong, chance = self.habits[i]
            problem = self.problems[i]
            pairs.append((problem.prompt, wrong if rng.random() < chance else problem.reference))
        return pairs

    def batch(self, seed: int, step: int) -> list[Problem]:
        """Some things, each in all wordings."""
        drawn = np.random.default_rng([seed, step]).choice(len(THINGS), BATCH, replace=False)
        n = len(WORDINGS)
        return [problem for at in drawn for problem in self.problems[n * at : n * at + n]]


def within(rollouts: Rollouts, ctx: Context) -> Signal:
    """Mean similarity to the other samples of the same paraphrase."""
    texts = [rollouts.text(i) for i in range(len(rollouts))]
    alike, out = SIMILARITIES["bleu2"], np.zeros(len(rollouts))
    for rows in members(groups_of(rollouts)):
        for i in rows.tolist():
            out[i] = np.mean([alike(texts[i], texts[m]) for m in rows.tolist() if m != i])
    return Signal(out, "rollout", "within")


def correct(rollouts: Rollouts, ctx: Context) -> np.ndarray:
    """1 where the text is the reference."""
    return np.array([float(rollouts.text(i) == r) for i, r in enumerate(rollouts.reference or [])])


def agreeing(engine: Any, facts: Facts) -> tuple[float, float]:
    """Similarity of most likely answers over the wordings of a question, and the share that is right."""
    answers = kit.greedy(engine, facts.problems, LOOP.tokens)
    n = len(WORDINGS)
    texts = [answers.text(i) for i in range(len(answers))]
    alike = [pairwise_consistency(texts[at : at + n]) for at in range(0, len(texts), n)]
    right = [text == problem.reference for text, problem in zip(texts, facts.problems, strict=True)]
    return float(np.mean(alike)), float(np.mean(right))


@lru_cache(maxsize=1)
def _start(seed: int, steps: int) -> tuple[Facts, Any]:
    facts = Facts(seed)
    return facts, kit.imitate(kit.lab(seed, context=32), facts.lesson, steps, seed)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Consistency of most likely answers over paraphrases after training without labels."""
    facts, start = _start(seed, 5 if smoke else 700)
    engine = kit.copy_of(start)
    learned = kit.learn(
        engine,
        lambda step: facts.batch(seed, step),
        con_rag() if arm == "other paraphrases" else within,
        correct,
        LOOP.short() if smoke else LOOP,
        seed,
        lambda model: agreeing(model, facts)[0],
        lambda text: text or None,
    )
    return learned.measured(
        100 * learned.curve[-1],
        right_before=agreeing(start, facts)[1],
        right_after=agreeing(engine, facts)[1],
    )


CLAIM = Claim(
    slug="con-rag",
    claim="Rewarding similarity to the answers that other paraphrases got makes answers consistent over "
    "paraphrases, and no less right (arXiv 2510.04392: consistency on TriviaQA 53.0 to 87.3, with labels; "
    "without, accuracy on ELI5 74 to 78).",
    metric="similarity of most likely answers over four paraphrases after 100 updates, word-set Jaccard, %",
    baseline="same paraphrase",
    system="other paraphrases",
    run=run,
    margin=3.0,
    seeds=5,
    notes="Only the generator, without documents or labels. A 2-layer byte-level decoder recalls two "
    "one-letter words about each of 26 things, asked in four wordings, and first imitates a teacher who, "
    "for two in five questions of every wording, has a habit of its own: one wrong word, written with a "
    "chance of 0.3 to 0.9. Similarity is BLEU-2, four samples per paraphrase (as published), all other "
    "paraphrases compared. The baseline compares with the other samples of the same paraphrase, which "
    "cannot align wordings. GRPO within each paraphrase, learning rate 3e-4 as in the claim of co-reward. "
    "The share of right answers is measured beside it: consistency alone is satisfied by one wrong answer "
    "everywhere.",
)
