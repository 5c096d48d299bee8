"""Log-sigmoid-centred rewards: log-probabilities of being good, whose sum means that all is good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.errors import DataError, RecipeError
from guerdon.shape.maps import log_sigmoid
from guerdon.shape.references import empirical_quantile, normal_quantile, ragged_references
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited

PROPERTIES = ("rm", "helpful", "harmless")


@system(
    "transform-combine",
    title="Transforming and Combining Rewards for Aligning Large Language Models",
    arxiv="2402.00742",
    family="shape",
    kind="shape",
    others={"credit": credited(baseline="none")},
)
def transform_combine(
    weights: Mapping[str, float] | Sequence[float] | None = None,
    quantile: float | Mapping[str, float] = 0.85,
    estimator: str = "normal",
    ddof: int = 1,
    eps: float = 1e-5,
) -> Shaping:
    """u = sum_j w_j log sigmoid(r_j - ref_j), ref_j a quantile of the reference policy's rewards.

    The gradient 1 - sigmoid(r - ref) vanishes for what is good already, and a sum of logs is high only where
    every property is good. Credit: u itself (the objective is E[u] - beta KL).

    Args:
        weights: property -> w_j; a list is taken in the order rm, helpful, harmless of those carried.
            Default: 1 for each of them that is carried.
        quantile: which one, in (0, 1); a number, or property -> number.
        estimator: "normal": mean + z_q (std + eps) of the prompt's reference rewards; "empirical".
        ddof, eps: of that standard deviation.

    Inputs: one rollout signal per property; `meta.r_ref` (a number, or property -> number), or
    `meta.ref_rewards` (a list, or property -> list).
    Parts: `ref_<property>`, `u_<property>` and `reward`.

    Reference: Wang et al., arXiv 2402.00742; the normal quantile as in trainers/reward_shaper.py of
    PorUna-byte/PAR.
    """
    choice(estimator, ("normal", "empirical"), "estimator")
    for q in quantile.values() if isinstance(quantile, Mapping) else [quantile]:
        if isinstance(q, bool) or not isinstance(q, int | float) or not 0.0 < q < 1.0:
            raise RecipeError(f"quantile must lie between 0 and 1, got {q!r}")

    def reference(view: Reading, name: str) -> np.ndarray:
        given = [r.get(name) if isinstance(r, Mapping) else r for r in view.meta("r_ref", required=False)]
        fixed = np.array([np.nan if r is None else float(r) for r in given])
        if not np.isnan(fixed).any():
            return fixed
        rows = view.meta("ref_rewards", required=bool(np.isnan(fixed).all()))
        refs = ragged_references(rows, "meta.ref_rewards", key=name)
        q = quantile.get(name, 0.85) if isinstance(quantile, Mapping) else quantile
        found = (
            normal_quantile(refs.values, refs.offsets, q, ddof, eps)
            if estimator == "normal"
            else empirical_quantile(refs.values, refs.offsets, q)
        )
        return np.where(np.isnan(fixed), found, fixed)

    def parts(view: Reading) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        total = np.zeros(len(view.rollouts))
        for name, weight in _weights(weights, view).items():
            found[f"ref_{name}"] = reference(view, name)
            found[f"u_{name}"] = log_sigmoid(view.rollout(name) - found[f"ref_{name}"])
            total += weight * found[f"u_{name}"]
        return {**found, "reward": total}

    reads = tuple(weights) if isinstance(weights, Mapping) else PROPERTIES
    return Shaping(
        "transform-combine",
        parts,
        reads,
        {"rollout": reads[0] if reads else "rm"},
        None,
        "no reference rewards",
    )


def _weights(given: Mapping[str, float] | Sequence[float] | None, view: Reading) -> dict[str, float]:
    if isinstance(given, Mapping):
        return dict(given)
    carried = [name for name in PROPERTIES if name in view.signals]
    if not carried:
        raise DataError(f"{view.method} needs one of the signals {', '.join(PROPERTIES)}; none is carried")
    values = [1.0] * len(carried) if given is None else list(given)
    if len(values) != len(carried):
        raise RecipeError(f"{view.method}: {len(values)} weights for {len(carried)} rewards {carried}")
    return dict(zip(carried, values, strict=True))
