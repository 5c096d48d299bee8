"""What to look at in every credit call: group sizes, missing values, groups without any signal."""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels import label_moments


def describe_level(
    values: np.ndarray, advantage: np.ndarray, labels: np.ndarray, n_labels: int
) -> dict[str, float]:
    """Numbers about one level of a credit computation.

    Args:
        values: the source's values (spans,), NaN missing.
        advantage: what became of them (spans,).
        labels, n_labels: the groups they were compared in.

    Returns:
        spans, missing (count), groups, group_size (mean), singletons (share of groups with one
        member), uniform (share of larger groups whose members are all equal: no signal), and
        abs_advantage (mean |A|).
    """
    count, _, m2 = label_moments(values, labels, n_labels)
    filled = count > 0
    n_groups = int(filled.sum())
    several = count > 1
    size = np.abs(advantage)
    present = ~np.isnan(size)
    return {
        "spans": float(len(values)),
        "missing": float(np.isnan(values).sum()),
        "groups": float(n_groups),
        "group_size": float(count[filled].mean()) if n_groups else 0.0,
        "singletons": float((count == 1).sum() / n_groups) if n_groups else 0.0,
        "uniform": float((m2[several] == 0).mean()) if several.any() else 0.0,
        "abs_advantage": float(size[present].mean()) if present.any() else 0.0,
    }
