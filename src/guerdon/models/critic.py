"""Token critic: V before every token, learnt by regression on the returns of the run it serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from guerdon.context import Context
from guerdon.data.kernels import segment_gae
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError
from guerdon.models.head_model import HeadModel, as_tensor
from guerdon.models.losses import clipped_value
from guerdon.models.points import Points
from guerdon.models.rewards import token_reward


class TokenCritic(HeadModel):
    """V(s_t) of every token, read from the state before it; its column is `values`.

        R_t = A_t + V_t with A the generalised advantages under gamma and lam
        loss = 1/2 mean max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2)  over the chosen tokens

    In a recipe it stands under `models`: it fills `values` before credit, and the token-level signal `reward`
    from `source` where there is none, so that `credit: {use: gae}` has both; after credit it learns.

    Args:
        gamma, lam: of the returns it regresses on; give `gae` the same gamma.
        clip: bound on how far one update moves a value; None leaves it out.
        source: signal whose return V predicts: at token level as it is, else paid on the last token the
            policy chose in each span.
        epochs, batch: passes over a run's batch, and rollouts per optimiser step (None: all at once).
        settings: see `HeadModel`. An untrained critic is 0 everywhere.

    Reference: Schulman et al., arXiv 1506.02438 and arXiv 1707.06347.
    """

    kind = "critic"
    name = "values"
    level = "token"

    def __init__(
        self,
        engine: Any,
        gamma: float = 1.0,
        lam: float = 1.0,
        clip: float | None = 0.5,
        source: str = "outcome",
        epochs: int = 1,
        batch: int | None = None,
        hidden: Sequence[int] = (),
        **settings: Any,
    ) -> None:
        super().__init__(engine, 1, hidden=hidden, **{"zero": True, **settings})
        self.gamma, self.lam, self.clip, self.source = gamma, lam, clip, source
        self.epochs, self.batch = epochs, batch
        self.settings |= {
            "gamma": gamma,
            "lam": lam,
            "clip": clip,
            "source": source,
            "epochs": epochs,
            "batch": batch,
        }

    def points(self, rollouts: Rollouts, level: str | None = None) -> Points:
        """The prefix before every token; tokens of the environment have one too."""
        if rollouts.tokens is None:
            raise DataError("a token critic needs tokens; these rollouts are text")
        row = rollouts.tokens.row_ids()
        before = np.arange(rollouts.tokens.total) + row
        return Points(rollouts, "token", before, before, row, {})

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        return self.points(rollouts).gather(self.outputs(rollouts)[:, 0], self.name)

    def attach(self, rollouts: Rollouts, ctx: Context | None = None) -> Rollouts:
        """Rollouts with the column `values` and the signal `reward`."""
        assert rollouts.tokens is not None
        values = self(rollouts).values.astype(np.float32)
        rollouts = rollouts.replace(values=Ragged(values, rollouts.tokens.offsets))
        return token_reward(rollouts, self.source)

    def returns(self, rollouts: Rollouts) -> Signal:
        """R_t = A_t + V_t of every token from `reward` and `values`; NaN where the reward is missing."""
        reward = rollouts.signals.get("reward")
        if reward is None or reward.level != "token" or rollouts.values is None or rollouts.acted is None:
            raise DataError(
                "returns need the column 'values' and the token-level signal 'reward': attach first"
            )
        values = rollouts.values.values.astype(np.float64)
        mask = None if rollouts.all_acted else rollouts.acted.values
        offsets = rollouts.offsets("token")
        advantage = segment_gae(reward.values, values, offsets, self.gamma, self.lam, mask=mask)
        unpaid = rollouts.reduce(Signal(np.isnan(reward.values), "token"), "rollout", "max").values > 0
        missing = unpaid[rollouts.values.row_ids()] | ~rollouts.acted.values
        return Signal(np.where(missing, np.nan, advantage + values), "token", "returns")

    def train_batch(self, rollouts: Rollouts, targets: Signal, trunk: bool | None = None) -> dict[str, float]:
        """One step on token-level returns; near `rollouts.values` where there are any."""
        if targets.level != "token":
            raise DataError(f"a token critic regresses returns per token, not per {targets.level}")
        points = self.points(rollouts)
        target = points.scatter(targets.values)
        old = np.zeros(len(target))
        clip = self.clip if rollouts.values is not None else None
        if rollouts.values is not None:
            old = np.nan_to_num(points.scatter(rollouts.values.values.astype(np.float64)))

        def loss(states: torch.Tensor, at: np.ndarray, row: np.ndarray) -> torch.Tensor:
            value, device = self.head(states)[:, 0], states.device
            return clipped_value(value, as_tensor(old[at], device), as_tensor(target[at], device), clip)

        known = ~np.isnan(target)
        return self.learn(points, known, loss, float(known.sum()), trunk)

    def observe(self, rollouts: Rollouts, ctx: Context | None = None) -> dict[str, float]:
        """Regress on the returns of a batch that `attach` prepared.

        Returns:
            mean loss and gradient norm, and the share of the returns' variance that V explained before.
        """
        targets = self.returns(rollouts)
        known = ~np.isnan(targets.values)
        if not known.any():
            return {"skipped": 1.0}
        carried = rollouts.with_signal(targets)
        rng = np.random.default_rng([self.seed, ctx.step if ctx else 0])
        logged = []
        for _ in range(self.epochs):
            order = rng.permutation(len(rollouts))
            size = self.batch or len(order)
            for start in range(0, len(order), size):
                part = carried.select(order[start : start + size])
                if np.isnan(part.signals["returns"].values).all():
                    continue
                logged.append(self.train_batch(part, part.signals["returns"]))
        assert rollouts.values is not None
        out = {key: float(np.mean([metrics[key] for metrics in logged])) for key in logged[0]}
        out["explained"] = explained(targets.values[known], rollouts.values.values[known])
        return out


def explained(returns: np.ndarray, values: np.ndarray) -> float:
    """1 - var(R - V) / var(R); NaN where all returns are equal."""
    spread = float(np.var(returns))
    return 1.0 - float(np.var(returns - values)) / spread if spread > 0 else float("nan")
