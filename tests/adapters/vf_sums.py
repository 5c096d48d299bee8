"""A taskset of verifiers, loaded by its module's name: sums, of which the answer is the last word."""

from __future__ import annotations

from collections.abc import Iterable

import verifiers.v1 as vf

from guerdon.adapters.verifiers_rewards import task_reward

__all__ = ["Sums"]


class SumConfig(vf.TasksetConfig):
    largest: int = 9


class SumData(vf.TaskData):
    answer: str


class Sum(vf.Task[SumData]):
    right = task_reward("verify.match", "right", reference="answer")

    @vf.reward(weight=0.5)
    async def short(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply) < 5)


class Sums(vf.Taskset[Sum, SumConfig]):
    def load(self) -> Iterable[Sum]:
        for a in range(self.config.largest + 1):
            for b in range(10):
                data = SumData(prompt=f"{a} + {b} =", system_prompt="Add.", answer=str(a + b))
                yield Sum(data, self.config.task)
