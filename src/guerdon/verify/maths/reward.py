"""verify.math: is the final answer right? A reward of one value per rollout, 1.0 or 0.0.

Most answers are decided by the exact fast path in this process; what needs a computer algebra system goes
to math-verify in killable worker processes. Each verdict records the path taken; what could not be decided
is NaN with a cause.
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, SampleReward, Verdict, missing
from guerdon.verify.extract import Extracted, Extractor, extractor
from guerdon.verify.maths import workers
from guerdon.verify.maths.decide import Decision, decide
from guerdon.verify.maths.locate import locate
from guerdon.verify.maths.peer import BUDGET, MathVerify, ask_math_verify, best_of
from guerdon.verify.maths.references import reference_key, references_of

_CAUSES = {"guard": "too large", "unsafe": "unparsable", "foreign": "unsupported", "error": "internal error"}


@dataclass(frozen=True)
class _Question:
    """One sample: its golds, the located answer, and the fast path's decisions."""

    golds: tuple[str, ...]
    found: Extracted
    decisions: tuple[Decision, ...]


class MathReward(SampleReward):
    """See `math`."""

    name = "verify.math"
    version = "1"

    def __init__(
        self,
        extract: str | Sequence[str | Extractor] | Callable[[str], str | None] = "auto",
        references: str = "any",
        fallback: bool = True,
        budget: float = BUDGET,
        processes: int | None = None,
        second_opinion: bool = False,
        on_error: str | float = "nan",
    ) -> None:
        super().__init__(on_error)
        if references not in ("any", "all"):
            raise RecipeError(f"verify.math.references must be 'any' or 'all', got {references!r}")
        if not budget > 0:
            raise RecipeError(f"verify.math.budget must be positive seconds, got {budget!r}")
        self.references, self.fallback, self.budget = references, fallback, float(budget)
        self.processes, self.second_opinion = processes, second_opinion
        self._extract = self._extraction(extract)

    @staticmethod
    def _extraction(extract: Any) -> Callable[[str, str], Extracted]:
        if extract == "auto":
            return locate
        if extract == "bare":
            return lambda text, gold: Extracted(text, "bare")
        steps = [extract] if isinstance(extract, str) or callable(extract) else list(extract)
        chosen = extractor(steps)
        return lambda text, gold: chosen(text)

    def key(self, row: Row) -> Hashable:
        return row.completion, reference_key(row.reference)

    def score(self, row: Row) -> Verdict:
        """The verdict on one sample."""
        return self.score_batch([row])[0]

    def score_batch(self, rows: Sequence[Row]) -> list[Verdict]:
        """Verdicts in order; what the fast path leaves open goes to the workers together."""
        verdicts: list[Verdict | None] = []
        open_questions: list[tuple[int, _Question]] = []
        for row in rows:
            outcome = self._ask(row)
            if isinstance(outcome, _Question):
                open_questions.append((len(verdicts), outcome))
                verdicts.append(None)
            else:
                verdicts.append(outcome)
        for (place, _), verdict in zip(open_questions, self._resolve(open_questions), strict=True):
            verdicts[place] = verdict
        done = [verdict for verdict in verdicts if verdict is not None]
        return self._with_second(rows, done) if self.second_opinion else done

    def _ask(self, row: Row) -> Verdict | _Question:
        golds = references_of(row.reference)
        if isinstance(golds, str):
            return missing(golds)
        if self.references == "all" and len(golds) > 1:
            golds = (", ".join(f"{{{gold}}}" for gold in golds),)
        found = self._extract(row.completion, golds[0])
        if found.text is None:
            return Verdict(0.0, None, {"path": "no answer", "how": found.how})
        if found.hedged:
            return Verdict(0.0, None, {"path": "hedged", "how": found.how, "answer": found.text})
        if len(golds) == 1:
            best = decide(golds[0], found.text)
            decisions: tuple[Decision, ...] = (best,)
        else:
            decisions = tuple(decide(gold, found.text) for gold in golds)
            best = best_of(decisions)
        if best.equal is None and self.fallback and any(_open(d) for d in decisions):
            return _Question(golds, found, decisions)
        return _verdict(best, found)

    def _resolve(self, questions: Sequence[tuple[int, _Question]]) -> list[Verdict]:
        """Ask math-verify about every open pair; the other pairs keep their decisions."""
        if not questions:
            return []
        if not workers.available():
            why = f"{workers.NEEDS}: {workers.INSTALL}"
            return [
                missing(workers.NEEDS, path="foreign", answer=q.found.text, how=q.found.how, why=why)
                for _, q in questions
            ]
        pairs = [
            (gold, q.found.text)
            for _, q in questions
            for gold, d in zip(q.golds, q.decisions, strict=True)
            if _open(d)
        ]
        answers = iter(ask_math_verify(pairs, self.budget, self.processes))
        return [
            _verdict(best_of(tuple(next(answers) if _open(d) else d for d in q.decisions)), q.found)
            for _, q in questions
        ]

    def _with_second(self, rows: Sequence[Row], verdicts: list[Verdict]) -> list[Verdict]:
        """Verdicts with math-verify's own opinion on the whole text beside them."""
        from guerdon.verify.second_opinions import with_second

        return with_second(
            verdicts, MathVerify(budget=self.budget, processes=self.processes).score_batch(rows)
        )


