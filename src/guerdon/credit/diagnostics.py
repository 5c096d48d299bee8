"""What to look at in every credit call: group sizes, missing values, groups without any signal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guerdon.credit.view import View
from guerdon.data.kernels import label_moments, segment_spread


def describe_level(
    values: np.ndarray, backed: np.ndarray, advantage: np.ndarray, labels: np.ndarray | None, n_labels: int
) -> dict[str, float]:
    """Numbers about one level of a credit computation.

    Args:
        values: the source's values (spans,), NaN missing.
        backed: the values that were compared (spans,).
        advantage: what became of them (spans,).
        labels, n_labels: the groups they were compared in; None where nothing was compared.

    Returns:
        spans, missing (values that are NaN), dropped (spans without an advantage: they count as 0),
        abs_advantage (mean |A|); and where groups were compared: groups, group_size (mean), singletons
        (share of groups with one member), uniform (share of larger groups whose members are all equal:
        no signal).
    """
    compared = advantage if labels is None or labels.min(initial=0) >= 0 else advantage[labels >= 0]
    present = ~np.isnan(compared)
    assigned = int(np.count_nonzero(present))
    size = np.abs(compared if assigned == len(compared) else compared[present])
    report = {
        "spans": float(len(values)),
        "missing": float(np.count_nonzero(np.isnan(values))),
        "dropped": float(len(compared) - assigned),
        "abs_advantage": float(size.mean()) if assigned else 0.0,
    }
    return report if labels is None else report | _describe_groups(backed, labels, n_labels)


def _describe_groups(values: np.ndarray, labels: np.ndarray, n_labels: int) -> dict[str, float]:
    count, _, m2 = label_moments(values, labels, n_labels)
    filled, several = count > 0, count > 1
    n_groups = int(filled.sum())
    return {
        "groups": float(n_groups),
        "group_size": float(count[filled].mean()) if n_groups else 0.0,
        "singletons": float((count == 1).sum() / n_groups) if n_groups else 0.0,
        "uniform": float((m2[several] == 0).mean()) if several.any() else 0.0,
    }


def describe_agreement(
    view: View,
    advantage: np.ndarray,
    level: str,
    others: Sequence[tuple[np.ndarray, str]],
    names: Sequence[str],
) -> dict[str, float]:
    """`correlation_<name>` with every earlier part, over the tokens the policy chose, where both vary.

    Args:
        advantage: what a part contributes, on the spans of `level`.
        others, names: the earlier parts with their levels, and their names.
    """
    known = view.rollouts.levels
    report = {}
    for (other, coarse), name in zip(others, names, strict=True):
        fine = min(level, coarse, key=known.index)
        at = view.at(fine)
        x = segment_spread(advantage, view.at(level).inside(fine))
        y = segment_spread(other, view.at(coarse).inside(fine))
        report[f"correlation_{name}"] = _correlation(x, y, at.acted_counts())
    return {name: value for name, value in report.items() if not np.isnan(value)}


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    keep = ~np.isnan(x) & ~np.isnan(y) & (weights > 0)
    x, y, w = x[keep], y[keep], weights[keep]
    total = w.sum()
    if total == 0:
        return float("nan")
    x, y = x - (w @ x) / total, y - (w @ y) / total
    below = np.sqrt((w @ (x * x)) * (w @ (y * y)))
    return float((w @ (x * y)) / below) if below > 1e-12 else float("nan")
