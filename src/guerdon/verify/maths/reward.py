"""verify.math: is the final answer right? A reward of one value per rollout, 1.0 or 0.0.

Most answers are decided by the exact fast path in this process; what needs a computer algebra system goes
to math-verify in killable worker processes. Each verdict records the path taken; what could not be decided
is NaN with a cause.
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, SampleReward, Verdict, missing
from guerdon.verify.extract import Extracted, Extractor, extractor, last_boxed, last_marked
from guerdon.verify.maths import workers
from guerdon.verify.maths.affordable import refusal
from guerdon.verify.maths.decide import Decision, decide
from guerdon.verify.maths.locate import locate

BUDGET = 2.0
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
        return row.completion, _reference_key(row.reference)

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
        decisions = tuple(decide(gold, found.text) for gold in golds)
        question = _Question(golds, found, decisions)
        best = _best(decisions)
        if best.equal is None and self.fallback and any(_open(d) for d in decisions):
            return question
        return _verdict(best, found)

    def _resolve(self, questions: Sequence[tuple[int, _Question]]) -> list[Verdict]:
        """Ask math-verify about every open pair; the other pairs keep their decisions."""
        if not questions:
            return []
        if not workers.available():
            why = f"{workers.NEEDS}: {workers.INSTALL}"
            return [
                missing(workers.NEEDS, path="foreign", answer=q.found.text, how=q.found.how, why=why) for _, q in questions
            ]
        pairs = [(gold, q.found.text) for _, q in questions for gold, d in zip(q.golds, q.decisions, strict=True) if _open(d)]
        answers = iter(ask_math_verify(pairs, self.budget, self.processes))
        return [
            _verdict(_best(tuple(next(answers) if _open(d) else d for d in q.decisions)), q.found) for _, q in questions
        ]

    def _with_second(self, rows: Sequence[Row], verdicts: list[Verdict]) -> list[Verdict]:
        """Verdicts with math-verify's own opinion on the whole text beside them."""
        from guerdon.verify.second_opinions import with_second

        return with_second(verdicts, MathVerify(budget=self.budget, processes=self.processes).score_batch(rows))


def _open(decision: Decision) -> bool:
    return decision.equal is None and decision.path == "foreign"


def _best(decisions: Sequence[Decision]) -> Decision:
    """A right reference decides; else one that could not be decided; else a wrong one."""
    for wanted in (True, None):
        for decision in decisions:
            if decision.equal is wanted:
                return decision
    return decisions[0]


def _verdict(decision: Decision, found: Extracted) -> Verdict:
    detail: dict[str, Any] = {"path": decision.path, "answer": found.text, "how": found.how}
    if decision.cause:
        detail["why"] = decision.cause
    if decision.equal is None:
        return Verdict(_math.nan, _CAUSES.get(decision.path, decision.path), detail)
    return Verdict(float(decision.equal), None, detail)


def references_of(reference: Any) -> tuple[str, ...] | str:
    """The accepted answers of a sample as text, or why there are none.

    A text that holds a worked solution (`#### 18`, `A: 18`, a box) stands for its final answer.
    """
    if isinstance(reference, str):
        text = reference.strip()
        return (_final(text),) if text else "missing reference"
    if isinstance(reference, bool) or reference is None:
        return "missing reference" if reference is None else (str(reference),)
    if isinstance(reference, int | float | Fraction):
        return (repr(reference) if isinstance(reference, float) else str(reference),)
    if isinstance(reference, list | tuple) and reference:
        found: list[str] = []
        for item in reference:
            texts = references_of(item) if not isinstance(item, list | tuple) else "nested references"
            if isinstance(texts, str):
                return texts
            found += texts
        return tuple(found)
    if hasattr(reference, "item") and getattr(reference, "ndim", None) == 0:  # a NumPy scalar
        return references_of(reference.item())
    return "missing reference" if isinstance(reference, list | tuple) else f"reference is {type(reference).__name__}"


