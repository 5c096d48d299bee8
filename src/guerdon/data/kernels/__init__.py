"""Kernels over ragged offsets and group labels: the arithmetic under every credit method.

Arrays in, new float64 arrays out; only `segment_add`, `settle` and `whiten(out=...)` write to what they are
given. Inputs are checked, because compiled code checks no bounds. Segment kernels take `(values, offsets)`,
label kernels `(values, labels)`. Compiled by Numba on first use and cached on disk.
"""

from __future__ import annotations

from guerdon.data.kernels.labels import (
    label_loo_mean,
    label_mean,
    label_moments,
    label_rank,
    label_sum,
    label_var,
)
from guerdon.data.kernels.masks import segment_count, segment_last
from guerdon.data.kernels.pairs import first_positions, pair_labels
from guerdon.data.kernels.scans import segment_gae, segment_scan
from guerdon.data.kernels.segments import (
    HOW_REDUCE,
    HOW_SPREAD,
    segment_add,
    segment_reduce,
    segment_spread,
    settle,
)
from guerdon.data.kernels.whitening import masked_moments, whiten

__all__ = [
    "HOW_REDUCE",
    "HOW_SPREAD",
    "first_positions",
    "label_loo_mean",
    "label_mean",
    "label_moments",
    "label_rank",
    "label_sum",
    "label_var",
    "masked_moments",
    "pair_labels",
    "segment_add",
    "segment_count",
    "segment_gae",
    "segment_last",
    "segment_reduce",
    "segment_scan",
    "segment_spread",
    "settle",
    "whiten",
]
