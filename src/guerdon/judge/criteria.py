"""Checklists: which criteria every rollout meets, each criterion a part of its own."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.judge.asked import AskedSampleReward, Questions, material
from guerdon.judge.exchange import Query, Reply
from guerdon.judge.judge import Judge
from guerdon.judge.verdicts import reader
from guerdon.scoring import Row, Verdict, missing
from guerdon.verify.rubrics import mean_level, signed_points

COMBINE = ("mean", "raw", "positive", "signed_fallback")


@dataclass(frozen=True)
class Criterion:
    """One line of a checklist.

    Attributes:
        text: a statement that is true of an answer or not.
        name: of its part.
        points: weight; negative for mistakes.
    """

    text: str
    name: str
    points: float = 1.0


_Plan = list[tuple[tuple[Criterion, ...], Any]]


class ChecklistReward(AskedSampleReward):
    """Criteria met by every rollout. With s_k in [0, 1] how far criterion k is met and points w_k:

        mean:             sum_k s_k / K
        raw:              sum_k w_k s_k
        positive:         sum_k w_k s_k / sum_k max(w_k, 0), 0 where nothing is positive
        signed_fallback:  the same, over sum_k |w_k| where nothing is positive

    Parts (level rollout): one per criterion, un-weighted, named by it (`1`, `2` ... where it has no name);
    where checklists differ by row a row's absent criteria are missing.

    Args:
        judge, votes, read, min_mass, on_error: see `AskedReward`.
        criteria: texts, or {text, name, points} each; None: every row brings its own in `meta[field]`.
        field: key of `meta`, for criteria by row.
        together: one question per rollout for all criteria (cheaper), instead of one per criterion.
        partial: criteria may be met by half.
        combine: see above.
        unclear: what a criterion without verdict is: "nan" (the row is missing), "skip" (the others
            decide) or "unmet" (0, as the released ORBIT scorer does; a judge's outage then looks like a
            bad answer).
        template: instead of the shipped ones (criterion, criteria, and both with _levels).
    """

    kind = "judge.checklist"

    def __init__(
        self,
        judge: Judge,
        criteria: Sequence[Any] | None = None,
        field: str = "criteria",
        together: bool = False,
        partial: bool = False,
        combine: str = "mean",
        unclear: str = "nan",
        votes: int = 1,
        read: str = "text",
        template: Any = None,
        min_mass: float = 0.5,
        on_error: str | float = "nan",
    ) -> None:
        if combine not in COMBINE:
            raise RecipeError(f"judge.checklist.combine must be one of {', '.join(COMBINE)}, got {combine!r}")
        if unclear not in ("nan", "skip", "unmet"):
            raise RecipeError(f"judge.checklist.unclear must be 'nan', 'skip' or 'unmet', got {unclear!r}")
        if together and (votes > 1 or read != "text"):
            raise RecipeError(
                "judge.checklist.together reads one list from one reply: no votes and no log-probs"
            )
        self.criteria = None if criteria is None else checked_criteria(criteria)
        if self.criteria == ():
            raise RecipeError(
                "judge.checklist.criteria is empty: give a criterion, or None for criteria by row"
            )
        shipped = ("criteria" if together else "criterion") + ("_levels" if partial else "")
        options = {"criteria": self.criteria, "field": field, "combine": combine, "unclear": unclear}
        chosen = shipped if template is None else template
        super().__init__(judge, chosen, votes, read, min_mass, on_error, **options, partial=partial)
        made = self.template.reader
        if not together and not 0.0 <= made.low < made.high <= 1.0:
            raise RecipeError(
                f"judge.checklist.template: {self.template.name!r} gives verdicts from {made.low:g} to "
                f"{made.high:g}; a criterion is met from 0 to 1 (see the template 'criterion')"
            )
        self.field, self.together, self.partial = field, together, partial
        self.combine, self.unclear = combine, unclear

    def key(self, row: Row) -> Hashable:
        """What the judge is shown of a row, and the row's own criteria."""
        own = None if self.criteria is not None else repr(row.meta.get(self.field))
        return (super().key(row), own)

    def plan_rows(self, rows: Sequence[Row]) -> tuple[_Plan, list[Query]]:
        """Per row its criteria and, per criterion (or for all), the places of the replies."""
        questions = Questions()
        found: _Plan = []
        for row in rows:
            try:
                own = self._criteria_of(row)
            except RecipeError as error:
                found.append(((), missing(str(error))))
                continue
            found.append((own, self._ask(questions, material(row), own)))
        return found, questions.queries

    def _criteria_of(self, row: Row) -> tuple[Criterion, ...]:
        if self.criteria is not None:
            return self.criteria
        given = row.meta.get(self.field)
        if not isinstance(given, list | tuple) or not given:
            raise RecipeError(f"no criteria: meta[{self.field!r}] must be a list of them")
        return checked_criteria(given)

    def _ask(self, questions: Questions, given: dict[str, str], own: tuple[Criterion, ...]) -> Any:
        if self.together:
            numbered = "\n".join(f"{k}. {one_line(c.text)}" for k, c in enumerate(own, 1))
            messages = self.question({**given, "criteria": numbered, "count": str(len(own))})
            return messages if isinstance(messages, Verdict) else questions.add(messages, 1, ())
        asked: list[range | Verdict] = []
        for criterion in own:
            messages = self.question({**given, "criterion": criterion.text})
            asked.append(
                messages
                if isinstance(messages, Verdict)
                else questions.add(messages, self.votes, self.labels)
            )
        return asked

    def conclude(
        self, rollouts: Rollouts, plan: _Plan, replies: Sequence[Reply]
    ) -> tuple[Signal, dict[str, Signal]]:
        """Checklist scores, and every criterion's own signal."""
        names = list(dict.fromkeys(c.name for own, _ in plan for c in own))
        columns = {name: np.full(len(plan), np.nan) for name in names}
        causes: dict[str, dict[int, str]] = {
            name: dict.fromkeys(range(len(plan)), "no such criterion") for name in names
        }
        verdicts = self.decide(plan, replies)
        for row, verdict in enumerate(verdicts):
            for criterion, met in zip(plan[row][0], verdict.detail["met"], strict=True):
                columns[criterion.name][row] = met.value
                causes[criterion.name].pop(row)
                if math.isnan(met.value):
                    causes[criterion.name][row] = met.cause or "unknown"
        return self.signal(verdicts), {
            name: Signal(values, "rollout", name, causes[name]) for name, values in columns.items()
        }

    def decide(self, plan: _Plan, replies: Sequence[Reply]) -> list[Verdict]:
        """The score of every row; `detail["met"]` holds the verdict on each criterion."""
        found = []
        for own, asked in plan:
            met = [asked] * len(own) if isinstance(asked, Verdict) else self._met(own, asked, replies)
            total = asked if not own else self._total(own, met)
            found.append(Verdict(total.value, total.cause, {**total.detail, "met": met}))
        return found

    def _met(self, own: tuple[Criterion, ...], asked: Any, replies: Sequence[Reply]) -> list[Verdict]:
        """How far each criterion is met."""
        if not self.together:
            return [
                entry if isinstance(entry, Verdict) else _mean([self.opinion(replies[at]) for at in entry])
                for entry in asked
            ]
        reply = replies[asked[0]]
        if reply.text is None:
            return [missing(f"judge: {reply.cause}", detail=reply.detail)] * len(own)
        expected = reader({"use": "zero_one", "count": len(own), "partial": self.partial})
        levels = expected.label(reply.text)
        if levels is None:
            self.judge.usage.unread += 1
            return [missing("judge: no list of as many verdicts as criteria in the reply")] * len(own)
        return [Verdict(level) for level in levels]

    def _total(self, own: tuple[Criterion, ...], met: list[Verdict]) -> Verdict:
        unclear = [verdict for verdict in met if math.isnan(verdict.value)]
        kept = list(zip((c.points for c in own), (v.value for v in met), strict=True))
        if unclear and self.unclear == "nan":
            return unclear[0]
        if self.unclear == "skip":
            kept = [(points, level) for points, level in kept if not math.isnan(level)]
            if not kept:
                return unclear[0]
        points = [own_points for own_points, _ in kept]
        levels = [0.0 if math.isnan(level) else level for _, level in kept]
        return Verdict(combined(points, levels, self.combine))


