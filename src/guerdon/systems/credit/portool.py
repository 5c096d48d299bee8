"""PORTool: rollouts of a query form a tree; siblings under a fork are compared, and whole rollouts too."""

from __future__ import annotations

from guerdon.credit.backups import discount
from guerdon.credit.baselines import MeanStd, choice
from guerdon.credit.compose import Credit, Level
from guerdon.credit.groupings import by
from guerdon.credit.placing import Place
from guerdon.credit.sources import Moved, Source, mixed
from guerdon.credit.trees import NodeRewards, ShareNodes
from guerdon.systems.catalogue import system


@system(
    "portool",
    title="PORTool: Tool-Use LLM Training with Rewarded Tree",
    arxiv="2510.26020",
    family="credit",
    kind="credit",
)
def portool(
    gamma: float = 0.95,
    eta: float = 0.1,
    w_fork: float = 0.5,
    w_traj: float = 0.5,
    agg: str = "mean",
    shared: str = "mean",
    eps: float = 1e-6,
) -> Credit:
    """A_s = w_f (r_s - mean_sib) / (std_sib + eps) + w_t (R_i - mean) / (std + eps).

    r_s = V_s + eta e_s, V_s the mean over the leaves below s of gamma^distance times their outcome, e_s +1
    for a call that ran, 0 for none, -1 for an error. Siblings are the distinct children of one parent, each
    counted once; an only child gets 0. R_i = outcome + eta * mean e over the rollout's steps, each leaf
    counted once; a single leaf gets 0. Standard deviations with ddof 1.

    Args:
        gamma: discount per step to the leaf.
        eta: weight of execution, small so that correctness dominates.
        w_fork, w_traj: w_f and w_t.
        agg: V over the leaves, "mean" or "max".
        shared: R_i's advantage on a step that several rollouts share: "mean" over them; "own", each its own;
            "once", the mean, with the whole advantage divided by their number so that the step is trained on
            once.
        eps: added to the standard deviations.

    Inputs: `outcome` (rollout, leaf correctness), `call_ok` (step), column `node` (step: shared steps carry
    one id; first steps of a prompt are siblings).

    Reference: arXiv 2510.26020. The tree is the paper's; its reward and advantage equations are not
    published in detail, so constants and rules here are parameters.
    """
    discount(gamma)
    choice(shared, ("mean", "own", "once"), "shared")
    execution = Moved("call_ok", "rollout", "mean", origin="step")
    rollout: Source = mixed([("outcome", 1.0), (execution, eta)], "rollout")
    once = (ShareNodes(once=True),) if shared == "once" else ()
    average = (ShareNodes(),) if shared == "mean" else once
    return Credit(
        [
            Level(
                NodeRewards(gamma, eta, agg),
                group=by("prompt", "fork"),
                baseline=MeanStd(eps=eps, singleton="zero", unit="node"),
                then=once,
                weight=w_fork,
            ),
            Level(
                rollout,
                baseline=MeanStd(eps=eps, singleton="zero"),
                then=(Place("step"), *average),
                weight=w_traj,
            ),
        ],
        name="portool",
    )
