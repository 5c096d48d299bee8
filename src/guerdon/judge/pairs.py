"""Pairwise within a group: every rollout's win rate against the others, each pair judged in both orders."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.judge.asked import AskedReward, Questions, answered, material
from guerdon.judge.exchange import Query, Reply
from guerdon.judge.judge import Judge
from guerdon.judge.orders import RULES, consistent, resolve, schedule, win_rates
from guerdon.scoring import Row, Verdict, rows_of

_UNSCHEDULED = math.inf


@dataclass
class _Group:
    """A group as a tournament of its distinct answers."""

    rows: list[int]
    player: list[int]
    texts: list[str]
    games: list[tuple[int, int]] = field(default_factory=list)
    asked: dict[tuple[int, int], range | Verdict] = field(default_factory=dict)


class PairwiseReward(AskedReward):
    """Win rate of every rollout against the others of its group.

        r_i = mean over opponents j of w_ij,  w_ij = resolve(share of i shown first, share of i second)

    Every pair is judged in both orders. Equal answers tie, and an answer of white space loses against any
    other, both without asking. A pair with a missing order is missing. A group of one has nothing to
    compare.

    Parts (level rollout), over the pairs of the rollout: `win_rate`; `consistency`, the share in which both
    orders prefer the same answer; `first_place`, the mean share of the answer shown first (.5 without
    position bias); `judged`, the share of scheduled pairs with a result.

    Args:
        judge, template, votes, read, min_mass, on_error: see `AskedReward`. Templates shipped: preference
            (five levels), preference_letter, preference_json.
        rule: what disagreeing orders are worth: "mean", "agree" or "sign" (see `orders.resolve`).
        opponents: about how many others each answer meets; None: all (n (n - 1) / 2 pairs a group).
        min_share: a rollout with a smaller share of its pairs judged is missing.
    """

    kind = "judge.pairwise"

    def __init__(
        self,
        judge: Judge,
        template: Any = "preference",
        votes: int = 1,
        read: str = "text",
        rule: str = "mean",
        opponents: int | None = None,
        min_share: float = 0.5,
        min_mass: float = 0.5,
        on_error: str | float = "nan",
    ) -> None:
        if rule not in RULES:
            raise RecipeError(f"judge.pairwise.rule must be one of {', '.join(RULES)}, got {rule!r}")
        if opponents is not None and opponents < 1:
            raise RecipeError(f"judge.pairwise.opponents must be >= 1, got {opponents!r}")
        if not 0.0 <= min_share <= 1.0:
            raise RecipeError(f"judge.pairwise.min_share must lie in [0, 1], got {min_share!r}")
        super().__init__(
            judge,
            template,
            votes,
            read,
            min_mass,
            on_error,
            rule=rule,
            opponents=opponents,
            min_share=min_share,
        )
        reader = self.template.reader
        if (reader.low, reader.high) != (0.0, 1.0):
            raise RecipeError(
                f"judge.pairwise.template: {self.template.name!r} gives verdicts from {reader.low:g} to "
                f"{reader.high:g}; a pair needs win shares of A from 0 to 1 (see the template 'preference')"
            )
        self.rule, self.opponents, self.min_share = rule, opponents, min_share

    def plan(self, rollouts: Rollouts) -> tuple[list[_Group], list[Query]]:
        """The games of every group and the questions they need."""
        rows, (labels, n_groups) = rows_of(rollouts), rollouts.groups()
        questions, groups = Questions(), []
        members: list[list[int]] = [[] for _ in range(n_groups)]
        for row, label in enumerate(labels.tolist()):
            members[label].append(row)
        for own in members:
            texts: dict[str, int] = {}
            player = [texts.setdefault(rows[row].completion, len(texts)) for row in own]
            group = _Group(own, player, list(texts), schedule(len(texts), self.opponents))
            for i, j in group.games:
                for a, b in ((i, j), (j, i)):
                    group.asked[a, b] = self._ask(questions, rows[own[0]], group.texts[a], group.texts[b])
            groups.append(group)
        return groups, questions.queries

    def _ask(self, questions: Questions, row: Row, first: str, second: str) -> range | Verdict:
        """One order of one pair: the places of its votes, or the share of the first without asking."""
        if not first.strip() or not second.strip():
            return Verdict(0.5 + 0.5 * (bool(first.strip()) - bool(second.strip())))
        given = {name: text for name, text in material(row).items() if name != "answer"}
        messages = self.question({**given, "answer_a": first, "answer_b": second})
        return messages if isinstance(messages, Verdict) else questions.add(messages, self.votes, self.labels)

    def conclude(
        self, rollouts: Rollouts, plan: list[_Group], replies: Sequence[Reply]
    ) -> tuple[Signal, dict[str, Signal]]:
        """Win rates and their parts."""
        n = len(rollouts)
        columns = {name: np.full(n, np.nan) for name in ("win_rate", "consistency", "first_place", "judged")}
        causes: dict[int, str] = {}
        for group in plan:
            self._settle(group, replies, columns, causes)
        parts = {
            name: Signal(values, "rollout", name, _where(causes, values)) for name, values in columns.items()
        }
        rates = columns["win_rate"]
        return self.signal([Verdict(float(rates[i]), causes.get(i)) for i in range(n)]), parts

    def both_orders(
        self, prompts: Sequence[Any], first: Sequence[str], second: Sequence[str]
    ) -> list[tuple[Verdict, Verdict]]:
        """Win shares of `first` over `second`, shown first and shown second: a pair of verdicts per pair.

        NaN and why where an order has no verdict; its `detail` holds "reply" or "mass" where the judge did
        answer, but not clearly.
        """
        questions = Questions()
        asked = [
            (self._ask(questions, Row(prompt, ""), a, b), self._ask(questions, Row(prompt, ""), b, a))
            for prompt, a, b in zip(prompts, first, second, strict=True)
        ]
        replies = self.judge.ask(questions.queries, self.sampling)
        shares = [tuple(self._vote(order, replies) for order in orders) for orders in asked]
        return [(ab, Verdict(1.0 - ba.value, ba.cause, ba.detail)) for ab, ba in shares]

    def _vote(self, asked: range | Verdict, replies: Sequence[Reply]) -> Verdict:
        """Mean share of the votes with a verdict; else a cause, unclear answers before missing ones."""
        votes = [asked] if isinstance(asked, Verdict) else [self.opinion(replies[at]) for at in asked]
        values = [vote.value for vote in votes if not math.isnan(vote.value)]
        if values:
            return Verdict(math.fsum(values) / len(values))
        return next((vote for vote in votes if answered(vote)), votes[0])

    def _settle(
        self,
        group: _Group,
        replies: Sequence[Reply],
        columns: dict[str, np.ndarray],
        causes: dict[int, str],
    ) -> None:
        """Fill in the rows of one group."""
        size = len(group.texts)
        shares, agreed = np.full((size, size), _UNSCHEDULED), np.full((size, size), np.nan)
        first = np.full((size, size), np.nan)
        why: list[Counter[str]] = [Counter() for _ in range(size)]
        for i, j in group.games:
            forward, backward = (
                self._share(group.asked[pair], replies, why, pair) for pair in ((i, j), (j, i))
            )
            shares[i, j] = resolve(forward, 1.0 - backward, self.rule)
            shares[j, i] = 1.0 - shares[i, j]
            agreed[i, j] = agreed[j, i] = consistent(forward, 1.0 - backward)
            first[i, j] = first[j, i] = (forward + backward) / 2.0
        rates, judged = win_rates(shares, group.player, self.min_share)
        for at, row in enumerate(group.rows):
            own = group.player[at]
            columns["win_rate"][row], columns["judged"][row] = rates[at], judged[at]
            columns["consistency"][row] = _mean(agreed[own])
            columns["first_place"][row] = _mean(first[own])
            if math.isnan(rates[at]):
                alone = len(group.rows) == 1
                common = why[own].most_common(1)
                causes[row] = (
                    "a group of one: nothing to compare with"
                    if alone
                    else common[0][0]
                    if common
                    else "unknown"
                )

    def _share(
        self,
        asked: range | Verdict,
        replies: Sequence[Reply],
        why: list[Counter[str]],
        pair: tuple[int, int],
    ) -> float:
        """Share of the answer shown first: the mean of the votes with a verdict, NaN where there is none."""
        votes = [asked] if isinstance(asked, Verdict) else [self.opinion(replies[at]) for at in asked]
        values = [vote.value for vote in votes if not math.isnan(vote.value)]
        if values:
            return math.fsum(values) / len(values)
        for player in pair:
            why[player].update(vote.cause or "unknown" for vote in votes)
        return math.nan


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _where(causes: dict[int, str], values: np.ndarray) -> dict[int, str]:
    """Causes of the values that are missing."""
    return {
        int(i): causes.get(int(i), "no pair was judged by the model")
        for i in np.flatnonzero(np.isnan(values))
    }
