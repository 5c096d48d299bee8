"""SALT: steps that several rollouts share, same situation, action and result, get averaged credit."""

from __future__ import annotations

from guerdon.credit.baselines import Baseline, LeaveOneOut, Mean, MeanStd, MergeMean, choice
from guerdon.credit.compose import Compare, Credit, Level
from guerdon.credit.edges import Edges
from guerdon.credit.placing import Place
from guerdon.systems.catalogue import system

_BASES: dict[str, Baseline] = {"grpo": MeanStd(), "rloo": LeaveOneOut(), "mean": Mean()}


@system(
    "salt",
    title="SALT: Step-level Advantage Assignment for Long-horizon Agents via Trajectory Graph",
    arxiv="2510.20022",
    family="credit",
    kind="credit",
)
def salt(
    base: str = "grpo",
    history_window: int | None = 1,
    normalise_actions: str | bool = "fold",
    unit: str = "instance",
) -> Credit:
    """A(e) = mean of A_i over all instances of the edge e = (state, action, next state).

    A_i is the rollout's advantage under the base method. Merging keeps the sum of A over instances, and is
    the base method where no edge is shared.

    Args:
        base: "grpo" (mean and std, ddof 1, + 1e-6), "rloo" (leave one out) or "mean".
        history_window: h last (state, action) pairs that must agree for edges to be equal; null: all of them.
        normalise_actions: "fold" (case and white space do not count), "space" (white space does not),
            "none"; true and false stand for "fold" and "none".
        unit: mean over "instance"s of the edge, or over distinct "rollout"s, each by its first visit.

    Inputs: `outcome` (rollout), column `state` (step, before the action), `meta.actions` (one text per step;
    null never merges), `meta.final_state` (after the last step; the edge is then compared without it).

    Reference: arXiv 2510.20022, whose abstract and later accounts fix the merge rule; key, normalisation and
    defaults are this library's.
    """
    choice(base, tuple(_BASES), "base")
    choice(unit, ("instance", "rollout"), "unit")
    edges = Edges(history_window, normalise_actions)
    merge = Compare(edges, MergeMean("rollout" if unit == "rollout" else "span"))
    level = Level("outcome", span="rollout", baseline=_BASES[base], then=(Place("step"), merge))
    return Credit([level], name="salt")
