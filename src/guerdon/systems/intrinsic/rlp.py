"""RLP: what a thought adds to the likelihood of the next tokens, over a slow copy that does not think."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.likelihoods import log_ratio, reduce_logprobs
from guerdon.intrinsic.references import reference_scores
from guerdon.intrinsic.reward import Intrinsic, Values, asked_of
from guerdon.intrinsic.scoring import engine_of
from guerdon.systems.catalogue import system


class Teacher:
    """phi <- tau phi + (1 - tau) theta: a frozen engine that follows another; starts as its copy.

    Args:
        tau: share that stays, in [0, 1].
        policy: an engine of the same shape, from which `read` makes its own.
    """

    def __init__(self, tau: float = 0.999, policy: Any = None) -> None:
        if not 0.0 <= tau <= 1.0:
            raise RecipeError(f"rlp: tau must lie in [0, 1], got {tau!r}")
        self.tau, self.step, self._policy = tau, -1, policy
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

    def write(self, folder: Path) -> None:
        """Weights and step; nothing before the first call."""
        (folder / "teacher.json").write_text(json.dumps({"step": self.step}), encoding="utf-8")
        if self.engine is not None:
            self.engine.save(folder / "engine")

    def read(self, folder: Path) -> None:
        """Inverse of `write`."""
        self.step = int(json.loads((folder / "teacher.json").read_text(encoding="utf-8"))["step"])
        if (folder / "engine").is_dir():
            if self._policy is None:
                raise DataError("rlp: a saved average needs the policy it follows: give policy=...")
            self.engine = self._policy.clone()
            self.engine.load_model(folder / "engine")


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
def rlp(
    reduce: str = "sum", tau: float = 0.999, engine: Any = None, teacher: Any = None, policy: Any = None
) -> Intrinsic:
    """r_i = log p_theta(x_t | x_<t, c_i) - log p_phi(x_t | x_<t), per rollout.

    The prompt is the text so far, the completion the thought, the reference the text that follows (one or
    more tokens). phi is an exponential average of the policy, made in the first call.

    Args:
        reduce: "sum" or "mean" over the tokens that follow.
        tau: share of phi that stays per step.
        engine: theta; default: the policy of the run.
        teacher: phi, held fixed; default: ctx.engines["teacher"] where there is one, else the average.
        policy: the policy of the run, given by the loop.

    The advantage is G/(G-1) (r - mean), i.e. `credit: {use: rloo}`; plain text is the task `plain_text`. The
    average is saved with a run.

    Reference: Hatamizadeh et al., arXiv 2510.01265; NVlabs/RLP.
    """
    if reduce not in ("sum", "mean"):
        raise RecipeError(f"rlp: reduce is sum or mean, got {reduce!r}")
    slow = Teacher(tau, policy)

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        asked = engine_of(engine, ctx, "rlp")
        fixed = teacher if teacher is not None else ctx.engines.get("teacher") if ctx else None
        with_thought = reference_scores(asked, rollouts, opening="")
        phi = fixed if fixed is not None else slow.at(asked, ctx.step if ctx else 0)
        without = reference_scores(phi, rollouts, thoughts=[""] * len(rollouts))
        new, old = (
            reduce_logprobs(s.logprobs.values, s.logprobs.offsets, reduce) for s in (with_thought, without)
        )
        return log_ratio(new, old), {**without.causes, **with_thought.causes}

    weights = {} if teacher is not None else {"teacher": slow}
    return Intrinsic("rlp", score, weights=weights, asks=asked_of(engine))


def places_in_text(text: str, every: int, ahead: int = 1, start: int = 1) -> tuple[list[str], list[str]]:
    """Prompts and references out of plain text: every `every` characters, what is read and what follows.

    Raises:
        DataError: the text is too short for one place.
    """
    at = np.arange(start, len(text) - ahead + 1, every).tolist()
    if not at:
        raise DataError(f"rlp: a text of {len(text)} characters has no place with {ahead} ahead")
    return [text[:i] for i in at], [text[i : i + ahead] for i in at]
