"""Engines that act in worlds without being taught: a script, and a tiny model over a tiny alphabet."""

from __future__ import annotations

import numpy as np

from guerdon.data import Ragged, Rollouts
from guerdon.engines.tokenizer import ByteTokenizer
from guerdon.tasks.base import Problem
from guerdon.tasks.grid_world import GridWorld

MAZE = Problem("@.#\n..#\n..G\n>", None, {"map": "@.#\n..#\n..G"}, "d\n")
CORRIDOR = Problem("@..G\n>", None, {"map": "@..G"}, "r\n")


class Letters:
    """One token per letter of the grid world; anything else cannot be said."""

    pad, bos, eos = 0, 1, 2
    alphabet = "udlr\n@.#G>"
    vocab_size = 16

    def encode(self, text):
        return [3 + self.alphabet.index(letter) for letter in text]

    def decode(self, ids):
        return "".join(self.alphabet[i - 3] for i in map(int, ids) if 3 <= i < 3 + len(self.alphabet))

    def token_bytes(self, ids):
        return [self.decode([i]).encode() for i in ids]


def letters_engine(seed=0, **options):
    """A random policy, a fifth of whose turns are moves."""
    from guerdon.engines.lab import LabEngine

    shape = {"dim": 32, "layers": 1, "heads": 2, "context": 128, **options}
    return LabEngine(tokenizer=Letters(), device="cpu", seed=seed, **shape)


class Script:
    """An engine that says given turns, the same in every draw unless given per draw.

    Args:
        turns: texts of the turns, one list per draw; "\\0" stands for eos.
    """

    def __init__(self, *turns, context=500):
        self.turns, self.context, self.tokenizer = turns, context, ByteTokenizer()
        self.calls = []

    def prompt_ids(self, prompt):
        return (1, *self.tokenizer.encode(prompt))

    def generate(self, prompts, n=1, sampling=None, prefix=None, group=None, draws=None):
        self.calls.append(len(prompts))
        new = []
        for ids, draw in zip(prefix, draws, strict=True):
            said = self.tokenizer.decode(ids).count("\n>")
            text = self.turns[draw % 2**20 % len(self.turns)][said]
            new.append(
                [2 if c == "\0" else i for c, i in zip(text, self.tokenizer.encode(text), strict=True)]
            )
        tokens = Ragged.from_lists([[*a, *b] for a, b in zip(prefix, new, strict=True)], dtype=np.int32)
        return Rollouts(
            prompt=list(prompts),
            completion=[self.tokenizer.decode(row) for row in tokens.to_lists()],
            tokens=tokens,
            logprobs=tokens.with_values(np.full(tokens.total, -0.5, np.float32)),
        )


WORLD = GridWorld(size=3, moves=(1, 6), max_turns=6)
