"""Small worlds as tables, for experiments: rooms with a key, chains with mistakes, thinking, guessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.learn.tabular import TabularPolicy
from guerdon.tasks.grid_world import GridWorld
from guerdon.tasks.mdp import MDP, tabulate
from guerdon.tasks.tool_world import ToolQuestions


def key_rooms(
    seed: int, count: int = 5, size: int = 5, moves: tuple[int, int] = (8, 14), turns: int = 30
) -> list[MDP]:
    """Rooms in which a key must be fetched before the chest opens; states recur, rewards come at the end."""
    world = GridWorld(mode="key", size=size, moves=moves, max_turns=turns)
    return [tabulate(world, problem) for problem in world.problems("train", count, seed=seed)]


def with_history(mdp: MDP) -> MDP:
    """The same process with states (state, last action); keys are those of the state alone.

    A table over it has parameters of its own for every history, as a model that reads its context has.
    """
    width = mdp.n_actions
    wide: dict[str, Any] = {
        name: np.repeat(getattr(mdp, name), width + 1, axis=0)
        for name in ("reward", "done", "success", "call_ok", "grounded", "useful")
    }
    after = np.repeat(mdp.next * (width + 1) + 1 + np.arange(width), width + 1, axis=0)
    keys = np.repeat(mdp.keys, width + 1)
    return replace(mdp, next=after, keys=keys, start=mdp.start * (width + 1), calls={}, notes={}, **wide)


def _moves(rows: Sequence[Sequence[tuple[int, bool, float, float]]], horizon: int) -> MDP:
    """An MDP from rows of (next state, done, chance of success, useful)."""
    table = np.array(rows, dtype=np.float64)
    return MDP(
        next=table[..., 0].astype(np.int64),
        reward=table[..., 2],
        done=table[..., 1].astype(bool),
        success=table[..., 2],
        useful=table[..., 3],
        horizon=horizon,
    )


def chain(rng: np.random.Generator, length: int = 5, options: int = 3, horizon: int = 15) -> MDP:
    """A derivation of `length` steps, each with one right option; the last action takes mistakes back.

    A wrong option leaves all that follows wrong until it is undone, which returns to the step where the
    mistake was made. The derivation succeeds when it ends without a mistake. `useful` is 1 for right steps
    and for undoing a mistake, 0 for wrong ones and for undoing nothing.
    """
    right = rng.integers(options, size=length)
    places = [(i, j) for i in range(length) for j in (-1, *range(i))]
    number = {place: at for at, place in enumerate(places)}
    rows = []
    for at, (i, j) in enumerate(places):
        row = []
        for action in range(options):
            good = j < 0 and action == right[i]
            broken = j if j >= 0 else (-1 if good else i)
            end = i + 1 == length
            row.append((at if end else number[i + 1, broken], end, float(end and broken < 0), float(good)))
        row.append((number[j, -1] if j >= 0 else at, False, 0.0, float(j >= 0)))
        rows.append(row)
    return _moves(rows, horizon)


def thinking(rng: np.random.Generator, levels: int = 4, options: int = 6, horizon: int = 16) -> MDP:
    """Thinking that helps or idles, and answering at any time.

    Action 0 answers, and is right with the chance `readiness(level)`; of the other `options` one, another at
    every level, leads to the next level, the rest change nothing. `useful` marks the one.
    """
    right = rng.integers(1, options + 1, size=levels)
    ready = readiness(np.arange(levels + 1), levels)
    rows = []
    for level in range(levels + 1):
        row = [(level, True, ready[level], 0.0)]
        for action in range(1, options + 1):
            good = level < levels and action == right[level]
            row.append((level + good, False, 0.0, float(good)))
        rows.append(row)
    return _moves(rows, horizon)


def readiness(level: np.ndarray, levels: int = 4) -> np.ndarray:
    """Chance that an answer given at a level is right: 0.1 to 0.9."""
    return 0.1 + 0.8 * np.asarray(level) / levels


def thinker(mdps: Sequence[MDP], answer: float = -1.5, useful: float = 1.0) -> TabularPolicy:
    """A policy that thinks too long and often idly: where a reasoning model starts."""
    logits = np.concatenate([useful * mdp.useful for mdp in mdps])
    logits[:, 0] = answer
    return TabularPolicy(mdps, logits)


def guessing(bits: int = 4, idle: int = 4, horizon: int = 8) -> list[MDP]:
    """One process per key of so many bits, with equal state numbers: ask for a bit, ask idly, or answer.

    A state is what is known of the key, so that a policy shared by all processes cannot know the key.
    Actions: `bits` questions, `idle` questions that reveal nothing, 2^bits answers.
    """
    known = list(product((-1, 0, 1), repeat=bits))
    number = {state: at for at, state in enumerate(known)}
    keys = list(product((0, 1), repeat=bits))
    mdps = []
    for key in keys:
        rows = []
        for at, state in enumerate(known):
            asked = [number[(*state[:b], key[b], *state[b + 1 :])] for b in range(bits)]
            row = [(after, False, 0.0, float(after != at)) for after in asked]
            row += [(at, False, 0.0, 0.0)] * idle
            row += [(at, True, float(answer == key), float(answer == key)) for answer in keys]
            rows.append(row)
        mdps.append(replace(_moves(rows, horizon), start=number[(-1,) * bits]))
    return mdps


def reader(
    mdps: Sequence[MDP], bits: int = 4, idle: int = 4, trust: float = 3.0, eager: float = -2.0
) -> np.ndarray:
    """Logits of a policy that can read: every known bit that an answer contradicts costs it `trust`."""
    known = np.array(list(product((-1, 0, 1), repeat=bits)))
    keys = np.array(list(product((0, 1), repeat=bits)))
    wrong = ((known[:, None, :] >= 0) & (known[:, None, :] != keys[None])).sum(axis=2)
    logits = np.concatenate([np.zeros((len(known), bits + idle)), eager - trust * wrong], axis=1)
    return np.tile(logits, (len(mdps), 1))


def hidden_word(rng: np.random.Generator, length: int = 5, vocabulary: int = 15, horizon: int = 10) -> MDP:
    """Write up to `horizon` tokens; success once the hidden tokens appeared in order. The last token ends.

    A state is how many of them were written. `useful` marks the next hidden token.
    """
    word = rng.integers(vocabulary - 1, size=length)
    rows = []
    for m in range(length):
        row = []
        for token in range(vocabulary - 1):
            good = token == word[m]
            won = good and m + 1 == length
            row.append((m if won else m + good, won, float(won), float(good)))
        row.append((m, True, 0.0, 0.0))
        rows.append(row)
    return _moves(rows, horizon)


def padded(rng: np.random.Generator, length: int = 4, options: int = 3, horizon: int = 20) -> MDP:
    """A derivation of `length` steps, each with one right option; then a filler, and handing in.

    A wrong option spoils it for good, a filler changes nothing, handing in succeeds after only right steps.
    `useful` is 1 for right steps and handing in a right derivation, 0 for wrong ones, unknown for fillers.
    """
    right = rng.integers(options, size=length)
    rows = []
    for broken in (0, 1):
        for i in range(length + 1):
            at = broken * (length + 1) + i
            row = []
            for action in range(options):
                good = not broken and i < length and action == right[i]
                after = at + 1 if good else length + 1 + min(i + 1, length)
                row.append((after, False, 0.0, float(good)))
            row.append((at, False, 0.0, np.nan))
            won = float(not broken and i == length)
            row.append((at, True, won, won))
            rows.append(row)
    return _moves(rows, horizon)


def tool_questions(seed: int, count: int = 5) -> list[MDP]:
    """Sums of three terms over a price list and a calculator, in a dozen calls at most."""
    world = ToolQuestions(terms=3, items=3, price=3, high=12, operators="+-", max_turns=12)
    return [tabulate(world, problem) for problem in world.problems("train", count, seed=seed)]


def forced_answers(
    policy: TabularPolicy, rollouts: Rollouts, rng: np.random.Generator, samples: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sampled outcomes in `thinking` worlds, and shares of right answers forced from there.

    Returns:
        outcome (rollouts,), 0 or 1; share before the first step (rollouts,) and after every step (steps,).
    """
    levels = policy.mdps[0].n_states - 1
    states, actions = policy.visited(rollouts)
    after = np.concatenate([mdp.next for mdp in policy.mdps])[states, actions]
    outcome = rng.random(len(rollouts)) < rollouts.signals["outcome"].values
    before = rng.binomial(samples, readiness(np.zeros(len(rollouts)), levels)) / samples
    return outcome.astype(np.float64), before, rng.binomial(samples, readiness(after, levels)) / samples
