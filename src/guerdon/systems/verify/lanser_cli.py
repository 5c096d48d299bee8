"""Lanser-CLI: a step reward from facts of a language server: diagnostics, safe edits, clear addressing."""

from __future__ import annotations

from functools import partial

import numpy as np

from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.systems.catalogue import system
from guerdon.verify.composite import Explained, rollout_values
from guerdon.verify.differences import differences

_FACTS = {
    "D": "number of relevant diagnostics",
    "S": "1 where all safety checks pass",
    "alpha": "top confidence",
}


@system(
    "lanser-cli",
    title="Language Server CLI Empowers Language Agents with Process Rewards",
    arxiv="2510.22907",
    family="verify",
    kind="reward",
)
def lanser_cli(a: float = 0.5, b: float = 0.4, g: float = 0.1, form: str = "paper") -> Explained:
    """r_t = a (D_{t-1} - D_t) + b S_t - g (1 - alpha_t), one value per step.

    The paper claims r_t >= 0 wherever D, S and alpha do not get worse. That does not follow: the ambiguity
    term is a level (D unchanged, S = 0, alpha = .5: r = -.05). The potential form has the property:

        Phi_t = -a D_t + b S_t + g alpha_t,   r_t = Phi_t - Phi_{t-1}.

    Step-level signals D (diagnostics after the step), S in {0, 1} and alpha in [0, 1]; the state before the
    first step as rollout-level signals or entries of `meta`: D0, and for the potential S0 and alpha0.
    Diagnostics are counted by `verify.diagnostics`, alpha comes from `verify.selectors`, bundles are named by
    `verify.canonical.content_id`.

    Args:
        a, b, g: weights; the paper's example has these.
        form: "paper" or "potential".

    Parts: diagnostics, safety, ambiguity; they sum to r.

    Reference: Zhang, arXiv 2510.22907 (docs/Lanser-CLI.pdf of yifanzhang-pro/lanser-cli). The released
    bundles hold no process reward. Deleting code and silencing the analyser lower D: see
    `diagnostics.suppressions`.
    """
    if form not in ("paper", "potential"):
        raise RecipeError(f"lanser-cli: form must be paper or potential, got {form!r}")
    explain = partial(_explain, a=a, b=b, g=g, potential=form == "potential")
    return Explained("lanser-cli", explain, f"1-{a}-{b}-{g}-{form}", shape="sample")


def _explain(
    rollouts: Rollouts, ctx: Context | None, a: float, b: float, g: float, potential: bool
) -> tuple[Signal, dict[str, Signal]]:
    facts = {name: _fact(rollouts, name) for name in _FACTS}
    offsets = rollouts.offsets("step")
    fall = -differences(facts["D"], offsets, rollout_values(rollouts, "D0"))
    if potential:
        safety = differences(facts["S"], offsets, rollout_values(rollouts, "S0"))
        clarity = differences(facts["alpha"], offsets, rollout_values(rollouts, "alpha0"))
    else:
        safety, clarity = facts["S"], facts["alpha"] - 1.0
    parts = {"diagnostics": a * fall, "safety": b * safety, "ambiguity": g * clarity}
    total = parts["diagnostics"] + parts["safety"] + parts["ambiguity"]
    before = "D0, S0 or alpha0" if potential else "D0"
    causes = {
        int(i): f"D, S or alpha of this step or before it is missing (first step: {before})"
        for i in np.flatnonzero(np.isnan(total))
    }
    signals = {
        name: Signal(values, "step", name, {i: c for i, c in causes.items() if np.isnan(values[i])})
        for name, values in parts.items()
    }
    return Signal(total, "step", "lanser-cli", causes), signals


def _fact(rollouts: Rollouts, name: str) -> np.ndarray:
    signal = rollouts.signals.get(name)
    if signal is None or signal.level != "step":
        found = f"it is at level {signal.level!r}" if signal is not None else "there is none"
        raise DataError(f"lanser-cli: expected a step-level signal {name!r} ({_FACTS[name]}); {found}")
    rollouts.check_signal(signal, name)
    return signal.values
