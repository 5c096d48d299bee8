"""ProRAG: outcome advantage plus process scores normalised over all generated tokens of a prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guerdon.credit.baselines import MeanStd, choice
from guerdon.credit.compose import Credit, Level
from guerdon.credit.view import View
from guerdon.data.signal import Signal
from guerdon.systems.catalogue import system
from guerdon.verify.answers_match import token_f1


@system(
    "prorag",
    title="ProRAG: Process-Supervised Reinforcement Learning for Retrieval-Augmented Generation",
    arxiv="2601.21912",
    family="credit",
    kind="credit",
)
def prorag(
    weight: float = 0.3,
    pool: str = "token",
    ddof_outcome: int = 1,
    ddof_process: int = 0,
    outcome_eps: float = 1e-4,
) -> Credit:
    """A = (R - mean) / (std + eps) + w (s - mu) / sqrt(var + 1e-8).

    R is compared over the rollouts of the prompt. s, the score of a step, stands on every token the policy
    generated in it; mu and var are over all such tokens of the prompt, so long steps weigh more. A step is
    credited with its own score only.

    Args:
        weight: w.
        pool: "token" as above, or "step": every step counts once.
        ddof_outcome, ddof_process: of the two variances.
        outcome_eps: eps.

    Inputs: `outcome` (rollout, answer + format; without it `outcome_reward` of `completion` and `reference`:
    a text, a list of texts, or either under `reference.answer`), `step_score` (step, sigmoid of the reward
    model + `step_format`).

    Reference: arXiv 2601.21912; prorag/rl of lilinwz/ProRAG.
    """
    choice(pool, ("token", "step"), "pool")
    process = MeanStd(
        ddof=ddof_process,
        eps=1e-8,
        singleton="zero",
        unit="token" if pool == "token" else "span",
        eps_place="var",
    )
    return Credit(
        [
            Level(OutcomeOrText(), baseline=MeanStd(ddof=ddof_outcome, eps=outcome_eps)),
            Level("step_score", span="step", baseline=process, weight=weight),
        ],
        name="prorag",
    )


_TAG = re.compile(r"</?([a-zA-Z]+)>")
_LETTERS = {"step": "S", "subquery": "Q", "retrieval": "R", "subanswer": "A", "answer": "F"}
_WHOLE = re.compile(r"(?:SQRSA)*SF")
_SINGLE = re.compile(r"SQR|SA|SF")
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)


def _blocks(completion: str) -> str | None:
    """One letter per block of a continuation that begins inside `<step>`; None unless tags pair up."""
    tags = list(_TAG.finditer("<step>" + completion))
    letters = []
    for opened, closed in zip(tags[::2], tags[1::2], strict=False):
        name = opened[1]
        if name not in _LETTERS or opened[0] != f"<{name}>" or closed[0] != f"</{name}>":
            return None
        letters.append(_LETTERS[name])
    return None if len(tags) % 2 else "".join(letters)


def whole_format(completion: str) -> float:
    """+1 where the tags are cycles (step, subquery, retrieval, step, subanswer), then step, answer; else -1.

    Args:
        completion: what follows a prompt that ends with `<step>`.
    """
    blocks = _blocks(completion)
    return 1.0 if blocks is not None and _WHOLE.fullmatch(blocks) else -1.0


def step_format(completion: str) -> float:
    """+1 for one step with its subquery and retrieval, its subanswer or its answer; else -2."""
    blocks = _blocks(completion)
    return 1.0 if blocks is not None and _SINGLE.fullmatch(blocks) else -2.0


def outcome_reward(completion: str, reference: str | Sequence[str]) -> float:
    """2 F1 of the answer's words where F1 >= 0.2, else 0, plus `whole_format`; in [-1, 3].

    Words are lower-cased and split at white space; with several references the best counts.
    """
    found = _ANSWER.search(completion)
    golds = [reference] if isinstance(reference, str) else list(reference)
    f1 = token_f1(found[1], golds, "squeezed") if found and found[1].strip() else 0.0
    return (2.0 * f1 if f1 >= 0.2 else 0.0) + whole_format(completion)


@dataclass(frozen=True)
class OutcomeOrText:
    """The signal `outcome`, or `outcome_reward` of the texts where there are texts and references."""

    name: str = "outcome"

    def __call__(self, view: View) -> Signal:
        rollouts = view.rollouts
        known = rollouts.completion is not None and rollouts.reference is not None
        if self.name in view.signals or not known:
            return view.signal(self.name, "rollout")
        golds = [_golds(reference) for reference in rollouts.reference or []]
        values = [
            np.nan if gold is None else outcome_reward(rollouts.text(row), gold)
            for row, gold in enumerate(golds)
        ]
        return Signal(np.array(values), "rollout", self.name)


def _golds(reference: Any) -> str | list[str] | None:
    """What answers are compared with: a text, several, or either under `answer`; None otherwise."""
    gold = reference.get("answer") if isinstance(reference, Mapping) else reference
    texts = gold if isinstance(gold, list) else [gold]
    return gold if all(isinstance(text, str) for text in texts) else None
