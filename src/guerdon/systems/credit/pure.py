"""PURE: the value of a step is the smallest of the process rewards still to come, not their sum."""

from __future__ import annotations

from dataclasses import replace

from guerdon.credit.backups import AddOutcome, Backup, Min, Own, RewardToGo, SoftMin, chain
from guerdon.credit.baselines import Baseline, LeaveOneOut, Raw, choice
from guerdon.credit.compose import Credit, Level, Whiten
from guerdon.credit.placing import ZeroLast
from guerdon.credit.sources import FirstOf, LogRatio
from guerdon.credit.token_baselines import ReturnLeaveOneOut, StepLeaveOneOut, TokenLeaveOneOut
from guerdon.errors import RecipeError
from guerdon.systems.catalogue import system

_PRM = FirstOf(("prm", "process"), "step")


@system(
    "pure",
    title="Stop Summation: Min-Form Credit Assignment Is All Process Reward Model Needs for Reasoning",
    arxiv="2504.15275",
    family="credit",
    kind="credit",
)
def pure(
    temperature: float = 0.1,
    form: str = "softmin",
    vr_coef: float = 1.0,
    baseline: str | None = None,
    count_separator: bool | None = None,
    mask_separators: bool | None = None,
    kl_coef: float = 0.0,
    t_max: float | None = None,
    whiten: bool | None = None,
    variant: str = "paper",
) -> Credit:
    """A_k = sum_{j >= k} (w_j r_j - b l_j) + c (R - mean of the other R), w = softmax(-r / T) over all steps.

    r_k is the process reward of step k, l_k its tokens, and b what the other rollouts of the prompt earned
    per token: sum of their w r / sum of their tokens. Every token of a step gets A_k.

    Args:
        temperature: T.
        form: "softmin" as above; "min" strict, G_k = min(r_k, G_{k+1}) over the steps; "sum" without weights.
        vr_coef: c, weight of the verifiable reward on the last token; 0 needs no `outcome`.
        baseline: "token" as above; "step" subtracts the others' mean reward per step; "return" adds c R
            uncentred, takes returns first and subtracts the others' mean return per token; "none".
            Default "token", "return" in the variant "verl".
        count_separator: whether l_k counts the step's last token. Default True, False in "release".
        mask_separators: zero the advantage where a reward sits: on the last token of every step. Default
            False, True in "release".
        kl_coef: subtract coef * (log pi - log pi_ref) per token before returns are taken.
        t_max: with baseline "return", divide by (n - 1) t_max, a trainer's padded length, instead of by the
            tokens the others have.
        whiten: masked whitening over all chosen tokens. Default False, True in "verl".
        variant: "paper", "release" (main branch as released) or "verl" (its verl branch).

    Inputs: `prm` (step; also read as `process`), `outcome` (rollout, 0/1); steps.

    Reference: Cheng et al., arXiv 2504.15275; openrlhf/trainer/ppo_utils/experience_maker.py and
    verl/trainer/ppo/core_algos.py of CJReinforce/PURE. A group of one has no baseline. The strict form runs
    over steps here; the released one runs over tokens, where every token without a reward is a 0.
    """
    choice(variant, ("paper", "release", "verl"), "variant")
    released = variant == "release"
    count_separator = (not released) if count_separator is None else count_separator
    mask_separators = released if mask_separators is None else mask_separators
    name = baseline or ("return" if variant == "verl" else "token")
    whiten = variant == "verl" if whiten is None else whiten
    choice(name, ("token", "step", "return", "none"), "baseline")
    if t_max is not None and name != "return":
        raise RecipeError("t_max is a parameter of baseline='return'")
    forms: dict[str, Backup] = {"softmin": SoftMin(temperature), "min": Min(), "sum": Own()}
    weigh = forms[choice(form, tuple(forms), "form")]
    if name == "return":
        mixed = AddOutcome(vr_coef)
        backup = chain(mixed, weigh, RewardToGo()) if form == "min" else chain(weigh, mixed, RewardToGo())
        levels = [Level(_PRM, backup=backup, baseline=ReturnLeaveOneOut(t_max))]
    else:
        levels = _rewards(weigh, vr_coef, name, count_separator)
    if kl_coef:
        levels.append(Level(LogRatio(), then=(RewardToGo(),), weight=-kl_coef))
    if mask_separators:
        levels = [replace(level, then=(*level.then, ZeroLast("step"))) for level in levels]
    return Credit(levels, whiten=Whiten() if whiten else None, name="pure")


def _rewards(weigh: Backup, vr_coef: float, name: str, count_separator: bool) -> list[Level]:
    """Reweighted rewards, compared, then summed over what follows; the outcome compared by itself."""
    known: dict[str, Baseline] = {
        "token": TokenLeaveOneOut(last_counts=count_separator),
        "step": StepLeaveOneOut(),
        "none": Raw(),
    }
    levels = [Level(_PRM, backup=weigh, baseline=known[name], then=(RewardToGo(),))]
    if vr_coef:
        centred: Baseline = Raw() if name == "none" else LeaveOneOut()
        levels.append(Level("outcome", span="rollout", baseline=centred, weight=vr_coef))
    return levels
