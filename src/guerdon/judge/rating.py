"""Pointwise: the judge's rating of every rollout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.judge.asked import AskedSampleReward, Questions, material
from guerdon.judge.exchange import Query, Reply
from guerdon.judge.judge import Judge
from guerdon.scoring import Row, Verdict, missing


class RateReward(AskedSampleReward):
    """Rating of every rollout: the mean of the votes v_1..v_n in which a verdict was found.

        r_i = (mean_k v_ik - low) / (high - low)      with scale="unit"
        r_i = mean_k v_ik                             with scale="raw"

    Parts (level rollout): `rating` (raw mean), `spread` (standard deviation of the votes, ddof 0), `read`
    (share of the votes with a verdict).

    Args:
        judge, template, votes, read, min_mass, on_error: see `AskedReward`. Templates shipped: rating (1 to
            10), rating_reference, assessment (0 to 100), digit (1 to 5; also by log-probs: the expected
            digit), correct (yes or no against the reference; by log-probs: P(yes)).
        scale: "unit" or "raw".
        min_votes: fewer votes with a verdict leave the row missing.
        blank: what an answer of white space is: "low" (the lowest rating, without asking: judges are
            fooled by empty answers), "nan", or "ask".
    """

    kind = "judge.rate"

    def __init__(
        self,
        judge: Judge,
        template: Any = "rating",
        votes: int = 1,
        read: str = "text",
        scale: str = "unit",
        min_votes: int = 1,
        blank: str = "low",
        min_mass: float = 0.5,
        on_error: str | float = "nan",
    ) -> None:
        if scale not in ("unit", "raw"):
            raise RecipeError(f"judge.rate.scale must be 'unit' or 'raw', got {scale!r}")
        if blank not in ("low", "nan", "ask"):
            raise RecipeError(f"judge.rate.blank must be 'low', 'nan' or 'ask', got {blank!r}")
        if not 1 <= min_votes <= votes:
            raise RecipeError(f"judge.rate.min_votes must lie in [1, votes], got {min_votes!r}")
        super().__init__(
            judge, template, votes, read, min_mass, on_error, scale=scale, min_votes=min_votes, blank=blank
        )
        self.scale, self.min_votes, self.blank = scale, min_votes, blank

    def plan_rows(self, rows: Sequence[Row]) -> tuple[list[range | Verdict], list[Query]]:
        """Per row the places of its votes, or a verdict that needs no judge."""
        questions = Questions()
        found: list[range | Verdict] = []
        for row in rows:
            if self.blank != "ask" and not row.completion.strip():
                low = self.template.reader.low
                found.append(Verdict(low) if self.blank == "low" else missing("the answer is empty"))
                continue
            messages = self.question(material(row))
            found.append(
                messages
                if isinstance(messages, Verdict)
                else questions.add(messages, self.votes, self.labels)
            )
        return found, questions.queries

    def conclude(
        self, rollouts: Rollouts, plan: list[range | Verdict], replies: Sequence[Reply]
    ) -> tuple[Signal, dict[str, Signal]]:
        """Ratings and their parts."""
        tallies = self._tallies(plan, replies)
        raw = [tally.verdict(self.min_votes) for tally in tallies]
        causes = {i: v.cause or "unknown" for i, v in enumerate(raw) if math.isnan(v.value)}
        parts = {
            "rating": Signal(np.array([v.value for v in raw]), "rollout", "rating", causes),
            "spread": Signal(np.array([t.spread for t in tallies]), "rollout", "spread", causes),
            "read": Signal(np.array([t.share for t in tallies]), "rollout", "read"),
        }
        return self.signal([self._scaled(verdict) for verdict in raw]), parts

    def decide(self, plan: list[range | Verdict], replies: Sequence[Reply]) -> list[Verdict]:
        """The rating of every row."""
        return [self._scaled(tally.verdict(self.min_votes)) for tally in self._tallies(plan, replies)]

    def _tallies(self, plan: list[range | Verdict], replies: Sequence[Reply]) -> list[_Tally]:
        return [
            _Tally([entry])
            if isinstance(entry, Verdict)
            else _Tally([self.opinion(replies[at]) for at in entry])
            for entry in plan
        ]

    def _scaled(self, verdict: Verdict) -> Verdict:
        if self.scale == "raw":
            return verdict
        low, high = self.template.reader.low, self.template.reader.high
        return Verdict((verdict.value - low) / (high - low), verdict.cause, verdict.detail)


class _Tally:
    """The votes on one row."""

    def __init__(self, votes: Sequence[Verdict]) -> None:
        self.votes = votes
        self.values = [vote.value for vote in votes if not math.isnan(vote.value)]

    @property
    def share(self) -> float:
        return len(self.values) / len(self.votes)

    @property
    def spread(self) -> float:
        return float(np.std(self.values)) if self.values else math.nan

    def verdict(self, min_votes: int) -> Verdict:
        """Mean of the votes, or the first cause where too few have a verdict."""
        if len(self.values) >= max(1, min_votes if len(self.votes) >= min_votes else 1):
            return Verdict(math.fsum(self.values) / len(self.values))
        first = next(vote for vote in self.votes if math.isnan(vote.value))
        return missing(first.cause or "unknown", **first.detail)
