"""AutoThink: rewards by mode and correctness, shaped by length and pulled so that no mode takes over."""

from __future__ import annotations

import re

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import RecipeError
from guerdon.shape.gates import reaches, surplus, toward, z_scores
from guerdon.shape.maps import exponential_bonus
from guerdon.shape.parameters import numbers, unit
from guerdon.shape.shaping import Reading, Shaping
from guerdon.systems.catalogue import system
from guerdon.systems.shape._advantages import credited

STAGES = {
    1: {"alpha": 0.0, "beta": 0.0, "rho": 0.5},
    2: {"alpha": 0.0, "beta": 0.0, "rho": 1.0},
    3: {"alpha": 0.05, "beta": 0.05, "rho": 1.0},
}
CLOSED_AT_ONCE = "<think>\n...\n</think>\n\n"
_LONG_WORD = re.compile(r"\S{120,}")


def base_table(
    think: np.ndarray, correct: np.ndarray, degenerate: np.ndarray, format_error: np.ndarray
) -> np.ndarray:
    """Thinking: right 1, wrong 0. Not thinking: right 2, wrong -1, degenerate and wrong -2. Format error: 0.

    Args: (N,) each, 0 or 1; NaN makes the row missing.
    """
    table = np.where(think == 1.0, np.where(correct == 1.0, 1.0, 0.0), np.where(correct == 1.0, 2.0, -1.0))
    table = np.where((table < 0) & (degenerate == 1.0), -2.0, table)
    known = ~(np.isnan(think) | np.isnan(correct))
    return np.where(format_error == 1.0, 0.0, np.where(known, table, np.nan))


def balance(
    reward: np.ndarray, think: np.ndarray, right: np.ndarray, rho: float, slope: float = 2.0
) -> np.ndarray:
    """Pull the rewards of a mode with rate above rho towards those that make it unattractive.

    f = clip(slope (rate - rho), 0, 1); thinking goes to 0 (right) and -1 (wrong), not thinking to 1 and -2:
    R <- (1 - f) R + f target. Rates are those of the whole batch.
    """
    present = think[~np.isnan(think)]
    rate = float(present.mean()) if len(present) else np.nan
    towards_think = np.where(right == 1.0, 1.0, -2.0)
    out = np.where(
        think == 1.0,
        toward(reward, np.where(right == 1.0, 0.0, -1.0), surplus(rate, rho, slope)),
        toward(reward, towards_think, surplus(1.0 - rate, rho, slope)),
    )
    return np.where(np.isnan(think), reward, out)


@system(
    "autothink",
    title="Learning When to Think: Shaping Adaptive Reasoning in R1-Style Models via Multi-Stage RL",
    arxiv="2505.10832",
    family="shape",
    kind="shape",
    others={"credit": credited(baseline="mean_std", eps=1e-6)},
)
def autothink(
    alpha: float | None = None,
    beta: float | None = None,
    rho: float | None = None,
    slope: float = 2.0,
    stage: int = 1,
) -> Shaping:
    """R = table(mode, right); then by length; then pulled towards a balance of modes.

    Length, in the prompt's right and wrong answers separately, z = (L - mean)/std (ddof 1, at least 1e-6):
    right ones add exp(-alpha z) - 1, wrong ones 1 - exp(-beta z). Balance: see `balance`. A format error
    counts as wrong in both. Credit: (R - mean_g)/(std_g + 1e-6).

    Args:
        alpha, beta: rates of the length terms. rho: largest share of a mode. Default: those of the stage.
        slope: how fast a surplus of a mode pulls.
        stage: 1: alpha = beta = 0, rho = 0.5. 2: rho = 1, which turns balancing off. 3: alpha = beta = 0.05.

    Inputs: `think`, `correct` (rollout, 0 or 1); `degenerate`, `format_error` (rollout; 0 where they are not
    carried); `length` (rollout, tokens; counted where it is not carried). `modes` reads the first of
    them from text.
    Parts: `base`, `shaped` (after the length terms) and `reward`.

    Raises:
        RecipeError: rho outside [0, 1], or another stage.

    Reference: arXiv 2505.10832; verl/verl/trainer/main_ppo.py of TU2021/AutoThink.
    """
    if stage not in STAGES:
        raise RecipeError(f"autothink: stage must be 1, 2 or 3, got {stage!r}")
    given = {"alpha": alpha, "beta": beta, "rho": rho}
    now = STAGES[stage] | {name: value for name, value in given.items() if value is not None}
    numbers(slope=slope, alpha=now["alpha"], beta=now["beta"])
    unit(now["rho"], "rho")

    def parts(view: Reading) -> dict[str, np.ndarray]:
        think, correct = reaches(view.rollout("think")), reaches(view.rollout("correct"))
        broken = view.rollout("format_error", optional=True)
        base = base_table(think, correct, view.rollout("degenerate", optional=True), broken)
        right = np.where(broken == 1.0, 0.0, correct)
        shaped = base
        if now["alpha"] or now["beta"]:
            length, (labels, n) = view.length(), view.groups
            short = z_scores(length, right == 1.0, labels, n)
            long = z_scores(length, right == 0.0, labels, n)
            shaped = base + exponential_bonus(short, now["alpha"]) - exponential_bonus(long, now["beta"])
        return {"base": base, "shaped": shaped, "reward": balance(shaped, think, right, now["rho"], slope)}

    reads = ("think", "correct", "degenerate", "format_error", "length")
    return Shaping("autothink", parts, reads, {"rollout": "correct"})


def thinks(text: str) -> bool:
    """Whether a completion thinks: it does not close an ellipsis at once."""
    return CLOSED_AT_ONCE not in text


def is_degenerate(text: str, longest: int = 30, times: int = 10) -> bool:
    """Up to `longest` words repeated back to back `times` times, or a word of 120 characters."""
    if _LONG_WORD.search(text):
        return True
    words = text.split()
    for n in range(1, min(longest, len(words) // times) + 1):
        run = 0
        for at in range(n, len(words)):
            run = run + 1 if words[at] == words[at - n] else 0
            if run >= n * (times - 1):
                return True
    return False


def modes(rollouts: Rollouts) -> dict[str, Signal]:
    """The signals `think`, `degenerate` and `format_error` (no `</think>`) of completions."""
    texts = [rollouts.text(i) for i in range(len(rollouts))]
    read = {
        "think": [thinks(text) for text in texts],
        "degenerate": [is_degenerate(text) for text in texts],
        "format_error": ["</think>" not in text for text in texts],
    }
    return {name: Signal(np.array(values, np.float64), "rollout", name) for name, values in read.items()}
