"""A critic: the judge names the first wrong step of a solution."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError
from guerdon.judge.asked import AskedReward, Questions, answered, prompt_text
from guerdon.judge.exchange import Query, Reply
from guerdon.judge.judge import Judge
from guerdon.scoring import Verdict, missing

NO_ERROR = -1
_TAG = re.compile(r"<(?=\s{0,8}/?\s{0,8}paragraph)", re.IGNORECASE)


class FirstErrorReward(AskedReward):
    """1 for every step before the first wrong one, 0 from there on; step level, text rollouts.

        value_k = [e = -1 or k < e],  e = majority of the votes (the first met wins a tie)

    where e counts steps from 0 and -1 says that all are right. Steps are shown as numbered paragraphs; tags
    that a solution writes itself are broken, so that it cannot number its own. A number that no step has is
    no verdict. Where no vote has a verdict, all steps of the rollout are missing.

    Args:
        judge, template, votes, on_error: see `AskedReward`. Template shipped: first_error.

    Raises:
        DataError: no partition "step" over text.

    Reference: the critics of Zheng et al., ProcessBench, arXiv 2412.06559.
    """

    kind = "judge.first_error"

    def __init__(
        self, judge: Judge, template: Any = "first_error", votes: int = 1, on_error: str | float = "nan"
    ) -> None:
        super().__init__(judge, template, votes, on_error=on_error)

    def plan(self, rollouts: Rollouts) -> tuple[list[tuple[int, range | Verdict]], list[Query]]:
        """Per rollout its number of steps, and the places of its votes or why it is not asked about."""
        questions, found = Questions(), []
        for row, steps in enumerate(_steps(rollouts)):
            given = {"answer": numbered(steps)}
            if rollouts.prompt is not None:
                given["prompt"] = prompt_text(rollouts.prompt[row])
            asked = self.question(given) if steps else missing("the solution has no steps")
            found.append(
                (len(steps), asked if isinstance(asked, Verdict) else questions.add(asked, self.votes, ()))
            )
        return found, questions.queries

    def conclude(
        self, rollouts: Rollouts, plan: list[tuple[int, range | Verdict]], replies: Sequence[Reply]
    ) -> tuple[Signal, dict[str, Signal]]:
        """The steps' values and, as part `first_error` (rollout level), the indices."""
        errors = self._errors(plan, replies)
        steps = [
            Verdict(error.value if math.isnan(error.value) else float(not 0 <= error.value <= k), error.cause)
            for (size, _), error in zip(plan, errors, strict=True)
            for k in range(size)
        ]
        signal = self.signal(steps)
        causes = {i: e.cause or "unknown" for i, e in enumerate(errors) if math.isnan(e.value)}
        index = Signal(np.array([e.value for e in errors], np.float64), "rollout", "first_error", causes)
        return Signal(signal.values, "step", signal.name, signal.causes), {"first_error": index}

    def first_errors(self, rollouts: Rollouts) -> list[Verdict]:
        """The index of every rollout's first wrong step (-1: none); NaN and why where there is no verdict."""
        plan, queries = self.plan(rollouts)
        return self._errors(plan, self.judge.ask(queries, self.sampling))

    def _errors(self, plan: Sequence[tuple[int, range | Verdict]], replies: Sequence[Reply]) -> list[Verdict]:
        return [
            asked
            if isinstance(asked, Verdict)
            else majority([self._index(replies[at], size) for at in asked])
            for size, asked in plan
        ]

    def _index(self, reply: Reply, size: int) -> Verdict:
        said = self.opinion(reply)
        if said.value >= size:
            return missing("judge: a number that no step has", reply=(reply.text or "")[-400:])
        return said


def majority(votes: Sequence[Verdict]) -> Verdict:
    """The value most votes give, those without a verdict left out; the first met wins a tie.

    Without any, the cause of a reply that could not be read goes before one of a reply that did not come.
    """
    counts = Counter(vote.value for vote in votes if not math.isnan(vote.value))
    if counts:
        return Verdict(counts.most_common(1)[0][0])
    return next((vote for vote in votes if answered(vote)), votes[0])


def numbered(steps: Sequence[str]) -> str:
    """Steps as paragraphs with their numbers; tags in them that look like these are broken."""
    return "\n".join(
        f"<paragraph_{k}>\n{_TAG.sub('< ', step.strip())}\n</paragraph_{k}>" for k, step in enumerate(steps)
    )


def _steps(rollouts: Rollouts) -> list[list[str]]:
    if rollouts.completion is None or rollouts.tokens is not None or "step" not in rollouts.partitions:
        raise DataError(
            "judge.first_error reads the steps of text: rollouts without tokens and with a partition "
            '"step" (make one with guerdon.data.split)'
        )
    ends = rollouts.partitions["step"]
    texts = [rollouts.text(row) for row in range(len(rollouts))]
    return [[text[a:b] for a, b in pairwise([0, *ends[row].tolist()])] for row, text in enumerate(texts)]
