"""Token-level rewards from a signal at any level, as critics and token-level credit read them."""

from __future__ import annotations

import numpy as np

from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError
from guerdon.models.points import last_chosen


def token_reward(rollouts: Rollouts, source: str, name: str = "reward") -> Rollouts:
    """Rollouts with the token-level signal `name`: each value of `source` on its span's last chosen token.

    A signal of that name that is there already is kept. Spans in which the policy chose nothing pay nobody.
    NaN stays NaN, on the token where it would have been paid.

    Raises:
        DataError: no such source, or one per group.
    """
    if name in rollouts.signals:
        if rollouts.signals[name].level != "token":
            raise DataError(
                f"the signal {name!r} must be per token, it is per {rollouts.signals[name].level}"
            )
        return rollouts
    if source not in rollouts.signals:
        have = ", ".join(rollouts.signals) or "none"
        raise DataError(f"a reward per token is made from {source!r}; these rollouts carry: {have}")
    signal = rollouts.signals[source]
    if signal.level == "token":
        return rollouts.with_signal(signal.renamed(name))
    at = last_chosen(rollouts, signal.level)
    values = np.zeros(rollouts.count("token"))
    values[at[at >= 0]] = signal.values[at >= 0]
    return rollouts.with_signal(Signal(values, "token", name))
