"""Rewards reshaped before credit: bounded, gated, annealed, normalised, made relative, combined.

Enters: a Signal and the rollouts it belongs to. Leaves: another Signal of the same rollouts. Underneath are
pure functions of arrays (`maps`, `along`, `gates`, `references`); transforms wrap them for recipes and chain.
Published systems of the catalogue are reached by name: `guerdon.shape.posterior_grpo()`.
"""

from __future__ import annotations

from typing import Any

from guerdon.shape.running import RunningMoments
from guerdon.shape.schedules import schedule
from guerdon.shape.shaping import Reading, Shaping, chain
from guerdon.shape.transforms import (
    Map,
    anneal,
    clip,
    clip_above,
    clip_delta,
    combine,
    delta,
    gate,
    hinge,
    length_price,
    log_sigmoid,
    mixed_groups_only,
    normalise,
    over_limit,
    polynomial,
    scale,
    sigmoid,
    suffix_max_scale,
    tanh,
    versus_references,
)

__all__ = [
    "Map",
    "Reading",
    "RunningMoments",
    "Shaping",
    "anneal",
    "chain",
    "clip",
    "clip_above",
    "clip_delta",
    "combine",
    "delta",
    "gate",
    "hinge",
    "length_price",
    "log_sigmoid",
    "mixed_groups_only",
    "normalise",
    "over_limit",
    "polynomial",
    "scale",
    "schedule",
    "sigmoid",
    "suffix_max_scale",
    "tanh",
    "versus_references",
]


def __getattr__(name: str) -> Any:
    """The factory of a published shaped reward, by its slug with underscores."""
    from guerdon import registry

    slug = name.replace("_", "-")
    if name.startswith("_") or slug not in registry.published("shape"):
        raise AttributeError(f"module 'guerdon.shape' has no attribute {name!r}")
    return registry.lookup("shape", slug)
