"""Follow-up likelihood against the likelihood of the response: which of two answers is right?"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.intrinsic.likelihoods import reduce_logprobs
from guerdon.systems.intrinsic.flr import flr

NOISE, THINGS, DIGITS = "abcdefghij", "ABCDEFGHIJKLMNOP", 10
PLEASED, DISPLEASED = ("yes", "ok!"), ("no!", "bad")
STEPS, ERRING = 800, 0.1


class Talk:
    """One digit is right for each of 16 things, asked beside a letter that says nothing.

    Responses are right with a chance of .2 to .8, different for every thing, else they give that thing's
    common mistake. Users react to three quarters of the questions, and err once in ten times.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 13])
        self.share = rng.uniform(0.2, 0.8, len(THINGS))
        self.right = rng.integers(DIGITS, size=len(THINGS))
        self.wrong = (self.right + rng.integers(1, DIGITS, len(THINGS))) % DIGITS
        pairs = list(product(NOISE, range(len(THINGS))))
        self.silent = sorted(pairs[i] for i in rng.permutation(len(pairs))[: len(pairs) // 4])

    def lesson(self, rng: np.random.Generator) -> list[tuple[str, str]]:
        """64 dialogues: a question, a response and, to most questions, a reaction."""
        out, silent = [], set(self.silent)
        for at in rng.integers(len(THINGS), size=64):
            letter, good = str(rng.choice(list(NOISE))), bool(rng.random() < self.share[at])
            said = str((self.right if good else self.wrong)[at])
            if (letter, int(at)) not in silent:
                said += "\n" + str(rng.choice(PLEASED if good ^ (rng.random() < ERRING) else DISPLEASED))
            out.append((f"{letter}{THINGS[at]}", said))
        return out

    def held_out(self) -> tuple[list[str], list[str]]:
        """Questions nobody has reacted to: each twice, with the right and with the wrong digit."""
        prompts = [f"{letter}{THINGS[at]}" for letter, at in self.silent for _ in (0, 1)]
        return prompts, [str(digits[at]) for _, at in self.silent for digits in (self.right, self.wrong)]


@lru_cache(maxsize=1)
def _listener(seed: int, steps: int) -> tuple[Talk, Any]:
    talk = Talk(seed)
    return talk, kit.imitate(kit.lab(seed, context=32, dim=32), talk.lesson, steps, seed, lr=5e-3)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Share of held-out pairs in which the right letter scores higher, ties half."""
    talk, engine = _listener(seed, 3 if smoke else STEPS)
    prompts, completions = talk.held_out()
    more: dict[str, float] = {}
    rollouts = Rollouts(prompt=prompts, completion=completions)
    if arm == "follow-ups":
        reward = flr({"correctness": (PLEASED, DISPLEASED)}, opening="\n")
        values = reward(rollouts, Context(engines={"policy": engine})).values
        more["reaction"] = reactions(engine, talk, seed)
    else:
        found = engine.logprobs(engine.rollouts_from_text(prompts, completions))
        values = reduce_logprobs(found.values, found.offsets, "mean")
    right, wrong = values[0::2], values[1::2]
    return {"value": 100 * float(np.mean((right > wrong) + 0.5 * (right == wrong))), **more}


def reactions(engine: Any, talk: Talk, seed: int) -> float:
    """Mean log-prob of reactions in new dialogues."""
    dialogues = [d for d in talk.lesson(np.random.default_rng([seed, 6])) if "\n" in d[1]]
    found = engine.logprobs(engine.rollouts_from_text(*map(list, zip(*dialogues, strict=True))))
    return float(np.mean([found[i][1:].sum() for i in range(len(dialogues))]))


CLAIM = Claim(
    slug="flr",
    claim="How likely a model finds pleased rather than displeased follow-ups tells good responses from bad "
    "ones, without a reward model that was trained on preferences (FLR, AAAI 2025: on a par with "
    "strong reward models on eight pairwise and four rating benchmarks).",
    metric="pairs of responses in which the right one scores higher, held-out questions, %",
    baseline="response likelihood",
    system="follow-ups",
    run=run,
    margin=10.0,
    seeds=8,
    notes="A 2-layer byte-level decoder of width 32 learns dialogues: a digit is right for each of 16 "
    "things, another is the common mistake, and responses are right with a chance of 0.2 to 0.8, "
    "drawn for every thing: what is usual is not always right. Reactions, two short ones on either "
    "side, are wrong one time in ten. Beside every question stands one of ten letters that says "
    "nothing; a quarter of the 160 questions were never reacted to, and those are judged. No reward "
    "model trained on preferences takes part. Two other worlds, the order of letters and digits to be "
    "changed by a rule, were dropped unmeasured: in 1800 updates so small a model had learned nothing "
    "of the reactions. This is the third version that was looked at. In the first two, after 600 and "
    "1200 updates, all questions beside three of the letters went without reaction: undecided, +22.9 "
    "(-2.4 to 48.2, 6 seeds) and +22.1 (-3.9 to 48.1, 8 seeds), since a model that never saw a second "
    "line behind a letter did not carry over what it knew (two other seeds: 100 % beside the other "
    "letters, 82 % beside these). `reaction` is the mean log-prob of reactions in new dialogues; "
    "-1.02 would be perfect, -1.39 says nothing of which kind.",
)
