"""A shaped reward as a credit method: the reward, then the advantage estimator its publication uses."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guerdon.context import Context
from guerdon.credit.backups import GAE, Backup, RewardToGo
from guerdon.credit.baselines import Baseline, LeaveOneOut, Mean, MeanStd, choice
from guerdon.credit.compose import Credit, Level, Whiten
from guerdon.credit.placing import Place
from guerdon.credit.sources import Moved
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.shape.shaping import REWARD, Shaping

BASELINES = ("none", "mean_std", "mean", "loo", "return", "gae")


@dataclass(frozen=True)
class Estimator:
    """How rewards become advantages.

    Attributes:
        baseline: "none": the rewards themselves, on all tokens of their spans. "mean_std", "mean", "loo":
            the rollout's total compared with its prompt group. "return": sums of what follows over tokens,
            rewards on the last token of their spans. "gae": the same against a critic's column `values`.
            None: "gae" where the rollouts carry `values`, else "none".
        ddof, eps, singleton, scale: of "mean_std"; singleton of "mean" and "loo" too.
        gamma, lam: of "return" and "gae".
        whiten: over all chosen tokens of the batch, for "return" and "gae".
    """

    baseline: str | None = None
    ddof: int = 1
    eps: float = 1e-6
    singleton: str = "raw"
    scale: str = "group"
    gamma: float = 1.0
    lam: float = 1.0
    whiten: bool = False

    def __post_init__(self) -> None:
        if self.baseline is not None:
            choice(self.baseline, BASELINES, "baseline")
        self.credit("credit", None)

    def credit(self, name: str, rollouts: Rollouts | None) -> Credit:
        """The composition that reads the signal `reward`."""
        use = self.baseline
        if use is None:
            use = "none" if rollouts is None or rollouts.values is None else "gae"
        scale = {"std": "group"}.get(self.scale, self.scale)
        compared: dict[str, Baseline] = {
            "mean_std": MeanStd(self.ddof, self.eps, self.singleton, scale),
            "mean": Mean(self.singleton),
            "loo": LeaveOneOut(self.singleton),
        }
        if use in compared:
            return Credit([Level(Moved(REWARD, "rollout"), baseline=compared[use])], name=name)
        if use == "none":
            return Credit([Level(REWARD)], name=name)
        backups: dict[str, Backup] = {"return": RewardToGo(self.gamma), "gae": GAE(self.gamma, self.lam)}
        level = Level(REWARD, then=(Place(how="last"), backups[use]))
        return Credit([level], whiten=Whiten() if self.whiten else None, name=name)


@dataclass(frozen=True)
class ShapedCredit:
    """A credit method that shapes first; called and explained like any other."""

    shaping: Shaping
    estimator: Estimator

    @property
    def name(self) -> str:
        return self.shaping.name

    def state_dict(self) -> dict[str, Any]:
        """What the shaping carries from batch to batch."""
        return self.shaping.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.shaping.load_state_dict(state)

    def __call__(
        self, rollouts: Rollouts, signals: Mapping[str, Signal] | None = None, ctx: Context | None = None
    ) -> Signal:
        return self.explain(rollouts, signals, ctx)[0]

    def explain(
        self, rollouts: Rollouts, signals: Mapping[str, Signal] | None = None, ctx: Context | None = None
    ) -> tuple[Signal, dict[str, dict[str, float]]]:
        """Advantages, and what happened on the way."""
        advantage, report, _ = self.explain_parts(rollouts, signals, ctx)
        return advantage, report

    def explain_parts(
        self, rollouts: Rollouts, signals: Mapping[str, Signal] | None = None, ctx: Context | None = None
    ) -> tuple[Signal, dict[str, dict[str, float]], dict[str, Signal]]:
        """The same, and the shaped reward with its parts."""
        parts = self.shaping.explain(rollouts, None, ctx, signals)
        known = {**(rollouts.signals if signals is None else signals), REWARD: parts[REWARD]}
        advantage, report = self.estimator.credit(self.name, rollouts).explain(rollouts, known, ctx)
        return advantage, report, parts


def credited(**defaults: Any) -> Callable[[Callable[..., Shaping]], Callable[..., ShapedCredit]]:
    """From the factory of a shaped reward to that of its credit method.

    The credit method takes the parameters of both; where they share a name, the shaped reward's own wins.

    Args:
        defaults: of the `Estimator`, as the publication has them.
    """
    own = Estimator(**defaults)

    def make(factory: Callable[..., Shaping]) -> Callable[..., ShapedCredit]:
        shape_signature = inspect.signature(factory)
        taken = dict(shape_signature.parameters)
        added = {
            name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(own, name))
            for name in Estimator.__dataclass_fields__
            if name not in taken
        }

        @functools.wraps(factory)
        def credit(**parameters: Any) -> ShapedCredit:
            after = {name: parameters.pop(name) for name in added if name in parameters}
            return ShapedCredit(factory(**parameters), Estimator(**{**defaults, **after}))

        # wraps sets __wrapped__, which inspect would follow: the joint signature is stated instead
        rest = [p for p in taken.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
        mine = [
            p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for p in taken.values()
            if p.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        credit.__signature__ = inspect.Signature([*mine, *added.values(), *rest])  # type: ignore[attr-defined]
        return credit

    return make
