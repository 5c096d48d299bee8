"""RLP: what a thought adds to the likelihood of the next tokens, over a slow copy that does not think."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.likelihoods import log_ratio, reduce_logprobs
from guerdon.intrinsic.references import reference_scores
from guerdon.intrinsic.reward import Intrinsic, Values
from guerdon.intrinsic.scoring import engine_of
from guerdon.systems.catalogue import system


class Teacher:
    """phi <- tau phi + (1 - tau) theta: a frozen engine that follows another; starts as its copy.

    Args:
        tau: share that stays, in [0, 1].
    """

    def __init__(self, tau: float = 0.999) -> None:
        if not 0.0 <= tau <= 1.0:
            raise RecipeError(f"rlp: tau must lie in [0, 1], got {tau!r}")
        self.tau, self.step = tau, -1
        self.engine: Any = None

    def at(self, policy: Any, step: int) -> Any:
        """The teacher at a training step; follows the policy once per new step."""
        if self.engine is None:
            self.engine = policy.clone()
        elif step > self.step:
            self.follow(policy)
        self.step = step
        return self.engine

    def follow(self, policy: Any) -> None:
        """One exponential step towards the policy."""
        if self.engine is None:
            self.engine = policy.clone()
        new = policy.state_dict()
        old = self.engine.state_dict()
        self.engine.load_state_dict({k: averaged(old[k], new[k], self.tau) for k in old})


def averaged(old: Any, new: Any, tau: float) -> Any:
    """tau old + (1 - tau) new."""
    return tau * old + (1.0 - tau) * new


@system(
    "rlp",
    title="RLP: Reinforcement as a Pretraining Objective",
    arxiv="2510.01265",
    family="intrinsic",
    kind="reward",
)
def rlp(reduce: str = "sum", tau: float = 0.999, engine: Any = None, teacher: Any = None) -> Intrinsic:
    """r_i = log p_theta(x_t | x_<t, c_i) - log p_phi(x_t | x_<t), per rollout.

    The prompt is the text so far, the completion the thought, the reference the text that follows (one or
    more tokens). phi is an exponential average of the policy, made in the first call.

    Args:
        reduce: "sum" or "mean" over the tokens that follow.
        tau: share of phi that stays per step.
        engine: theta; default: the policy of the run. teacher: phi, held fixed; default: the average.

    The advantage is G/(G-1) (r - mean), i.e. `credit: {use: rloo}`. The average is not part of a run's saved
    state: a resumed run starts it anew from the policy.

    Reference: Hatamizadeh et al., arXiv 2510.01265; NVlabs/RLP.
    """
    if reduce not in ("sum", "mean"):
        raise RecipeError(f"rlp: reduce is sum or mean, got {reduce!r}")
    slow = Teacher(tau)

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        asked = engine_of(engine, ctx, "rlp")
        phi = teacher if teacher is not None else slow.at(asked, ctx.step if ctx else 0)
        with_thought = reference_scores(asked, rollouts, opening="")
        without = reference_scores(phi, rollouts, thoughts=[""] * len(rollouts))
        new, old = (
            reduce_logprobs(s.logprobs.values, s.logprobs.offsets, reduce) for s in (with_thought, without)
        )
        return log_ratio(new, old), {**without.causes, **with_thought.causes}

    return Intrinsic("rlp", score, tools={"teacher": slow})


def places_in_text(text: str, every: int, ahead: int = 1, start: int = 1) -> tuple[list[str], list[str]]:
    """Prompts and references out of plain text: every `every` characters, what is read and what follows.

    Raises:
        DataError: the text is too short for one place.
    """
    at = np.arange(start, len(text) - ahead + 1, every).tolist()
    if not at:
        raise DataError(f"rlp: a text of {len(text)} characters has no place with {ahead} ahead")
    return [text[:i] for i in at], [text[i : i + ahead] for i in at]
