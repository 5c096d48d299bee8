"""LaSeR: the log-prob of one reserved token behind the end of a completion as the model's own verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guerdon.context import Context
from guerdon.credit.baselines import MeanStd
from guerdon.credit.compose import Credit, Level
from guerdon.credit.view import View
from guerdon.data.kernels import label_moments
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import LossFn, TokenStats
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.reward import Intrinsic, Values, asked_of
from guerdon.intrinsic.scoring import Place, engine_of, own_ids, prompt_ids, score_places, with_ids
from guerdon.intrinsic.tails import Extended, with_tails
from guerdon.systems.catalogue import system

if TYPE_CHECKING:
    import torch

TRUNCATED = "cut off by the limit: it has no end to judge at"


@dataclass(frozen=True)
class SelfScores:
    """`own_advantages` of a signal, as a source of credit."""

    name: str
    min_std: float
    grpo: MeanStd

    def __call__(self, view: View) -> Signal:
        if self.name not in view.signals:
            raise DataError(f"laser: there is no signal {self.name!r}; name the reward's with source=...")
        labels, n = view.rollouts.groups()
        plain = self.grpo(view.signals["outcome"].values, labels, n, view.at("rollout"))
        own = own_advantages(plain, view.signals[self.name].values, labels, self.min_std)
        return Signal(own, "rollout", self.name)


def credit(
    source: str = "self", tau: float = 0.1, min_std: float = 0.1, after: int = 0, eps: float = 1e-6
) -> Credit:
    """GRPO's advantages mixed with those of the self-score: `mixed_advantages` from update `after` on.

    Args:
        source: the signal with this reward. tau, min_std: see `mixed_advantages`.
        after: updates of warm-up, 200 in the released scripts. eps: of GRPO's standard deviation.
    """
    if not 0 <= tau <= 1:
        raise RecipeError(f"tau must lie in [0, 1], got {tau!r}")
    grpo = MeanStd(1, eps)

    def share(ctx: Context) -> float:
        return tau if ctx.step >= after else 0.0

    return Credit(
        [
            Level("outcome", span="rollout", baseline=grpo, weight=lambda ctx: 1.0 - share(ctx)),
            Level(SelfScores(source, min_std, grpo), span="rollout", weight=share),
        ],
        name="laser",
    )


@system(
    "laser",
    title="LaSeR: Reinforcement Learning with Last-Token Self-Rewarding",
    arxiv="2510.14943",
    family="intrinsic",
    kind="reward",
    others={"credit": lambda factory: credit},
)
def laser(token: int, beta: float = 0.1, c_ref: float = -23.0, engine: Any = None) -> Intrinsic:
    """r_i = beta (log pi(z | x, y_i, eos) - c_ref), per rollout; a truncated one is missing.

    Args:
        token: id of the reserved token z, one that generation never uses.
        beta, c_ref: scale, and the log-prob that stands for the reference's (-23 for Qwen2.5).
        engine: who is asked; default: the policy of the run.

    Trained by the loss `{use: laser}`, mixed into advantages by the credit `{use: laser}`, and a weight of
    votes with `eval: {vote: ...}`; above .5 it says "correct".

    Reference: Yang et al., arXiv 2510.14943; dp_actor.py and ray_trainer.py of RUCBM/LaSeR, at temperature 1.
    """

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        asked = engine_of(engine, ctx, "laser")
        rollouts = with_ids(asked, rollouts)
        if not 0 <= token < asked.tokenizer.vocab_size:
            raise RecipeError(f"laser: token {token} is not in this tokenizer's vocabulary")
        eos = asked.tokenizer.eos
        places = [
            Place(context, (*own, eos), (token,))
            for context, own in zip(prompt_ids(asked, rollouts), own_ids(asked, rollouts), strict=True)
        ]
        scored = score_places(asked, places)
        out = np.full(len(rollouts), np.nan)
        out[scored.logprobs.lengths > 0] = self_scores(scored.logprobs.values, beta, c_ref)
        cut = np.asarray(rollouts.truncated, bool)
        out[cut] = np.nan
        causes = {**scored.causes, **dict.fromkeys(np.flatnonzero(cut).tolist(), TRUNCATED)}
        return out, causes

    return Intrinsic("laser", score, asks=asked_of(engine))


def self_scores(logprobs: np.ndarray, beta: float = 0.1, c_ref: float = -23.0) -> np.ndarray:
    """beta (l - c_ref)."""
    return beta * (np.asarray(logprobs, np.float64) - c_ref)


def class_weights(correct: np.ndarray) -> np.ndarray:
    """total / (2 #class) for every rollout's class, NaN (truncated) 0."""
    correct = np.asarray(correct, np.float64)
    known = ~np.isnan(correct)
    right = correct > 0.5
    out = np.zeros(len(correct))
    for side in (known & right, known & ~right):
        if side.any():
            out[side] = known.sum() / (2.0 * side.sum())
    return out


def calibration_loss(
    lengths: np.ndarray,
    correct: np.ndarray,
    beta: float = 0.1,
    c_ref: float = -23.0,
    alpha: float = 0.1,
    balanced: bool = True,
) -> LossFn:
    """alpha / N sum_i w_i (r_i - correct_i)^2 over rollouts whose last token is the reserved one.

    Args:
        lengths: (N,) tokens of every rollout, the reserved one included.
        correct: (N,) the verifier's 0 or 1; NaN for a truncated rollout, which stays in N.
        balanced: weight classes equally; otherwise w = 1.

    Returns:
        a loss for `engine.train_step` on rollouts that end with eos and the token, with entropy=False.
    """
    correct = np.asarray(correct, np.float64)
    weight = class_weights(correct) if balanced else (~np.isnan(correct)).astype(float)
    target = np.nan_to_num(correct)

    def loss(stats: TokenStats, rows: np.ndarray) -> tuple[torch.Tensor, Mapping[str, float]]:
        import torch

        last = torch.from_numpy(np.cumsum(np.asarray(lengths)[rows]) - 1).to(stats.logprobs.device)
        r = beta * (stats.logprobs[last] - c_ref)
        w, y = (torch.from_numpy(a[rows]).to(r) for a in (weight, target))
        value = alpha * (w * (r - y) ** 2).sum() / len(correct)
        return value, {"loss/laser": float(value.detach())}

    return loss


class Calibration:
    """The loss `laser` of recipes: `calibration_loss` on the run's rollouts, in the policy's own update.

    Args:
        token, beta, c_ref: as for the reward. alpha: weight of the loss. balanced: see `calibration_loss`.
        source: the signal of a verifier, 0 or 1.

    The token is read behind the end of the completion, at the sampling temperature: sample at 1. Rollouts
    that were truncated, or have no room left, count in N and add nothing.
    """

    def __init__(
        self,
        token: int,
        alpha: float = 0.1,
        beta: float = 0.1,
        c_ref: float = -23.0,
        source: str = "outcome",
        balanced: bool = True,
    ) -> None:
        self.token, self.alpha, self.beta, self.c_ref = token, alpha, beta, c_ref
        self.source, self.balanced = source, balanced

    def __call__(self, rollouts: Rollouts, engine: Any) -> Extended:
        if self.source not in rollouts.signals:
            raise DataError(f"the loss laser reads the signal {self.source!r}, which is not there")
        if not 0 <= self.token < engine.tokenizer.vocab_size:
            raise RecipeError(f"laser: token {self.token} is not in this tokenizer's vocabulary")
        assert rollouts.tokens is not None
        eos, prompts = engine.tokenizer.eos, prompt_ids(engine, rollouts)
        tails: list[tuple[int, ...]] = []
        for i, prompt in enumerate(prompts):
            row = rollouts.tokens[i]
            tail = (self.token,) if len(row) and row[-1] == eos else (eos, self.token)
            fits = len(prompt) + len(row) + len(tail) <= engine.context
            tails.append(tail if fits and not rollouts.truncated[i] else ())
        read = np.array([bool(tail) for tail in tails])
        correct = np.where(read, rollouts.signals[self.source].values, np.nan)
        longer = with_tails(rollouts, tails)
        assert longer.tokens is not None
        loss = calibration_loss(
            longer.tokens.lengths, correct, self.beta, self.c_ref, self.alpha, self.balanced
        )
        return Extended(longer, loss)


def own_advantages(
    advantages: np.ndarray, scores: np.ndarray, groups: np.ndarray, min_std: float = 0.1
) -> np.ndarray:
    """A_s = (r - mean) / std (ddof 1) of scores clipped to [0, 1] in the group; A where std <= min_std or the
    group is one. NaN scores (truncated) count as 0."""
    r = np.clip(np.nan_to_num(np.asarray(scores, np.float64)), 0.0, 1.0)
    _, labels = np.unique(groups, return_inverse=True)
    count, mean, m2 = label_moments(r, labels, int(labels.max(initial=-1)) + 1)
    std = np.sqrt(m2 / np.maximum(count - 1, 1))[labels]
    plain = np.asarray(advantages, np.float64)
    return np.divide(r - mean[labels], std, out=plain.copy(), where=std > min_std)


def mixed_advantages(
    advantages: np.ndarray, scores: np.ndarray, groups: np.ndarray, tau: float = 0.1, min_std: float = 0.1
) -> np.ndarray:
    """(1 - tau) A + tau A_s; see `own_advantages`."""
    return (1.0 - tau) * advantages + tau * own_advantages(advantages, scores, groups, min_std)


def verification(scores: np.ndarray, correct: np.ndarray) -> dict[str, float]:
    """Accuracy of "score > .5" on correct and on incorrect rollouts, and their harmonic mean."""
    said, right = np.asarray(scores) > 0.5, np.asarray(correct) > 0.5
    on_right = float(said[right].mean()) if right.any() else float("nan")
    on_wrong = float((~said[~right]).mean()) if (~right).any() else float("nan")
    both = on_right + on_wrong
    return {"correct": on_right, "incorrect": on_wrong, "f1": 2 * on_right * on_wrong / both if both else 0.0}