def _final(text: str) -> str:
    if "####" in text or ("\nA:" in text):
        return last_marked(text) or text
    if len(text) > 40 and "\\boxed" in text:
        return last_boxed(text) or text
    return text


def _reference_key(reference: Any) -> Hashable:
    return tuple(map(str, reference)) if isinstance(reference, list) else (type(reference).__name__, str(reference))


def ask_math_verify(pairs: Sequence[tuple[str, str | None]], budget: float, processes: int | None) -> list[Decision]:
    """math-verify's decision on bare answers, each within a wall-clock budget."""
    refused = [refusal(gold) or refusal(text or "") for gold, text in pairs]
    requests = [
        {"op": "equal", "gold": gold, "prediction": text}
        for (gold, text), reason in zip(pairs, refused, strict=True)
        if reason is None
    ]
    replies = iter(workers.shared_pool(processes).map(requests, budget))
    return [
        Decision(None, "guard", f"too large: {reason}") if reason is not None else _decision(next(replies))
        for reason in refused
    ]


def _decision(reply: dict[str, Any]) -> Decision:
    if "cause" in reply:
        return Decision(None, reply["cause"], reply.get("why", ""))
    return Decision(reply["equal"], "math-verify", reply.get("why", ""))


class MathVerify(SampleReward):
    """math-verify as it is, on whole texts, in killable workers; see `math_verify`."""

    name = "verify.math_verify"
    version = "1"

    def __init__(self, budget: float = BUDGET, processes: int | None = None, on_error: str | float = "nan") -> None:
        super().__init__(on_error)
        if not budget > 0:
            raise RecipeError(f"verify.math_verify.budget must be positive seconds, got {budget!r}")
        self.budget, self.processes = float(budget), processes

    def key(self, row: Row) -> Hashable:
        return row.completion, _reference_key(row.reference)

    def score_batch(self, rows: Sequence[Row]) -> list[Verdict]:
        """1.0 where math-verify accepts any reference."""
        if not workers.available():
            return [missing(workers.NEEDS, why=f"{workers.NEEDS}: {workers.INSTALL}") for _ in rows]
        golds = [references_of(row.reference) for row in rows]
        requests = [
            {"op": "grade", "gold": gold, "prediction": row.completion}
            for row, accepted in zip(rows, golds, strict=True)
            if not isinstance(accepted, str)
            for gold in accepted
        ]
        replies = iter(workers.shared_pool(self.processes).map(requests, self.budget))
        verdicts = []
        for accepted in golds:
            if isinstance(accepted, str):
                verdicts.append(missing(accepted))
                continue
            best = _best([replace_path(_decision(next(replies))) for _ in accepted])
            detail = {"path": "math-verify", "why": best.cause}
            value = _math.nan if best.equal is None else float(best.equal)
            verdicts.append(Verdict(value, best.path if best.equal is None else None, detail))
        return verdicts


def replace_path(decision: Decision) -> Decision:
    """A cause stays; a verdict's path is the peer's name."""
    return decision if decision.equal is None else decision._replace(path="math-verify")


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
            (`detail["second"]`).
        on_error: what an undecided row is worth: "nan", "raise", or a number.

    Returns:
        Signal at rollout level. NaN causes: "too large", "timeout", "unsupported", "unparsable",
        "needs math-verify", "missing reference", "worker died".

    Raises:
        RecipeError: an unknown extractor or a parameter out of range.
    """
    return MathReward(extract, references, fallback, budget, processes, second_opinion, on_error)


def math_verify(budget: float = BUDGET, processes: int | None = None, on_error: str | float = "nan") -> MathVerify:
    """Reward: the peer library math-verify on the whole completion, for second opinions and benchmarks.

    Args:
        budget: wall-clock seconds per item.
        processes: worker processes.
        on_error: as for `math`.

    Reference: math-verify, Hugging Face, https://github.com/huggingface/Math-Verify
    """
    return MathVerify(budget, processes, on_error)


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
