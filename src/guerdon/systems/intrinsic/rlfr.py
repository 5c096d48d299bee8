"""RLFR: tokens whose latents leave the flow of good reasoning pay a small price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError
from guerdon.intrinsic.reward import Intrinsic, Values
from guerdon.intrinsic.scoring import engine_of, with_ids
from guerdon.systems.catalogue import system


@system(
    "rlfr",
    title="RLFR: Extending Reinforcement Learning for LLMs with Flow Environment",
    arxiv="2510.10201",
    family="intrinsic",
    kind="reward",
)
def rlfr(
    field: Any = None,
    layers: Sequence[int] = (-1,),
    times: Sequence[float] = (0.8,),
    coef: float = 0.01,
    threshold: float = 0.6,
    top_k: int = 15,
    seed: int = 0,
    variant: str = "paper",
    engine: Any = None,
) -> Intrinsic:
    """r_t = -coef s_t per token: s_t is the deviation of state h_t from the field's velocity given h_{t-1},
    min-max scaled inside the rollout, kept where it exceeds the threshold, at most top_k a rollout.

    Args:
        field: a `guerdon.intrinsic.flow.FlowField` with one layer index per entry of `layers`.
        layers: of the engine, averaged. times: of the flow. seed: of its noise.
        variant: "release" scales with the second smallest value of a row as its minimum.
        engine: whose states; default: the policy of the run.

    The first token has no state before it and is worth 0. Train and refresh the field with
    `train_on_correct`; the outcome comes from a reward of its own.

    Reference: Zhang et al., arXiv 2510.10201; flow_simple.py and actor_flow.py of Jinghaoleven/RLFR.
    """

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        from guerdon.intrinsic.flow import min_max

        asked = engine_of(engine, ctx, "rlfr")
        if field is None:
            raise DataError("rlfr needs a trained field: FlowField(engine.width), see train_on_correct")
        rollouts = with_ids(asked, rollouts)
        offsets = rollouts.offsets("token")
        deviations = _deviations(field, asked, rollouts, layers, times, seed)
        scaled = min_max(deviations, offsets, variant == "release")
        return penalties(scaled, offsets, coef, threshold, top_k), {}

    return Intrinsic("rlfr", score, "token")


def penalties(
    scaled: np.ndarray, offsets: np.ndarray, coef: float = 0.01, threshold: float = 0.6, top_k: int = 15
) -> np.ndarray:
    """-coef times the scaled scores that are kept."""
    from guerdon.intrinsic.flow import sparse

    return -coef * sparse(scaled, offsets, threshold, top_k)


def pairs(engine: Any, rollouts: Rollouts, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States h_t, the states h_{t-1} before them, and the flat index of each token t >= 1."""
    states, offsets = engine.hidden(rollouts, layer), rollouts.offsets("token")
    later = np.ones(len(states), bool)
    later[offsets[:-1][np.diff(offsets) > 0]] = False
    at = np.flatnonzero(later)
    return states[at], states[at - 1], at


def train_on_correct(
    field: Any,
    engine: Any,
    rollouts: Rollouts,
    correct: np.ndarray,
    layers: Sequence[int] = (-1,),
    steps: int = 1,
    lr: float = 1e-4,
    seed: int = 0,
) -> float:
    """Steps of flow matching on the states of correct rollouts only; returns the last loss, NaN for none."""
    import torch

    from guerdon.intrinsic.flow import flow_loss

    kept = rollouts.select(np.asarray(correct, bool))
    if not len(kept) or not kept.lengths.max(initial=0) > 1:
        return float("nan")
    optimizer = torch.optim.Adam(field.parameters(), lr)
    generator = torch.Generator().manual_seed(seed)
    data = [tuple(map(torch.from_numpy, pairs(engine, kept, layer)[:2])) for layer in layers]
    last = float("nan")
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.stack([flow_loss(field, h, c, generator, i) for i, (h, c) in enumerate(data)]).mean()
        loss.backward()
        optimizer.step()
        last = float(loss.detach())
    return last


def _deviations(
    field: Any, engine: Any, rollouts: Rollouts, layers: Sequence[int], times: Sequence[float], seed: int
) -> np.ndarray:
    import torch

    from guerdon.intrinsic.flow import deviation

    total = np.full(rollouts.count("token"), np.nan)
    for i, layer in enumerate(layers):
        h, condition, at = pairs(engine, rollouts, layer)
        found = deviation(field, torch.from_numpy(h), torch.from_numpy(condition), times, seed, layer=i)
        total[at] = np.nan_to_num(total[at]) + found.numpy() / len(layers)
    return total
