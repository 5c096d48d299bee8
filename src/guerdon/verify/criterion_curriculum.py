"""Criteria of a rubric admitted a few at a time, and retired once they are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class CriterionCurriculum:
    """Criteria admitted in order: candidate -> active (at most `window` at a time) -> mastered.

    After a rollout, for each active criterion: ema <- (1 - a) ema + a success, success being that a positive
    criterion is met or a negative one is not. A criterion with ema > threshold (strictly) is mastered the
    next time active ones are asked for, and is not scored any more.

    Args:
        window: how many criteria of a case are active.
        threshold: of mastery.
        rate: a.

    Reference: pidneuralode/ORBIT, src/orbit/rubrics_rl/managers/curriculum.py (in the code only).
    """

    def __init__(self, window: int = 5, threshold: float = 0.9, rate: float = 0.1) -> None:
        self.window, self.threshold, self.rate = window, threshold, rate
        self._cases: dict[str, dict[int, list[Any]]] = {}

    def active(self, case: str, order: Sequence[int]) -> list[int]:
        """Criteria of a case to score now, in order; promotes candidates and retires mastered ones."""
        states = self._cases.setdefault(case, {int(j): ["candidate", 0.0] for j in order})
        chosen: list[int] = []
        for j in map(int, order):
            state = states.setdefault(j, ["candidate", 0.0])
            if state[0] == "active" and state[1] > self.threshold:
                state[0] = "mastered"
            if state[0] == "candidate" and len(chosen) < self.window:
                state[0] = "active"
            if state[0] == "active":
                chosen.append(j)
        return chosen

    def update(self, case: str, met: Mapping[int, bool], points: Mapping[int, float]) -> None:
        """Take in the judgements of one rollout; criteria that are not active are left alone."""
        for j, found in met.items():
            state = self._cases.get(case, {}).get(int(j))
            if state is not None and state[0] == "active":
                success = float(found if points.get(j, 0.0) >= 0 else not found)
                state[1] = (1.0 - self.rate) * state[1] + self.rate * success

    def state_dict(self) -> dict[str, Any]:
        """Everything the curriculum remembers, as plain data."""
        return {
            case: {str(j): list(state) for j, state in states.items()} for case, states in self._cases.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._cases = {case: {int(j): list(s) for j, s in states.items()} for case, states in state.items()}
