"""The kernels once more, in plain Python: one value at a time, written from their docstrings."""

from __future__ import annotations

import math
import statistics

nan = math.nan


def rows(values, offsets):
    """The segments as lists."""
    values, offsets = [float(v) for v in values], [int(o) for o in offsets]
    return [values[offsets[s] : offsets[s + 1]] for s in range(len(offsets) - 1)]


def reduce(values, offsets, how, skip_missing=False):
    """See `segment_reduce`."""
    return [_reduce_one(row, how, skip_missing) for row in rows(values, offsets)]


def _reduce_one(row, how, skip_missing):
    present = [x for x in row if not math.isnan(x)]
    if how in ("first", "last"):
        pool = present if skip_missing else row
        return nan if not pool else pool[0 if how == "first" else -1]
    if not skip_missing and len(present) < len(row):
        return nan
    if not present:
        empty = {"sum": 0.0, "prod": 1.0}
        return empty.get(how, nan) if not row else nan
    fold = {"sum": sum, "prod": math.prod, "min": min, "max": max, "mean": statistics.fmean}
    return fold[how](present)


def spread(values, offsets, how):
    """See `segment_spread`."""
    out = []
    for s, x in enumerate(float(v) for v in values):
        n = int(offsets[s + 1] - offsets[s])
        for i in range(n):
            if how == "all":
                out.append(x)
            elif how == "share":
                out.append(x / n)
            else:
                out.append(x if i == (n - 1 if how == "last" else 0) else 0.0)
    return out


def scan(values, offsets, decay, reverse, mask):
    """See `segment_scan`."""
    out = []
    for row, keep in zip(rows(values, offsets), rows(mask, offsets), strict=True):
        order = list(range(len(row)))
        done = [0.0] * len(row)
        running = 0.0
        for i in reversed(order) if reverse else order:
            if keep[i]:
                running = row[i] + decay * running
                done[i] = running
        out += done
    return out


def gae(rewards, values, offsets, gamma, lam, mask, bootstrap):
    """Sums of discounted temporal differences, as the definition has them; see `segment_gae`."""
    out = []
    columns = (rows(x, offsets) for x in (rewards, values, mask))
    for s, (reward, value, keep) in enumerate(zip(*columns, strict=True)):
        at = [i for i in range(len(reward)) if keep[i]]
        after = [*(value[i] for i in at[1:]), float(bootstrap[s])][: len(at)]
        delta = [reward[i] + gamma * v - value[i] for i, v in zip(at, after, strict=True)]
        done = [0.0] * len(reward)
        for k, i in enumerate(at):
            done[i] = sum((gamma * lam) ** (j - k) * delta[j] for j in range(k, len(at)))
        out += done
    return out


def members(values, labels, n_labels):
    """Present values of every label."""
    groups = [[] for _ in range(n_labels)]
    for x, g in zip(values, labels, strict=True):
        if g >= 0 and not math.isnan(x):
            groups[int(g)].append(float(x))
    return groups


def moments(values, labels, n_labels, weights=None):
    """See `label_moments`."""
    weights = [1.0] * len(values) if weights is None else weights
    count, mean, m2 = [], [], []
    for g in range(n_labels):
        mine = [
            (float(x), float(w))
            for x, w, label in zip(values, weights, labels, strict=True)
            if label == g and not math.isnan(x)
        ]
        total = math.fsum(w for _, w in mine)
        centre = math.fsum(w * x for x, w in mine) / total if total > 0 else nan
        count.append(total)
        mean.append(centre)
        m2.append(math.fsum(w * (x - centre) ** 2 for x, w in mine) if total > 0 else 0.0)
    return count, mean, m2


def variance(values, labels, n_labels, ddof):
    """See `label_var`."""
    out = []
    for group in members(values, labels, n_labels):
        centre = statistics.fmean(group) if group else nan
        squares = math.fsum((x - centre) ** 2 for x in group)
        out.append(squares / (len(group) - ddof) if len(group) > ddof else nan)
    return out


def loo_mean(values, labels):
    """See `label_loo_mean`."""
    out = []
    for i, g in enumerate(labels):
        others = [
            float(x)
            for j, (x, h) in enumerate(zip(values, labels, strict=True))
            if j != i and h == g and not math.isnan(x)
        ]
        out.append(statistics.fmean(others) if others and g >= 0 else nan)
    return out


def rank(values, labels, descending, ties):
    """See `label_rank`."""
    out = []
    for i, (x, g) in enumerate(zip(values, labels, strict=True)):
        if g < 0 or math.isnan(x):
            out.append(nan)
            continue
        peers = [(y, j) for j, (y, h) in enumerate(zip(values, labels, strict=True)) if h == g]
        peers = [(y, j) for y, j in peers if not math.isnan(y)]
        before = sum(y > x if descending else y < x for y, _ in peers)
        equal = [j for y, j in peers if y == x]
        extra = {"average": (len(equal) - 1) / 2, "min": 0, "first": sum(j < i for j in equal)}
        out.append(before + extra[ties])
    return out


def whiten(values, mask, ddof, eps, shift):
    """See `whiten`."""
    kept = [float(x) for x, m in zip(values, mask, strict=True) if m and not math.isnan(x)]
    mean = statistics.fmean(kept) if kept else 0.0
    spread_ = 1.0
    if len(kept) > ddof:
        spread_ = math.sqrt(math.fsum((x - mean) ** 2 for x in kept) / (len(kept) - ddof) + eps) or 1.0
    return [
        (float(x) - (mean if shift else 0.0)) / spread_ if m else 0.0
        for x, m in zip(values, mask, strict=True)
    ]
