"""RLPR: mean probability of the reference behind the thought, less that without a thought."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.kernels import label_var
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError
from guerdon.intrinsic.likelihoods import reduce_logprobs
from guerdon.intrinsic.references import NO_OPENING, reference_scores
from guerdon.intrinsic.reward import Intrinsic, Values, asked_of
from guerdon.intrinsic.running import Average
from guerdon.intrinsic.scoring import engine_of
from guerdon.systems.catalogue import system
from guerdon.verify.markup import once_in_order


@system(
    "rlpr",
    title="RLPR: Extrapolating RLVR to General Domains without Verifiers",
    arxiv="2506.18254",
    family="intrinsic",
    kind="reward",
)
def rlpr(
    reduce: str = "mean_prob",
    debias: bool = True,
    format_weight: float = 0.1,
    repetition: bool = True,
    opening: str = "<answer>",
    baseline: str = "<think></think><answer>",
    engine: Any = None,
) -> Intrinsic:
    """r_i = (1 - w) max(f_i - f_0, 0) + w format_i [- 1 for repetition], per rollout.

    f is the mean probability of the reference's tokens in the place of the answer, f_0 the same behind an
    empty thought. A completion that never opens an answer has f - f_0 := 0.

    Args:
        reduce: of the reference's log-probs. debias: subtract f_0 and clip at 0.
        format_weight: w, in [0, 1]; -1: no format term, and a malformed completion is worth -1.
        repetition: take 1 off a non-zero reward where a window of 10 words occurs at least 10 times.
        opening, baseline: the mark the reference follows, and the empty thought.
        engine: who is asked; default: the policy of the run.

    Reference: Yu et al., arXiv 2506.18254; verl/workers/reward_manager/prob.py of OpenBMB/RLPR, without its
    cast of probabilities to bfloat16.
    """

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        asked = engine_of(engine, ctx, "rlpr")
        scored = reference_scores(asked, rollouts, opening)
        f = reduce_logprobs(scored.logprobs.values, scored.logprobs.offsets, reduce)
        f_0 = np.zeros(len(f))
        if debias:
            bare = reference_scores(asked, rollouts, thoughts=[baseline] * len(rollouts))
            f_0 = reduce_logprobs(bare.logprobs.values, bare.logprobs.offsets, reduce)
        unopened = [i for i, cause in scored.causes.items() if cause == NO_OPENING]
        f[unopened] = f_0[unopened] if debias else 0.0
        texts = [rollouts.text(i) for i in range(len(rollouts))]
        formed = np.array([well_formed(text) for text in texts])
        values = combine(f, f_0, formed, format_weight, clip=debias)
        if repetition:
            repeated = np.array([repeats(text) for text in texts])
            values = np.where(repeated & (values != 0), values - 1.0, values)
        causes = {i: cause for i, cause in scored.causes.items() if np.isnan(values[i])}
        return values, causes

    return Intrinsic("rlpr", score, asks=asked_of(engine))


def combine(
    f: np.ndarray, f_0: np.ndarray, formed: np.ndarray, weight: float = 0.1, clip: bool = True
) -> np.ndarray:
    """(1 - w) max(f - f_0, 0) + w format; with w = -1 the first part, -1 where malformed."""
    gain = np.asarray(f, np.float64) - f_0
    gain = np.where(gain < 0, 0.0, gain) if clip else gain
    if weight == -1:
        return np.where(np.isnan(gain) | formed, gain, -1.0)
    return (1.0 - weight) * gain + weight * np.asarray(formed, np.float64)


def well_formed(text: str) -> bool:
    """Starts with <think>; the four tags occur once and in order; anything may follow."""
    return text.startswith("<think>") and once_in_order(text, ("think", "answer"))


def repeats(text: str, words: int = 10, times: int = 10) -> bool:
    """Whether one window of `words` words (split on white space and _) occurs at least `times` times."""
    split = [word for word in re.split(r"[\s_]+", text) if word]
    windows = Counter(tuple(split[i : i + words]) for i in range(len(split) - words + 1))
    return max(windows.values(), default=0) >= times


class DeviationFilter:
    """The filter `deviation` of recipes: keep prompts whose rewards deviate enough, std >= beta m, with m a
    running mean of the batches' mean std.

    Its state is saved with a run. The batch is not refilled: the steps after the start are smaller.

    Args:
        beta, ratio: of the threshold and the average. warm: batches whose mean std starts the average.
        start: calls before which nothing is dropped. source: the signal that is read.

    Reference: Yu et al., arXiv 2506.18254.
    """

    def __init__(
        self, beta: float = 0.5, ratio: float = 0.99, warm: int = 6, start: int = 10, source: str = "outcome"
    ) -> None:
        self.beta, self.start, self.source = beta, start, source
        self.average, self.calls = Average(ratio, warm), 0

    def __call__(self, rollouts: Rollouts) -> np.ndarray:
        """bool (rollouts,): what is kept; groups whose std cannot be had are dropped once it is active."""
        if self.source not in rollouts.signals:
            raise DataError(f"the deviation filter reads the signal {self.source!r}, which is not there")
        labels, n = rollouts.groups()
        std = np.sqrt(label_var(rollouts.signals[self.source].values, labels, n))
        self.calls += 1
        threshold = self.beta * self.average.add(
            float(np.nanmean(std)) if not np.isnan(std).all() else np.nan
        )
        if self.calls <= self.start or np.isnan(threshold):
            return np.ones(len(rollouts), bool)
        return (std >= threshold)[labels]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"calls": self.calls, "average": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.calls = int(state["calls"])
        self.average.load_state_dict(state["average"])