def _open(decision: Decision) -> bool:
    return decision.equal is None and decision.path == "foreign"


def _verdict(decision: Decision, found: Extracted) -> Verdict:
    detail: dict[str, Any] = {"path": decision.path, "answer": found.text, "how": found.how}
    if decision.cause:
        detail["why"] = decision.cause
    if decision.equal is None:
        return Verdict(_math.nan, _CAUSES.get(decision.path, decision.path), detail)
    return Verdict(float(decision.equal), None, detail)


def math(
    extract: str | Sequence[str | Extractor] | Callable[[str], str | None] = "auto",
    references: str = "any",
    fallback: bool = True,
    budget: float = BUDGET,
    processes: int | None = None,
    second_opinion: bool = False,
    on_error: str | float = "nan",
) -> MathReward:
    """Reward: 1.0 where the completion's final answer equals the reference, 0.0 where not.

    What counts as equal: exact forms compare exactly; a decimal within 1e-6 relative; a reference marked
    as rounded (`\\approx 3.14`) accepts what rounds to it; sets and solution lists have no order, tuples
    have; a unit on one side is ignored, conflicting units are different; several guesses are wrong.

    Args:
        extract: "auto" (last box, else marked answer, else a text that is nothing but an answer, else the
            last number), "bare" (the completion is the answer), a name or sequence of names of
            `verify.extract.EXTRACTORS`, or a function from text to answer.
        references: where a sample's reference is a list: "any" of them is right, or "all" must be given.
        fallback: ask math-verify (in worker processes) where the fast path cannot decide.
        budget: wall-clock seconds an item may take in a worker before the worker is killed.
        processes: worker processes; default one per processor, at most eight.
        second_opinion: also grade every text with math-verify and record where the two differ
            (`detail["second"]`; `guerdon score --parts` writes the parts `second` and `differs`).
        on_error: what an undecided row is worth: "nan", "raise", or a number.

    Returns:
        Signal at rollout level. NaN causes: "too large", "timeout", "unsupported", "unparsable",
        "needs math-verify", "missing reference", "worker died".

    Raises:
        RecipeError: an unknown extractor or a parameter out of range.
    """
    return MathReward(extract, references, fallback, budget, processes, second_opinion, on_error)


def math_equal(gold: str, prediction: str, fallback: bool = True, budget: float = BUDGET) -> Verdict:
    """Whether two bare answers are equal: value 1.0, 0.0, or NaN with a cause; `detail["path"]` says how.

    Symmetric, except that only the gold may be marked as rounded.
    """
    decision = decide(gold, prediction)
    if _open(decision) and fallback:
        if not workers.available():
            return missing(workers.NEEDS, path="foreign", why=f"{workers.NEEDS}: {workers.INSTALL}")
        (decision,) = ask_math_verify([(gold, prediction)], budget, None)
    verdict = _verdict(decision, Extracted(prediction, "bare"))
    return replace(verdict, detail={k: v for k, v in verdict.detail.items() if k in ("path", "why")})
