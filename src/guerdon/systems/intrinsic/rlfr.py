"""RLFR: tokens whose latents leave the flow of good reasoning pay a small price."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError, RecipeError
from guerdon.intrinsic.reward import Intrinsic, Values, asked_of
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
    train: bool = True,
    source: str = "outcome",
    success: float = 0.5,
    steps: int = 1,
    lr: float = 1e-4,
    hidden: int = 128,
    blocks: int = 6,
    warm: int = 0,
    engine: Any = None,
    policy: Any = None,
) -> Intrinsic:
    """r_t = -coef s_t per token: s_t is the deviation of state h_t from the field's velocity given h_{t-1},
    min-max scaled inside the rollout, kept where it exceeds the threshold, at most top_k a rollout.

    Args:
        field: a `guerdon.intrinsic.flow.FlowField` with one layer index per entry of `layers`, a folder with
            a saved one, or None for a fresh one that learns in the run.
        layers: of the engine, averaged. times: of the flow. seed: of its noise.
        variant: "release" scales with the second smallest value of a row as its minimum.
        train: refresh the field in a training run, on the rollouts whose signal `source` is above `success`.
        steps, lr: of this refresh, per batch. hidden, blocks: of a fresh field.
        warm: batches of training before anything is charged.
        engine: whose states; default: the policy of the run. policy: that one, given by the loop.

    The first token has no state before it and is worth 0. The field is saved with the run; the outcome comes
    from a reward of its own.

    Reference: Zhang et al., arXiv 2510.10201; flow_simple.py and actor_flow.py of Jinghaoleven/RLFR.
    """
    learns = train and policy is not None
    own = None if field is None and not learns else _learnt(field, hidden, blocks, len(layers), lr, seed)

    def score(rollouts: Rollouts, ctx: Context | None) -> Values:
        from guerdon.intrinsic.flow import min_max
        from guerdon.intrinsic.flow_learning import deviations

        asked = engine_of(engine, ctx, "rlfr")
        if own is None:
            raise DataError("rlfr needs a trained field: give field=FOLDER, or a FlowField(engine.width)")
        rollouts = with_ids(asked, rollouts)
        offsets = rollouts.offsets("token")
        if own.batches < warm:
            return np.zeros(rollouts.count("token")), {}
        found = deviations(own.of(asked.width), asked, rollouts, layers, times, seed)
        return penalties(min_max(found, offsets, variant == "release"), offsets, coef, threshold, top_k), {}

    def learn(rollouts: Rollouts, ctx: Context | None) -> dict[str, float]:
        assert own is not None
        if source not in rollouts.signals:
            raise RecipeError(f"rlfr: no reward is called {source!r}; its field learns from correct rollouts")
        correct = rollouts.signals[source].values > success
        asked = engine_of(engine, ctx, "rlfr")
        return own.learn(asked, rollouts, correct, layers, steps, seed + 1 + (ctx.step if ctx else 0))

    return Intrinsic(
        "rlfr",
        score,
        "token",
        weights={"field": own} if learns else None,
        learner=learn if learns else None,
        asks=asked_of(engine),
        version=_version(field),
    )


def _learnt(field: Any, hidden: int, blocks: int, layers: int, lr: float, seed: int) -> Any:
    """The field with its optimiser: fresh, read from a folder, or around a given one."""
    import torch

    from guerdon.intrinsic.flow_learning import LearntField

    own = LearntField(hidden, blocks, layers, lr, seed)
    if isinstance(field, str | Path):
        own.read(Path(field))
    elif field is not None:
        own.field, own._optimizer = field, torch.optim.Adam(field.parameters(), lr)
        own.shape = {"hidden": field.inside.out_features, "blocks": len(field.blocks), "layers": layers}
    return own


def _version(field: Any) -> str:
    """Of the verdicts: they depend on the weights in the folder, not on its name."""
    if not isinstance(field, str | Path):
        return "1"
    from guerdon.models.folders import digest_of

    return digest_of(Path(field))


def penalties(
    scaled: np.ndarray, offsets: np.ndarray, coef: float = 0.01, threshold: float = 0.6, top_k: int = 15
) -> np.ndarray:
    """-coef times the scaled scores that are kept."""
    from guerdon.intrinsic.flow import sparse

    return -coef * sparse(scaled, offsets, threshold, top_k)
