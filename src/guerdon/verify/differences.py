"""Rewards as differences of a potential along a rollout: r_k = V_k - V_{k-1}, V_0 being the start's."""

from __future__ import annotations

import numpy as np


def differences(values: np.ndarray, offsets: np.ndarray, start: np.ndarray) -> np.ndarray:
    """r_k = V_k - V_{k-1} per span; sums to V_last - V_start over a rollout; float64 (spans,).

    Args:
        values: V after each span, rollout after rollout (spans,).
        offsets: spans of each rollout, int64 (rollouts + 1,).
        start: V before the first span of each rollout (rollouts,).
    """
    values = np.asarray(values, np.float64)
    before = np.empty_like(values)
    before[1:] = values[:-1]
    filled = np.flatnonzero(np.diff(offsets) > 0)
    before[offsets[:-1][filled]] = np.asarray(start, np.float64)[filled]
    return values - before
