"""MatchTIR: turn rewards from matching predicted tool calls with the wanted ones, compared at two levels."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from guerdon.credit.backups import RewardToGo
from guerdon.credit.baselines import MeanStd, choice
from guerdon.credit.compose import Credit, Level
from guerdon.credit.groupings import by
from guerdon.credit.sources import Moved
from guerdon.credit.view import View
from guerdon.data.signal import Signal
from guerdon.errors import DataError
from guerdon.systems.catalogue import system
from guerdon.systems.credit._call_matching import MATCHES, call_similarity, matched_scores

_SPACED = str.maketrans(dict.fromkeys(string.punctuation, " "))


@system(
    "matchtir",
    title="MatchTIR: Fine-Grained Supervision for Tool-Integrated Reasoning via Bipartite Matching",
    arxiv="2601.10712",
    family="credit",
    kind="credit",
)
def matchtir(
    gamma: float = 0.9,
    match: str | None = None,
    reg: float = 0.1,
    singleton: str = "raw",
    eps: float = 1e-6,
    variant: str = "paper",
) -> Credit:
    """A = (g + z) / 2: rollouts compared by their summed turn rewards, turns by discounted returns.

    Both are (x - mean) / (std + eps): g of sum_j r_j over the rollouts of the prompt, z of
    D_j = r_j + gamma D_{j+1} over the j-th turns of the prompt.

    Args:
        gamma: discount per turn.
        match: "hungarian", "greedy" or "ot" (optimal transport), see `matched_scores`. Default
            "hungarian", "greedy" in "release".
        reg: entropy weight of "ot".
        singleton: a group of one keeps its value ("raw", as released) or gets 0 ("zero").
        eps: added to the standard deviations (ddof 1).
        variant: "paper" or "release".

    Inputs: `turn_reward` (turn); without it rewards are made from `meta.calls` (per turn, a list of
    {name, arguments}), `reference.calls` (the wanted {name, parameters}) and `meta.answer`,
    `reference.answer`: see `turn_rewards`. Text after a call belongs to its turn and gets no advantage.

    Reference: arXiv 2601.10712; Code/verl/utils/reward_score/tool.py of quchangle1/MatchTIR.
    """
    choice(variant, ("paper", "release"), "variant")
    match = choice(match or ("greedy" if variant == "release" else "hungarian"), MATCHES, "match")
    rewards = TurnRewards(match, reg)
    compared = MeanStd(eps=eps, singleton=singleton)
    return Credit(
        [
            Level(Moved(rewards, "rollout"), baseline=compared, weight=0.5),
            Level(
                rewards,
                backup=RewardToGo(gamma),
                group=by("prompt", "index"),
                baseline=compared,
                weight=0.5,
            ),
        ],
        name="matchtir",
    )


@dataclass(frozen=True)
class TurnRewards:
    """The signal `turn_reward`, or rewards made from calls and answers."""

    match: str = "hungarian"
    reg: float = 0.1
    name: str = "turn_reward"

    def __call__(self, view: View) -> Signal:
        if self.name in view.signals:
            return view.signal(self.name, "turn")
        calls = view.meta("calls", required=False)
        if all(row is None for row in calls):
            return view.signal(self.name, "turn")
        answers = view.meta("answer", required=False)
        counts = np.diff(view.at("turn").offsets).tolist()
        wanted = view.rollouts.reference or [None] * len(calls)
        rewards = [
            _row(view.method, row, *given, self.match, self.reg)
            for row, given in enumerate(zip(calls, answers, wanted, counts, strict=True))
        ]
        return Signal(np.array([r for row in rewards for r in row]), "turn", self.name)


def _row(
    method: str, row: int, calls: Any, answer: Any, wanted: Any, turns: int, match: str, reg: float
) -> list[float]:
    if not isinstance(calls, list) or len(calls) != turns:
        got = f"{len(calls)} entries" if isinstance(calls, list) else type(calls).__name__
        raise DataError(f"{method}: row {row} has {turns} turns, but `meta.calls` has {got}")
    if not isinstance(wanted, Mapping) or not isinstance(wanted.get("calls"), list):
        raise DataError(f"{method}: row {row} needs `reference.calls`, the list of wanted calls")
    gold = wanted.get("answer")
    return turn_rewards(calls, wanted["calls"], answer, gold, match, reg)


def turn_rewards(
    calls: list[list[Mapping[str, Any]]],
    wanted: list[Mapping[str, Any]],
    answer: str | None = None,
    gold: str | None = None,
    match: str = "hungarian",
    reg: float = 0.1,
) -> list[float]:
    """One reward per turn: the mean matched score of its calls; 0 without calls; word F1 where it answers.

    All calls of the rollout are matched with all wanted ones at once. The last turn is the answer's where
    there is an `answer`; its calls take no part in the matching.
    """
    answered = len(calls) - 1 if answer is not None and calls else -1
    owner = [turn for turn, made in enumerate(calls) if turn != answered for _ in made]
    said = [call for turn, made in enumerate(calls) if turn != answered for call in made]
    scores = np.array([[call_similarity(w, c) for w in wanted] for c in said]).reshape(len(said), len(wanted))
    earned = matched_scores(scores, match, reg)
    total = np.bincount(owner, earned, len(calls)) if owner else np.zeros(len(calls))
    rewards = (total / np.maximum([len(made) for made in calls], 1)).tolist()
    if answered >= 0:
        rewards[answered] = word_f1(str(answer), "" if gold is None else str(gold))
    return rewards


def word_f1(answer: str, gold: str) -> float:
    """F1 of the sets of lower-cased words; 0 where either has none or nothing is shared."""
    a, b = (set(text.lower().translate(_SPACED).split()) for text in (answer, gold))
    shared = len(a & b)
    return 2 * shared / (len(a) + len(b)) if shared else 0.0
