"""Utterance-level double critic: Q and V of whole utterances, with target networks.

The state o is everything before an utterance, the action a the whole utterance. A causal model has read o at
the prefix before it and (o, a) at the prefix after it, so one pass gives both.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from guerdon.context import Context
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import Sampling
from guerdon.engines.weights import check_shapes, read_tensors, write_tensors
from guerdon.errors import DataError, RecipeError
from guerdon.models.branches import seed_in_run
from guerdon.models.head_model import HeadModel, as_tensor
from guerdon.models.heads import Head
from guerdon.models.losses import squared
from guerdon.models.points import Points
from guerdon.models.step_classifier import signal_of

TARGET_FILE = "target_head.safetensors"
NAMES = ("q1", "q2", "v1", "v2")
TARGETS = ("target_v1", "target_v2", "target_q1", "target_q2")


class QVHeads(nn.Module):
    """Two Q heads on [h(o); h(o, a)] and two V heads on h(o), each a ReLU network."""

    def __init__(self, width: int, hidden: Sequence[int], seed: int) -> None:
        super().__init__()
        q = [Head(2 * width, 1, hidden, "relu", seed + i) for i in (0, 1)]
        v = [Head(width, 1, hidden, "relu", seed + i) for i in (2, 3)]
        self.heads = nn.ModuleDict(dict(zip(NAMES, q + v, strict=True)))

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """(m, D), (m, D) to q1, q2, v1, v2 (m, 4)."""
        both = torch.cat([before, after], dim=1)
        return torch.cat([self.heads[name](both if name[0] == "q" else before) for name in NAMES], dim=1)


class UtteranceCritic(HeadModel):
    """Signals q1, q2, v1, v2 per utterance, learnt with targets

        y_i = r + gamma (1 - done) V^target_i(o'),      loss (Q_i(o, a) - y_i)^2
        z_i = Q^target_i(o, a'), a' ~ pi(.|o) anew,      loss (V_i(o) - z_i)^2,       i = 1, 2

    and, after every pass, target <- (1 - tau) target + tau online. The last utterance of a rollout is `done`,
    also where a step limit cut it. It learns on the batch at hand: the paper's replay of older batches is
    left out.

    Args:
        level: the utterances, "turn" or "step".
        gamma, tau: discount per utterance; share of the online weights in one target update.
        source: signal of the reward: per utterance as it is, per rollout on the last utterance.
        epochs: passes over a run's batch.
        max_new_tokens, stop, temperature: how a' is sampled.
        inner: widths of the heads' inner layers; default twice the engine's width (three layers).
        settings: see `HeadModel`.

    Reference: Zhou et al., ArCHer, arXiv 2402.19446.
    """

    kind = "utterance_critic"
    level = "turn"

    def __init__(
        self,
        engine: Any,
        level: str = "turn",
        gamma: float = 0.95,
        tau: float = 0.1,
        source: str = "outcome",
        epochs: int = 1,
        max_new_tokens: int = 32,
        stop: Sequence[str] = (),
        temperature: float = 1.0,
        inner: Sequence[int] | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        if not 0 < tau <= 1:
            raise RecipeError(f"tau: got {tau!r}, expected a number in (0, 1]")
        widths = list(inner) if inner is not None else [engine.width, engine.width]
        super().__init__(engine, 4, head=QVHeads(engine.width, widths, seed), seed=seed, **settings)
        self.level, self.gamma, self.tau, self.source, self.epochs = level, gamma, tau, source, epochs
        self.sampling: dict[str, Any] = {
            "max_new_tokens": max_new_tokens,
            "stop": tuple(stop),
            "temperature": temperature,
        }
        self.target_engine = engine.clone()
        self.target_head = copy.deepcopy(self.head).requires_grad_(False)
        self.settings = {k: v for k, v in self.settings.items() if k not in ("hidden", "activation")} | {
            "level": level,
            "gamma": gamma,
            "tau": tau,
            "source": source,
            "epochs": epochs,
            "inner": widths,
            **self.sampling,
        }

    # -- reading -----------------------------------------------------------------------------------

    def __call__(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        """A = min(Q1, Q2) - min(V1, V2) of every utterance."""
        found = self.values(rollouts)
        low_q = np.minimum(found["q1"].values, found["q2"].values)
        low_v = np.minimum(found["v1"].values, found["v2"].values)
        return Signal(low_q - low_v, self.level, "advantage", found["q1"].causes)

    def values(self, rollouts: Rollouts) -> dict[str, Signal]:
        """q1, q2, v1, v2 of every utterance."""
        points = self.points(rollouts)
        return _signals(points, self._read(self.engine, self.head, points), NAMES, self.level)

    def attach(self, rollouts: Rollouts, ctx: Context | None = None) -> Rollouts:
        """Rollouts with the signals q1, q2, v1, v2 and `reward`, all per utterance."""
        reward = self.rewards(rollouts)
        return rollouts.replace(signals={**self.values(rollouts), "reward": reward})

    def rewards(self, rollouts: Rollouts) -> Signal:
        """The reward of every utterance: `reward` where the rollouts carry it, else made from `source`."""
        have = rollouts.signals.get("reward")
        if have is not None and have.level == self.level:
            return have
        signal = signal_of(rollouts, self.source, "the utterance critic")
        if signal.level == self.level:
            return signal.renamed("reward")
        return rollouts.spread(signal, self.level, "last").renamed("reward")

    def _read(self, engine: Any, head: nn.Module, points: Points) -> np.ndarray:
        """q1, q2, v1, v2 at every readable utterance, NaN elsewhere, float64 (spans, 4)."""
        out = np.full((len(points.after), 4), np.nan)
        readable = points.after >= 0
        if readable.any():
            states = torch.from_numpy(engine.prefix_states(points.rollouts)).to(engine.device)
            before, after = (
                states[torch.as_tensor(x[readable], device=engine.device)]
                for x in (points.before, points.after)
            )
            with torch.no_grad():
                out[readable] = head(before, after).cpu().numpy()
        return out

    # -- learning ----------------------------------------------------------------------------------

    def targets(self, rollouts: Rollouts, policy: Any, seed: int = 0) -> dict[str, Signal]:
        """target_v1, target_v2 at every o and target_q1, target_q2 at (o, a'), a' sampled by `policy`."""
        points = self.points(rollouts)
        at = self._read(self.target_engine, self.target_head, points)[:, 2:]
        again = self._read(self.target_engine, self.target_head, self._resampled(points, policy, seed))[:, :2]
        fresh = np.full_like(at, np.nan)
        fresh[self._with_room(points)] = again
        return _signals(points, np.concatenate([at, fresh], axis=1), TARGETS, self.level)

    def _with_room(self, points: Points) -> np.ndarray:
        """Indices of the utterances that can be sampled anew."""
        rollouts = points.rollouts
        assert rollouts.prompt is not None
        prompts = np.array([len(self.engine.prompt_ids(p)) for p in rollouts.prompt], dtype=np.int64)
        starts = np.cumsum(rollouts.lengths + 1) - rollouts.lengths - 1
        used = prompts[points.row] + points.before - starts[points.row]
        return np.flatnonzero((points.after >= 0) & (used < self.engine.context))

    def _resampled(self, points: Points, policy: Any, seed: int) -> Points:
        """One fresh utterance after every o: rollouts of what was read before it and a'."""
        rollouts, spans = points.rollouts, self._with_room(points)
        assert rollouts.tokens is not None and rollouts.prompt is not None
        starts = np.cumsum(rollouts.lengths + 1) - rollouts.lengths - 1
        row = points.row[spans]
        read = points.before[spans] - starts[row]
        prefixes = [rollouts.tokens[r][:e].tolist() for r, e in zip(row, read, strict=True)]
        prompts = [rollouts.prompt[r] for r in row]
        if not prompts:
            nothing = np.empty(0, np.int64)
            empty = Rollouts(tokens=Ragged.from_lists([], dtype=np.int32), prompt=[])
            return Points(empty, "rollout", nothing, nothing, nothing, {})
        drawn = policy.generate(prompts, 1, Sampling(seed=seed, **self.sampling), prefix=prefixes)
        base = np.cumsum(drawn.lengths + 1) - drawn.lengths - 1
        index = np.arange(len(drawn))
        return Points(drawn, "rollout", base + read, base + drawn.lengths, index, {})

    def observe(self, rollouts: Rollouts, ctx: Context | None = None) -> dict[str, float]:
        """`epochs` passes over a batch, each with fresh targets and followed by a target update."""
        policy = (ctx.engines.get("policy") if ctx else None) or self.engine
        reward = self.rewards(rollouts)
        logged = []
        for epoch in range(self.epochs):
            targets = self.targets(rollouts, policy, seed_in_run(self.seed, ctx or Context(), epoch))
            metrics = self.train_batch(rollouts.replace(signals=targets), reward)
            if "loss" in metrics:
                logged.append(metrics)
                self.follow()
        if not logged:
            return {"skipped": 1.0}
        return {key: float(np.mean([metrics[key] for metrics in logged])) for key in logged[0]}

    def train_batch(self, rollouts: Rollouts, targets: Signal, trunk: bool | None = None) -> dict[str, float]:
        """One step on the rewards of utterances; the rollouts carry the signals of `targets`.

        Raises:
            DataError: rewards at another level, or a target signal is lacking.
        """
        if targets.level != self.level:
            raise DataError(
                f"the utterance critic needs one reward per {self.level}, not per {targets.level}"
            )
        points = self.points(rollouts)
        wanted = self._regressed(points, targets, rollouts)
        known = ~np.isnan(wanted)
        spans = np.flatnonzero(known.any(axis=1) & (points.after >= 0))
        if len(spans) == 0:
            return {}
        marked = np.zeros(points.prefixes, bool)
        marked[points.before[spans]] = marked[points.after[spans]] = True

        def loss(states: torch.Tensor, at: np.ndarray, row: np.ndarray) -> torch.Tensor:
            mine = spans[np.isin(points.row[spans], row)]
            place = np.zeros(points.prefixes, np.int64)
            place[at] = np.arange(len(at))
            before, after = (
                states[torch.as_tensor(place[x[mine]], device=states.device)]
                for x in (points.before, points.after)
            )
            found = self.head(before, after)
            there = torch.as_tensor(known[mine], device=states.device)
            aim = as_tensor(np.nan_to_num(wanted[mine]), states.device)
            return squared(found, aim, there.float())

        return self.learn(points, marked, loss, float(len(spans)), trunk)

    def _regressed(self, points: Points, reward: Signal, rollouts: Rollouts) -> np.ndarray:
        """What q1, q2, v1, v2 are regressed on, float64 (spans, 4)."""
        held = {name: signal_of(rollouts, name, "the utterance critic").values for name in TARGETS}
        y = [td_targets(reward.values, held[f"target_v{i}"], points.row, self.gamma) for i in (1, 2)]
        return np.stack([*y, held["target_q1"], held["target_q2"]], axis=1)

    def follow(self) -> None:
        """target <- (1 - tau) target + tau online, for engine and heads."""
        with torch.no_grad():
            pairs = [*zip(self.target_head.parameters(), self.head.parameters(), strict=True)]
            mine, theirs = self.target_engine.parameters(), self.engine.parameters()
            pairs += [(mine[name], theirs[name]) for name in theirs]
            for target, online in pairs:
                target.lerp_(online, self.tau)

    # -- disk --------------------------------------------------------------------------------------

    def write(self, folder: Path, optimizer: bool = False) -> None:
        """As `HeadModel.write`, with the target networks."""
        super().write(folder, optimizer)
        write_tensors(self.target_head.state_dict(), folder / TARGET_FILE)
        self.target_engine.save(folder / "target")

    def read(self, folder: Path) -> None:
        """Take over what `write` wrote."""
        super().read(folder)
        state = read_tensors(folder / TARGET_FILE)
        check_shapes(state, self.target_head.state_dict(), str(folder / TARGET_FILE))
        self.target_head.load_state_dict(state)
        self.target_engine.load(folder / "target")


def td_targets(reward: np.ndarray, value: np.ndarray, row: np.ndarray, gamma: float) -> np.ndarray:
    """y_k = r_k + gamma V(o_{k+1}), and r_k alone at the last utterance of a rollout.

    Args:
        reward, value: r_k and the target network's V(o_k), float64 (spans,); NaN makes y NaN.
        row: int64 (spans,), rollout of each utterance, consecutive.
    """
    follows = np.zeros(len(row), bool)
    follows[:-1] = row[1:] == row[:-1]
    after = np.append(value[1:], 0.0) if len(value) else value
    return reward + np.where(follows, gamma * after, 0.0)


def _signals(points: Points, table: np.ndarray, names: Sequence[str], level: str) -> dict[str, Signal]:
    causes = dict(points.causes)
    return {name: Signal(table[:, i], level, name, causes) for i, name in enumerate(names)}
