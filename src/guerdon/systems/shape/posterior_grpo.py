"""Posterior-GRPO: the thinking reward counts only once all tests pass."""

from __future__ import annotations

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.shape.gates import gated, reaches
from guerdon.shape.maps import sigmoid
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited


@system(
    "posterior-grpo",
    title="Posterior-GRPO: Rewarding Reasoning Processes in Code Generation",
    arxiv="2508.05170",
    family="shape",
    kind="shape",
    others={"credit": credited(baseline="mean_std", eps=1e-6)},
)
def posterior_grpo(gate: str = "full", squash: bool = False) -> Shaping:
    """R_i = f_i + o_i + o_i t_i, in [0, 1] for failures and [2, 3] for well-formed successes.

    A group in which everything passes still differs by its thinking. Credit: (R - mean_g)/(std_g + eps), ddof
    1; `scale="none"` subtracts the mean only, which does not blow up small differences of t.

    Args:
        gate: "full": o = 1 where all tests pass (outcome 1), else 0; "soft": the outcome as it is, a pass
            rate (worse, and open to hacking).
        squash: t is an unbounded score and goes through a sigmoid.

    Inputs: `format` (rollout, 0 or 1), `outcome` (rollout), `thinking` (rollout, in [0, 1]).
    Parts: `gate`, `gain` (o t) and `reward`.

    Reference: arXiv 2508.05170.
    """
    choice(gate, ("full", "soft"), "gate")

    def parts(view: Reading) -> dict[str, np.ndarray]:
        form, outcome, thinking = (view.rollout(name) for name in ("format", "outcome", "thinking"))
        passed = reaches(outcome, 1.0) if gate == "full" else outcome
        gain = gated(sigmoid(thinking) if squash else thinking, passed)
        return {"gate": passed, "gain": gain, "reward": form + passed + gain}

    return Shaping("posterior-grpo", parts, ("format", "outcome", "thinking"))
