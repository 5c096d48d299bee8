"""The peer library math-verify in killable workers: for what the fast path leaves open, and as a grader."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

from guerdon.errors import RecipeError
from guerdon.scoring import Row, SampleReward, Verdict, missing
from guerdon.verify.maths import workers
from guerdon.verify.maths.affordable import refusal
from guerdon.verify.maths.decide import Decision
from guerdon.verify.maths.references import reference_key, references_of

BUDGET = 2.0


def ask_math_verify(
    pairs: Sequence[tuple[str, str | None]], budget: float, processes: int | None
) -> list[Decision]:
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

    def __init__(
        self, budget: float = BUDGET, processes: int | None = None, on_error: str | float = "nan"
    ) -> None:
        super().__init__(on_error)
        if not budget > 0:
            raise RecipeError(f"verify.math_verify.budget must be positive seconds, got {budget!r}")
        self.budget, self.processes = float(budget), processes

    def key(self, row: Row) -> Hashable:
        return row.completion, reference_key(row.reference)

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
            best = best_of([replace_path(_decision(next(replies))) for _ in accepted])
            detail = {"path": "math-verify", "why": best.cause}
            value = math.nan if best.equal is None else float(best.equal)
            verdicts.append(Verdict(value, best.path if best.equal is None else None, detail))
        return verdicts


def replace_path(decision: Decision) -> Decision:
    """A cause stays; a verdict's path is the peer's name."""
    return decision if decision.equal is None else decision._replace(path="math-verify")


def best_of(decisions: Sequence[Decision]) -> Decision:
    """A right reference decides; else one that could not be decided; else a wrong one."""
    for wanted in (True, None):
        for decision in decisions:
            if decision.equal is wanted:
                return decision
    return decisions[0]


def math_verify(
    budget: float = BUDGET, processes: int | None = None, on_error: str | float = "nan"
) -> MathVerify:
    """Reward: the peer library math-verify on the whole completion, for second opinions and benchmarks.

    Args:
        budget: wall-clock seconds per item.
        processes: worker processes.
        on_error: as for `math`.

    Reference: math-verify, Hugging Face, https://github.com/huggingface/Math-Verify
    """
    return MathVerify(budget, processes, on_error)
