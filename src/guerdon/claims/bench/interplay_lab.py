"""Interplay lab: the process-verified reward against the answer alone, where short cuts pay as well."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

from guerdon import credit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab
from guerdon.data.rollouts import Rollouts
from guerdon.systems.bench.interplay_lab import interplay_lab

RATES = (1.0, 3.0, 10.0, 30.0)
PROMPTS, DRAWS, GROUP, STEPS = 8, 64, 8, 150
WAYS = list(product(("full", "skipped", "misattributed"), repeat=3))
"""How each of the three quantities between the first and the one asked for is dealt with."""
NAMES = ("apes", "bears", "camels", "deer", "elks")
ERROR, MERGED = 0.05, 0.95
"""Chance that a step is miscalculated; what each further change worked out in one go leaves of the rest."""


def _written(start: int, changes: list[int], way: tuple[str, ...], rng: np.random.Generator) -> str:
    """One solution; a step may go wrong, and what follows carries its value on."""
    said, text = start, f"Define {NAMES[0]} as a; so a = {start}. "
    source, pending, count = "a", 0, 0
    for name, change, how in zip(NAMES[1:], changes, (*way, "full"), strict=True):
        pending, count = pending + change, count + 1
        if how == "skipped":
            continue
        right = rng.random() < (1.0 - ERROR) * MERGED ** (count - 1)
        value = said + pending + (0 if right else int(rng.choice([-2, -1, 1, 2])))
        shown, letter = ("a" if how == "misattributed" else source), name[0]
        shift = pending + said - start if how == "misattributed" else pending
        text += f"Define {name} as {letter}; so {letter} = {shown} {'+-'[shift < 0]} {abs(shift)} = {value}. "
        said, source, pending, count = value, letter, 0, 0
    return text + f"<answer>{said}</answer>"


@lru_cache(maxsize=4)
def _world(seed: int, prompts: int, draws: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reward, right and verified of every (prompt, way, draw), by the system."""
    rng = np.random.default_rng(seed)
    completions, references = [], []
    for _ in range(prompts):
        start, changes = int(rng.integers(20, 80)), rng.integers(1, 10, 4) * rng.choice([-1, 1], 4)
        steps, total = [int(change) for change in changes], start + int(changes.sum())
        gold = _gold(start, steps)
        for way in WAYS:
            completions += [_written(start, steps, way, rng) for _ in range(draws)]
        references += [{"answer": str(total), "solution": gold}] * (len(WAYS) * draws)
    rollouts = Rollouts(prompt=["q"] * len(completions), completion=completions, reference=references)
    reward, parts = interplay_lab().explain(rollouts)
    right = parts["outcome"].values
    verified = right * (parts["mismatches"].values == 0)
    shape = (prompts, len(WAYS), draws)
    return reward.values.reshape(shape), right.reshape(shape), verified.reshape(shape)


def _gold(start: int, changes: list[int]) -> str:
    """The worked solution."""
    text, value = f"Define {NAMES[0]} as a; so a = {start}. ", start
    for before, name, change in zip(NAMES, NAMES[1:], changes, strict=False):
        link = f"{before[0]} {'+-'[change < 0]} {abs(change)}"
        value += change
        text += f"Define {name} as {name[0]}; so {name[0]} = {link} = {value}. "
    return text


def _curve(
    arm: str, rate: float, seed: int, steps: int = STEPS, prompts: int = PROMPTS, draws: int = DRAWS
) -> np.ndarray:
    """Right answers over a wrong graph among the right ones, before every update and after the last."""
    reward, right, verified = _world(seed, prompts, draws)
    paid = right if arm == "outcome" else reward
    rng = np.random.default_rng([seed, 1])
    short = np.array([way.count("skipped") for way in WAYS])
    loose = np.array([way.count("misattributed") for way in WAYS])
    start = np.zeros((3, len(WAYS)))
    start[0] = 0.5 * short - 0.5 * loose
    phi = np.column_stack([np.ones(prompts), 0.5 * rng.standard_normal((prompts, 2))])

    def respond(prompt: np.ndarray, way: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"outcome": paid[prompt, way, rng.integers(draws, size=len(way))]}

    def invalid(pi: np.ndarray) -> float:
        answered, valid = ((pi * part.mean(2)).sum() for part in (right, verified))
        return float(1.0 - valid / answered)

    return lab.train(start, phi, respond, credit.grpo(), steps, GROUP, rate, seed, invalid)


_tuned = lab.tuned(_curve, RATES, lambda curve: -lab.last(curve))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Share of right answers whose steps are not, after training."""
    curve = _curve(arm, 3.0, seed, 2, 2, 2) if smoke else _tuned(arm, seed)
    return lab.shown(100 * lab.last(curve), curve)


CLAIM = Claim(
    slug="interplay-lab",
    claim="Rewarding verified steps beside the answer leads to fewer right answers over wrong steps than "
    "rewarding the answer alone (arXiv 2512.07783: process-verified rewards reduce reward hacking).",
    metric="right answers with a wrong graph, % of right answers, last 20 of 150 updates; lower is the claim",
    baseline="outcome",
    system="process",
    run=run,
    higher=False,
    margin=5.0,
    seeds=10,
    notes="A softmax over 27 ways to write a solution of four operations: every quantity between is worked "
    "out, skipped, or worked out of a quantity that it does not depend on; 8 problems that share weights, at "
    "first leaning to skip. A step goes wrong with a chance of 0.05, one that merges several changes as "
    "often as these would have one by one: all ways are right equally often, so the answer alone does not "
    "tell them apart, and whether the process score does is what is tried. The system itself scores. Best "
    "of four step sizes per arm, by this metric. The paper's four findings with a language model that is "
    "pre-trained, mid-trained and reinforced here: docs/interplay_lab.md.",
)
