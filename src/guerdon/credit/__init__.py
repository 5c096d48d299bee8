"""Signals in, one advantage per token out.

A method is a declared composition: values on spans, backed up along the rollout, compared with a
baseline over a group, mixed over levels and spread to the tokens the policy chose. Published systems of
the catalogue are reached by name: `guerdon.credit.gigpo(weight=0.5)`.
"""

from __future__ import annotations

from typing import Any

from guerdon.credit.backups import (
    GAE,
    AddOutcome,
    Chain,
    Min,
    Own,
    RewardToGo,
    Scale,
    SoftMin,
    SuffixMaxScale,
    chain,
)
from guerdon.credit.baselines import (
    LeaveOneOut,
    LengthWeightedMean,
    Mean,
    MeanStd,
    MergeMean,
    Minus,
    MovingMean,
    NonzeroScale,
    Raw,
    TopGap,
)
from guerdon.credit.compose import Compare, Credit, Level, Whiten
from guerdon.credit.edges import Edges
from guerdon.credit.groupings import by
from guerdon.credit.methods import (
    dr_grpo,
    gae,
    gpg,
    grpo,
    opo,
    outcome_and_steps,
    pass_at_k,
    reinforce_pp,
    reinforce_pp_baseline,
    remax,
    rloo,
)
from guerdon.credit.placing import Fill, Place, ZeroLast
from guerdon.credit.sources import Differences, FirstOf, LogRatio, LookAhead, Mixed, Moved, mixed
from guerdon.credit.stages import MinusColumn, MinusLogRatio, ReplaceLast, Returns
from guerdon.credit.thoughts import ThoughtRewards
from guerdon.credit.token_baselines import (
    DenseLeaveOneOut,
    FirstSpanLeaveOneOut,
    ReturnLeaveOneOut,
    StepLeaveOneOut,
    TokenLeaveOneOut,
)
from guerdon.credit.trees import NodeRewards, ShareNodes
from guerdon.credit.view import View
from guerdon.credit.votes import Votes
from guerdon.credit.written import levels

__all__ = [
    "GAE",
    "AddOutcome",
    "Chain",
    "Compare",
    "Credit",
    "DenseLeaveOneOut",
    "Differences",
    "Edges",
    "Fill",
    "FirstOf",
    "FirstSpanLeaveOneOut",
    "LeaveOneOut",
    "LengthWeightedMean",
    "Level",
    "LogRatio",
    "LookAhead",
    "Mean",
    "MeanStd",
    "MergeMean",
    "Min",
    "Minus",
    "MinusColumn",
    "MinusLogRatio",
    "Mixed",
    "Moved",
    "MovingMean",
    "NodeRewards",
    "NonzeroScale",
    "Own",
    "Place",
    "Raw",
    "ReplaceLast",
    "ReturnLeaveOneOut",
    "Returns",
    "RewardToGo",
    "Scale",
    "ShareNodes",
    "SoftMin",
    "StepLeaveOneOut",
    "SuffixMaxScale",
    "ThoughtRewards",
    "TokenLeaveOneOut",
    "TopGap",
    "View",
    "Votes",
    "Whiten",
    "ZeroLast",
    "by",
    "chain",
    "dr_grpo",
    "gae",
    "gpg",
    "grpo",
    "levels",
    "mixed",
    "opo",
    "outcome_and_steps",
    "pass_at_k",
    "reinforce_pp",
    "reinforce_pp_baseline",
    "remax",
    "rloo",
]


def __getattr__(name: str) -> Any:
    """The factory of a published credit method, by its slug with underscores."""
    from guerdon import registry

    slug = name.replace("_", "-")
    if name.startswith("_") or slug not in registry.published("credit"):
        raise AttributeError(f"module 'guerdon.credit' has no attribute {name!r}")
    return registry.lookup("credit", slug)