def combined(points: Sequence[float], met: Sequence[float], how: str = "mean") -> float:
    """Score of a checklist from points w_k and levels s_k; see `ChecklistReward`. NaN for an empty one.

    Reference: "mean" AutoRule, arXiv 2506.15651; the others ORBIT, arXiv 2510.15859.
    """
    return mean_level(met) if how == "mean" else signed_points(points, met, how)


def checked_criteria(given: Sequence[Any]) -> tuple[Criterion, ...]:
    """Criteria from texts and mappings, with distinct names.

    Raises:
        RecipeError: one that is neither, without text, or with points that are no number.
    """
    if isinstance(given, str | Mapping):
        raise RecipeError(f"criteria must be a list, got {type(given).__name__}")
    found: list[Criterion] = []
    for k, item in enumerate(given, 1):
        fields = {"text": item} if isinstance(item, str) else item
        if isinstance(item, Criterion):
            fields = vars(item)
        if (
            not isinstance(fields, Mapping)
            or not str(fields.get("text") or fields.get("criterion") or "").strip()
        ):
            raise RecipeError(f"criterion {k} must be text or a mapping with 'text' (and 'name', 'points')")
        points = fields.get("points", fields.get("weight", 1.0))
        if isinstance(points, bool) or not isinstance(points, int | float) or not math.isfinite(points):
            raise RecipeError(f"criterion {k}: points must be a finite number, got {points!r}")
        name = str(fields.get("name") or k)
        if any(name == other.name for other in found):
            raise RecipeError(f"criterion {k}: the name {name!r} is taken by another one")
        found.append(Criterion(str(fields.get("text") or fields["criterion"]), name, float(points)))
    return tuple(found)


def one_line(text: str) -> str:
    """Text without line ends, so that one criterion cannot look like two."""
    return " ".join(text.split())


def _mean(votes: Sequence[Verdict]) -> Verdict:
    values = [vote.value for vote in votes if not math.isnan(vote.value)]
    return Verdict(math.fsum(values) / len(values)) if values else votes[0]
