"""PAR: the probability that a response beats reference responses to its prompt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.errors import RecipeError
from guerdon.shape.maps import log_sigmoid, over_limit, polynomial_sigmoid, sigmoid
from guerdon.shape.parameters import numbers
from guerdon.shape.references import mean_over, normal_quantile, ragged_references
from guerdon.shape.running import RunningMoments
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited

RELATIVE = ("par", "centred", "tanh", "poly", "sgfc", "lsc")
RUNNING = ("meanstd", "clip", "minmax")
VARIANTS = (*RELATIVE, *RUNNING, "sigmoid", "none")


@system(
    "par",
    title="Reward Shaping to Mitigate Reward Hacking in RLHF",
    arxiv="2502.18770",
    family="shape",
    kind="shape",
    others={"credit": credited(lam=0.95, whiten=True)},
)
def par(
    k: float = 1.0,
    max_refs: int | None = None,
    length_limit: float = 300,
    length_penalty: float = 0.01,
    ceiling: float | None = None,
    variant: str = "par",
) -> Shaping:
    """R = mean_j sigmoid(k (r - r_j)) over the rewards r_j of reference responses; r less a length penalty.

    Bounded in (0, 1), steepest (k/4) where r = r_j. Before it, `length_penalty` is taken off per token beyond
    `length_limit`. Credit: generalised advantages (lambda 0.95) against the column `values`, whitened;
    without a critic the rewards themselves.

    Args:
        k: slope.
        max_refs: how many references are used; one is enough.
        length_limit, length_penalty: tokens, and price per token above; 0 turns it off.
        ceiling: largest r, applied first.
        variant: "par"; what it was compared with: "centred" mean_j (r - r_j), "tanh" and "poly" (a quintic
            fit of the sigmoid) of r - r_j, "sgfc" sigmoid(r - 3 - r_j), "lsc" log sigmoid(r - q85 of the
            references), "sigmoid" of k r, and by statistics of all rewards so far "meanstd", "clip" (to mean
            +- std) and "minmax"; "none".

    Inputs: `rm` (rollout); `length` (rollout, tokens; counted where it is not carried);
    `meta.ref_rewards` (list per rollout).
    Parts: `penalised` (r after ceiling and length) and `reward`.

    Reference: Fu et al., arXiv 2502.18770; trainers/reward_shaper.py of PorUna-byte/PAR.
    """
    choice(variant, VARIANTS, "variant")
    if max_refs is not None and (isinstance(max_refs, bool) or max_refs < 1):
        raise RecipeError(f"max_refs must be 1 or more, got {max_refs!r}")
    numbers(k=k, length_limit=length_limit, length_penalty=length_penalty, ceiling=ceiling or 0.0)
    seen = RunningMoments() if variant in RUNNING else None
    maps: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "par": lambda gap: sigmoid(k * gap),
        "centred": lambda gap: gap,
        "tanh": np.tanh,
        "poly": polynomial_sigmoid,
        "sgfc": lambda gap: sigmoid(k * (gap - 3.0)),
    }

    def relative(view: Reading, r: np.ndarray) -> np.ndarray:
        refs = ragged_references(view.meta("ref_rewards"), "meta.ref_rewards", max_refs, key="rm")
        if variant == "lsc":
            return log_sigmoid(r - normal_quantile(refs.values, refs.offsets))
        return mean_over(r, refs.values, refs.offsets, maps[variant])

    def parts(view: Reading) -> dict[str, np.ndarray]:
        r = view.rollout("rm")
        if ceiling is not None:
            r = np.minimum(r, ceiling)
        if length_penalty:
            r = r + over_limit(view.length(), length_limit, length_penalty)
        if seen is not None:
            by = {"meanstd": seen.standardise, "clip": seen.clip, "minmax": seen.min_max}
            seen.add(r)
            return {"penalised": r, "reward": by[variant](r)}
        if variant in RELATIVE:
            return {"penalised": r, "reward": relative(view, r)}
        return {"penalised": r, "reward": sigmoid(k * r) if variant == "sigmoid" else r}

    return Shaping("par", parts, ("rm", "length"), {"rollout": "rm"}, seen, "no reference rewards")
