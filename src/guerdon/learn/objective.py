"""The policy loss: one core whose slots every published objective fills in.

    loss = AGG( mask * [ -W * PG(ratio, A, logp) ] ) + beta * AGG(mask * KL) - c * AGG(mask * H)

Slots: (1) ratio level, (2) clip form, (3) off-policy weight W, (6) KL estimator and its place, (7)
aggregation. The two others are elsewhere by design: (4) the advantage comes from a credit method, (5)
sample selection from the recipe's filters. All arrays are flat over the tokens of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guerdon.errors import RecipeError
from guerdon.registry import check_parameters

RATIOS = ("token", "sequence", "none")
CLIPS = ("ppo", "cispo", "mask", "none")
WEIGHTS = ("none", "truncated", "masked")
AGGREGATES = ("token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "constant")
ESTIMATORS = ("k1", "k2", "k3", "abs")


def _one_of(value: Any, valid: Sequence[str], name: str) -> None:
    if value not in valid:
        raise RecipeError(f"objective.{name}: got {value!r}, expected one of {', '.join(valid)}")


@dataclass(frozen=True)
class KL:
    """A pull towards the reference policy, d = log ref - log pi per token.

    Attributes:
        estimator: "k1" = -d, "k2" = d^2/2, "k3" = e^d - d - 1, "abs" = |d|. Inside the loss use k2 (its
            gradient is that of KL(pi||ref)) or k3 (that of KL(ref||pi)): k1's expected gradient is zero.
        coef: beta; 0 needs no reference policy.
        where: "loss" adds beta * KL to the loss; "reward" takes beta * KL off the rewards before credit.

    Reference: Schulman, Approximating KL Divergence (2020).
    """

    estimator: str = "k3"
    coef: float = 0.0
    where: str = "loss"

    def __post_init__(self) -> None:
        _one_of(self.estimator, ESTIMATORS, "kl.estimator")
        _one_of(self.where, ("loss", "reward"), "kl.where")
        if self.coef < 0:
            raise RecipeError(f"objective.kl.coef: got {self.coef}, expected a number >= 0")


@dataclass(frozen=True)
class Objective:
    """What the policy maximises, slot by slot.

    Attributes:
        ratio: "token" r_t = pi/pi_old; "sequence" the geometric mean over the rollout, with gradients
            through each token's own log-prob; "none" r = 1 in value with the gradient of log pi.
        clip: "ppo" max(-A r, -A clip(r)); "cispo" -sg(clip(r)) A log pi, where every token keeps its
            gradient; "mask" drops tokens whose ratio left the range in the direction the advantage
            pushes, the others weigh -A log pi; "none".
        low, high: the range is [1 - low, 1 + high].
        dual: for A < 0 bound the loss by -A * dual (None: no bound).
        weight: "none"; "truncated" multiplies by min(w, weight_cap); "masked" drops tokens with
            w > weight_cap. w is the detached ratio of `weight_of` to the policy that sampled.
        weight_of: "old" (pi_old / mu, the engines' discrepancy) or "current" (pi / mu, MiniRL).
        weight_level: "token" or "sequence" (product over the rollout).
        weight_cap: C above.
        kl: see KL.
        entropy: c, bonus on the token entropy.
        aggregate: "token_mean" sum / all tokens; "seq_mean_token_mean" mean over rollouts of their
            token means; "seq_mean_token_sum" mean over rollouts of their token sums; "constant" sum /
            (rollouts * max_length), free of length bias.
        max_length: the constant of "constant"; None takes the sampler's token limit.
    """

    ratio: str = "token"
    clip: str = "ppo"
    low: float = 0.2
    high: float = 0.2
    dual: float | None = None
    weight: str = "none"
    weight_of: str = "old"
    weight_level: str = "token"
    weight_cap: float = 2.0
    kl: KL = field(default_factory=KL)
    entropy: float = 0.0
    aggregate: str = "token_mean"
    max_length: int | None = None

    @property
    def needs_reference(self) -> bool:
        """Whether the rollouts must carry `ref_logprobs`."""
        return bool(self.kl.coef)

    def __post_init__(self) -> None:
        _one_of(self.ratio, RATIOS, "ratio")
        _one_of(self.clip, CLIPS, "clip")
        _one_of(self.weight, WEIGHTS, "weight")
        _one_of(self.weight_of, ("old", "current"), "weight_of")
        _one_of(self.weight_level, ("token", "sequence"), "weight_level")
        _one_of(self.aggregate, AGGREGATES, "aggregate")
        if not (0 <= self.low <= 1 and self.high >= 0):
            raise RecipeError(
                f"objective.clip: got low {self.low}, high {self.high}; expected 0 <= low <= 1, high >= 0"
            )


def _kl(spec: KL | Mapping[str, Any] | None) -> KL:
    if isinstance(spec, KL):
        return spec
    if spec is not None and not isinstance(spec, Mapping):
        raise RecipeError(
            f"objective.kl: got {spec!r}, expected a mapping such as {{estimator: k3, coef: 0.01}}"
        )
    check_parameters(KL, spec or {}, "objective.kl")
    return KL(**(spec or {}))


def _range(clip: float | Sequence[float]) -> tuple[float, float]:
    pair = [clip, clip] if isinstance(clip, int | float) else clip
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise RecipeError(f"objective.clip: got {clip!r}, expected a number or [low, high]")
    if not all(isinstance(x, int | float) for x in pair):
        raise RecipeError(f"objective.clip: got {clip!r}, expected a number or [low, high]")
    return float(pair[0]), float(pair[1])


def reinforce(
    kl: Mapping[str, Any] | None = None,
    entropy: float = 0.0,
    aggregate: str = "token_mean",
    max_length: int | None = None,
) -> Objective:
    """-A log pi: no ratio, no clipping; right for one update per batch.

    Reference: Williams (1992).
    """
    return Objective("none", "none", kl=_kl(kl), entropy=entropy, aggregate=aggregate, max_length=max_length)


def ppo(
    clip: float | Sequence[float] = 0.2,
    dual: float | None = None,
    kl: Mapping[str, Any] | None = None,
    entropy: float = 0.0,
    aggregate: str = "token_mean",
    max_length: int | None = None,
    weight: str = "none",
    weight_cap: float = 2.0,
    weight_level: str = "token",
) -> Objective:
    """max(-A r, -A clip(r, 1-low, 1+high)) per token; `clip: [low, high]` may be asymmetric.

    Reference: Schulman et al., PPO, arXiv 1707.06347; asymmetric range: DAPO, arXiv 2503.14476.
    """
    low, high = _range(clip)
    return Objective(
        "token",
        "ppo",
        low,
        high,
        dual,
        weight,
        "old",
        weight_level,
        weight_cap,
        _kl(kl),
        entropy,
        aggregate,
        max_length,
    )


def gspo(
    clip: float | Sequence[float] = (3e-4, 4e-4),
    kl: Mapping[str, Any] | None = None,
    entropy: float = 0.0,
    aggregate: str = "seq_mean_token_mean",
) -> Objective:
    """PPO with the sequence ratio s = exp(mean_t(log pi - log pi_old)).

    Reference: Zheng et al., Group Sequence Policy Optimization, arXiv 2507.18071.
    """
    low, high = _range(clip)
    return Objective("sequence", "ppo", low, high, kl=_kl(kl), entropy=entropy, aggregate=aggregate)


def cispo(
    clip: float | Sequence[float] = 0.2,
    kl: Mapping[str, Any] | None = None,
    entropy: float = 0.0,
    aggregate: str = "token_mean",
) -> Objective:
    """-sg(clip(r, 1-low, 1+high)) A log pi: clipping bounds the weight and never drops a token.

    Reference: MiniMax-M1, arXiv 2506.13585.
    """
    low, high = _range(clip)
    return Objective("token", "cispo", low, high, kl=_kl(kl), entropy=entropy, aggregate=aggregate)


def minirl(
    clip: float | Sequence[float] = (0.2, 0.27),
    weight_cap: float = 5.0,
    kl: Mapping[str, Any] | None = None,
    entropy: float = 0.0,
    aggregate: str = "seq_mean_token_sum",
) -> Objective:
    """-M sg(min(pi/mu, C)) A log pi, M = 0 where pi/pi_old left the range in the direction of A.

    The mask reads the staleness pi/pi_old, the weight the full ratio to the policy mu that sampled. Pair it
    with mean-only advantages (`dr_grpo`).

    Reference: Stabilizing Reinforcement Learning with LLMs, arXiv 2512.01374.
    """
    low, high = _range(clip)
    return Objective(
        "token",
        "mask",
        low,
        high,
        None,
        "truncated",
        "current",
        "token",
        weight_cap,
        _kl(kl),
        entropy,
        aggregate,
    )
