"""Signals in, one advantage per token out.

A method is a declared composition: values on spans, backed up along the rollout, compared with a
baseline over a group, mixed over levels and spread to the tokens the policy chose.
"""

from __future__ import annotations

from guerdon.credit.backups import GAE, Own, RewardToGo
from guerdon.credit.baselines import (
    LeaveOneOut,
    LengthWeightedMean,
    Mean,
    MeanStd,
    Minus,
    NonzeroScale,
    Raw,
    TopGap,
)
from guerdon.credit.compose import Credit, Level, Whiten
from guerdon.credit.groupings import by
from guerdon.credit.methods import (
    dr_grpo,
    gae,
    gpg,
    grpo,
    levels,
    opo,
    outcome_and_steps,
    pass_at_k,
    reinforce_pp,
    reinforce_pp_baseline,
    remax,
    rloo,
)

__all__ = [
    "GAE",
    "Credit",
    "LeaveOneOut",
    "LengthWeightedMean",
    "Level",
    "Mean",
    "MeanStd",
    "Minus",
    "NonzeroScale",
    "Own",
    "Raw",
    "RewardToGo",
    "TopGap",
    "Whiten",
    "by",
    "dr_grpo",
    "gae",
    "gpg",
    "grpo",
    "levels",
    "opo",
    "outcome_and_steps",
    "pass_at_k",
    "reinforce_pp",
    "reinforce_pp_baseline",
    "remax",
    "rloo",
]
