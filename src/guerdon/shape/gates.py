"""Gates and weights: what a reward counts for, given other rewards of the same rollouts.

Arrays in, float64 arrays out. A closed gate gives exactly 0, whatever stands behind it, a missing value
included; an open one lets a missing value through as missing; a gate that is itself missing gives NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guerdon.data.kernels import label_mean, label_moments


def gated(values: np.ndarray, gate: np.ndarray) -> np.ndarray:
    """gate * values, and 0 where the gate is 0."""
    return np.where(np.asarray(gate) == 0.0, 0.0, np.asarray(gate, np.float64) * values)


def reaches(values: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """1 where a value is at least the threshold, else 0; NaN stays NaN."""
    values = np.asarray(values, np.float64)
    return np.where(np.isnan(values), np.nan, values >= threshold)


def priority_gates(streams: Sequence[np.ndarray], thresholds: Sequence[float]) -> list[np.ndarray]:
    """One gate per reward stream: 1 while every stream of higher priority lies above its threshold, else 0.

    g_i = prod_{j above i} 1[R_j > delta_j]. Equality closes.

    Args:
        streams: (N,) each, highest priority first; the ungated values.
        thresholds: delta_j of every stream but the lowest.

    Reference: arXiv 2508.10548.
    """
    gate = np.ones(len(streams[0]))
    gates = [gate]
    for stream, threshold in zip(streams[:-1], thresholds, strict=True):
        passes = np.where(np.isnan(stream), np.nan, stream > threshold)
        gate = gated(passes, gate)
        gates.append(gate)
    return gates


def trust(judged: np.ndarray, outcome: np.ndarray, labels: np.ndarray, n_labels: int) -> np.ndarray:
    """exp(min(0, mu_c - mu_w)) of each member's group: a judge that prefers wrong answers counts less.

    mu_c and mu_w are the mean judged value of the right (outcome >= 0.5) and of the wrong members. Where
    either side is empty the trust is 1.

    Args:
        judged, outcome: (N,); NaN enters neither mean.
        labels: int64 (N,), n_labels: the groups.

    Reference: arXiv 2505.17018.
    """
    right = label_mean(np.where(outcome >= 0.5, judged, np.nan), labels, n_labels)
    wrong = label_mean(np.where(outcome < 0.5, judged, np.nan), labels, n_labels)
    gap = np.minimum(0.0, right - wrong)
    return np.exp(np.where(np.isnan(gap), 0.0, gap))[labels]


def mixed_groups(
    values: np.ndarray, labels: np.ndarray, n_labels: int, low: float = 0.1, high: float = 0.9
) -> np.ndarray:
    """1 for members of groups that differ, 0 where all present values are >= high, or all <= low."""
    below = label_mean(np.where(np.isnan(values), np.nan, values <= low), labels, n_labels)
    above = label_mean(np.where(np.isnan(values), np.nan, values >= high), labels, n_labels)
    return np.where((below == 1.0) | (above == 1.0) | np.isnan(below), 0.0, 1.0)[labels]


def group_rate(flags: np.ndarray, labels: np.ndarray, n_labels: int) -> np.ndarray:
    """Mean of the group's present values, on every member: the accuracy of its prompt."""
    return label_mean(np.asarray(flags, np.float64), labels, n_labels)[labels]


def z_scores(
    values: np.ndarray, inside: np.ndarray, labels: np.ndarray, n_labels: int, floor: float = 1e-6
) -> np.ndarray:
    """(x - mean)/max(std, floor) among the group's members `inside`; 0 outside and where there is one only.

    Args:
        inside: bool (N,), the members compared; std with ddof 1.
    """
    count, mean, m2 = label_moments(np.where(inside, values, np.nan), labels, n_labels)
    std = np.sqrt(np.divide(m2, count - 1, out=np.zeros(n_labels), where=count > 1))
    z = (values - mean[labels]) / np.maximum(std, floor)[labels]
    several = count[labels] > 1
    return np.where(inside & several, z, np.where(inside & np.isnan(values), np.nan, 0.0))


def toward(values: np.ndarray, target: np.ndarray | float, share: float) -> np.ndarray:
    """(1 - f) x + f * target: what a rate beyond its target pulls rewards to; f in [0, 1]."""
    return (1.0 - share) * np.asarray(values, np.float64) + share * np.asarray(target, np.float64)


def surplus(rate: float, target: float, slope: float = 2.0) -> float:
    """clip(slope * (rate - target), 0, 1): how much of a rate is too much; 0 for an unknown rate."""
    return 0.0 if np.isnan(rate) else float(np.clip(slope * (rate - target), 0.0, 1.0))


def brevity(
    length: np.ndarray, inside: np.ndarray, labels: np.ndarray, n_labels: int, ref: str = "range"
) -> np.ndarray:
    """How short a response is among the group's own responses `inside`, in [0, 1]; 0 outside.

    "range": (L_max - L)/(L_max - L_min), 0 where all are equally long. "shortest": L_min / L.

    Reference: arXiv 2506.15647.
    """
    kept = np.where(inside, np.asarray(length, np.float64), np.nan)
    shortest, longest = np.full(n_labels, np.inf), np.full(n_labels, -np.inf)
    present = ~np.isnan(kept)
    np.minimum.at(shortest, labels[present], kept[present])
    np.maximum.at(longest, labels[present], kept[present])
    low, high = shortest[labels], longest[labels]
    with np.errstate(divide="ignore", invalid="ignore"):
        if ref == "shortest":
            b = np.where(kept == 0.0, 1.0, low / kept)
        else:
            b = np.where(high > low, (high - kept) / (high - low), 0.0)
    return np.where(inside, np.where(np.isnan(kept), np.nan, b), 0.0)
