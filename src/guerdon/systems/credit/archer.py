"""ArCHer: a critic over utterances hands every message its advantage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from guerdon.credit.backups import discount
from guerdon.credit.baselines import choice
from guerdon.credit.compose import Credit, Level
from guerdon.credit.stages import MinusColumn
from guerdon.credit.view import View
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.systems.catalogue import system

_HEADS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "min": np.minimum,
    "mean": lambda a, b: (a + b) / 2,
    "1": lambda a, b: a,
    "2": lambda a, b: b,
}


@dataclass(frozen=True)
class _UtteranceAdvantage:
    """head(Q_1, Q_2) - head(V_1, V_2) per turn."""

    head: str
    name: str = "q-v"

    def __call__(self, view: View) -> Signal:
        heads = [view.signal(name, "turn").values for name in ("q1", "q2", "v1", "v2")]
        pick = _HEADS[self.head]
        return Signal(pick(heads[0], heads[1]) - pick(heads[2], heads[3]), "turn", self.name)


@system(
    "archer",
    title="ArCHer: Training Language Model Agents via Hierarchical Multi-Turn RL",
    arxiv="2402.19446",
    family="credit",
    kind="credit",
)
def archer(
    gamma: float = 0.95, head: str | int = "min", token_baseline: bool = False, bootstrap: bool = False
) -> Credit:
    """A = min(Q_1, Q_2)(o, a) - min(V_1, V_2)(o) on every token of the utterance a.

    Args:
        gamma: discount per utterance of the critic's targets (`q_targets`); it does not change the
            advantages. Where `reward` and `target_v1`, `target_v2` are carried, `explain` reports the mean
            squared difference of q and its target.
        head: "min" as above, taken for Q and V separately; "mean"; 1 or 2 for one of the two critics.
        token_baseline: subtract the token column `values`, a value head regressed to A.
        bootstrap: whether a truncated rollout's last target goes on with V; see `q_targets`.

    Inputs: `q1`, `q2`, `v1`, `v2` (turn).

    Reference: Zhou et al., arXiv 2402.19446; archer/algorithms/archer/trainer.py of YifeiZhou02/ArCHer.
    """
    discount(gamma)
    head = choice(str(head), tuple(_HEADS), "head")

    def td_error(view: View) -> float:
        if not {"reward", "target_v1", "target_v2"} <= view.signals.keys():
            return float("nan")
        targets = q_targets(view.rollouts, view.signals, gamma, bootstrap)
        gap = [view.signal(f"q{i + 1}", "turn").values - target.values for i, target in enumerate(targets)]
        squares = np.concatenate(gap) ** 2
        return float(np.nanmean(squares)) if not np.isnan(squares).all() else float("nan")

    then = (MinusColumn(),) if token_baseline else ()
    level = Level(_UtteranceAdvantage(head), then=then, notes={"td_error": td_error})
    return Credit([level], name="archer")


def q_targets(
    rollouts: Rollouts,
    signals: Mapping[str, Signal] | None = None,
    gamma: float = 0.95,
    bootstrap: bool = False,
) -> tuple[Signal, Signal]:
    """y_i = r + gamma (1 - done) V^target_i(o') for both heads, per turn.

    o' is the observation of the rollout's next turn; the last turn is done. `bootstrap` uses the rollout
    signals `next_target_v1`, `next_target_v2` (V of what came after the last turn) where a rollout was
    truncated; the released environments end there.
    """
    view = View(rollouts, rollouts.signals if signals is None else signals, "turn", "archer")
    reward, offsets = view.signal("reward", "turn").values, view.offsets
    filled = np.diff(offsets) > 0
    end = offsets[1:][filled] - 1
    targets = []
    for i in (1, 2):
        value = view.signal(f"target_v{i}", "turn").values
        after = np.append(value[1:], 0.0)
        after[end] = 0.0
        if bootstrap:
            beyond = view.signal(f"next_target_v{i}", "rollout").values
            after[end] = np.where(rollouts.truncated, beyond, 0.0)[filled]
        targets.append(Signal(reward + gamma * after, "turn", f"q_target_{i}"))
    return targets[0], targets[1]


def polyak(target: np.ndarray, online: np.ndarray, tau: float = 0.1) -> np.ndarray:
    """target <- (1 - tau) target + tau online."""
    return (1 - discount(tau, "tau")) * target + tau * online
