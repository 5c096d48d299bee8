"""PPR with ReNorm: a judge's points per turn, centred so that their sign agrees with the outcome."""

from __future__ import annotations

import numpy as np

from guerdon.credit.baselines import choice
from guerdon.credit.placing import place
from guerdon.credit.view import View
from guerdon.data.signal import Signal
from guerdon.shape.parameters import numbers
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited


def points(score: np.ndarray, most: np.ndarray) -> np.ndarray:
    """p = score / most in [0, 1]; NaN where the judge gave nothing valid (most <= 0, or score outside)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        valid = (most > 0) & (score >= 0) & (score <= most)
        return np.where(valid, score / most, np.nan)


@system(
    "ppr-renorm",
    title="Hybrid Reward Normalization for Process-supervised Non-verifiable Agentic Tasks",
    arxiv="2509.25598",
    family="shape",
    kind="shape",
    others={"credit": credited()},
)
def ppr_renorm(beta: float = 1.0, invalid: str = "zero", centre_final: bool = False) -> Shaping:
    """r_t = p_t + o - beta for every turn but the last, whose reward is o.

    With beta = 1 the turns of a failed rollout (o = 0) earn at most 0, those of a successful one at least 0.
    A rollout of one turn has its outcome only. Credit: generalised advantages against the column `values`;
    without a critic the rewards themselves (`baseline="return"` sums what follows).

    Args:
        beta: what is taken off.
        invalid: a turn without valid points has p = 0 and earns o - beta ("zero", as released), earns 0
            ("drop"), or is missing ("nan").
        centre_final: take beta off the outcome of the last turn too.

    Inputs: `score`, `max_score` (turn; null where nothing was judged or read); `outcome` (rollout, 0 or 1).
    Parts: `points` (turn, NaN where invalid), `valid` (rollout, share of judged turns with points) and
    `reward` (turn). Turns the policy wrote nothing of earn 0 and are no last turn.

    Reference: arXiv 2509.25598; verl/trainer/main_ppo.py of Zhuohao-Li/ppr.
    """
    numbers(beta=beta)
    choice(invalid, ("zero", "drop", "nan"), "invalid")

    def parts(view: Reading) -> dict[str, Signal]:
        turns, outcome = view.at("turn"), view.rollout("outcome")
        p = points(view.spans("score", "turn"), view.spans("max_score", "turn"))
        o = turns.per_rollout(outcome)
        reward = np.nan_to_num(p, nan=0.0) + o - beta
        if invalid != "zero":
            reward = np.where(np.isnan(p), np.nan if invalid == "nan" else 0.0, reward)
        final = place(np.ones(len(outcome)), view, "turn", "last") > 0
        written = turns.compared()
        wrote = np.ones(len(o), bool) if written is None else written
        end = o - beta if centre_final else o
        alone = turns.per_rollout(np.bincount(_rows(turns)[wrote], minlength=len(outcome)) == 1)
        reward = np.where(final, np.where(alone, o, end), np.where(wrote, reward, 0.0))
        judged = wrote & ~final
        share = np.bincount(_rows(turns)[judged & ~np.isnan(p)], minlength=len(outcome))
        count = np.bincount(_rows(turns)[judged], minlength=len(outcome))
        valid = np.divide(share, count, out=np.full(len(outcome), np.nan), where=count > 0)
        return {
            "points": Signal(p, "turn"),
            "valid": Signal(valid, "rollout"),
            "reward": Signal(reward, "turn"),
        }

    places = {"rollout": "outcome", "turn": "score"}
    return Shaping("ppr-renorm", parts, ("outcome", "score", "max_score"), places)


def _rows(turns: View) -> np.ndarray:
    return np.repeat(np.arange(len(turns.rollouts)), np.diff(turns.offsets))
