"""One number from the log-probs of a span's tokens: every reduction the literature uses.

Enters: log-probs and offsets. Leaves: one value per span, NaN for an empty one.
"""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels import segment_reduce
from guerdon.errors import RecipeError

REDUCERS = ("sum", "mean", "prob", "mean_prob", "geometric", "perplexity")


def reduce_logprobs(
    logprobs: np.ndarray, offsets: np.ndarray, how: str = "mean", floor: float | None = None
) -> np.ndarray:
    """With l_j the log-probs of a span of n tokens:

        sum         sum_j l_j              prob        exp(sum_j l_j)
        mean        1/n sum_j l_j          geometric   exp(1/n sum_j l_j)
        mean_prob   1/n sum_j exp(l_j)     perplexity  exp(-1/n sum_j l_j)

    Args:
        logprobs: (tokens,) nats. offsets: int64 (spans + 1,).
        how: one of `REDUCERS`.
        floor: least log-prob a token may have; None leaves -inf.

    Returns:
        float64 (spans,), NaN for an empty span.

    Raises:
        RecipeError: an unknown reducer.
    """
    if how not in REDUCERS:
        raise RecipeError(f"reduce: got {how!r}, expected one of {', '.join(REDUCERS)}")
    values = np.asarray(logprobs, np.float64)
    if floor is not None:
        values = np.maximum(values, floor)
    if how == "mean_prob":
        return segment_reduce(np.exp(values), offsets, "mean")
    mean = segment_reduce(values, offsets, "mean")
    if how in ("sum", "prob"):
        total = np.where(np.diff(offsets) > 0, segment_reduce(values, offsets, "sum"), np.nan)
        return total if how == "sum" else np.exp(total)
    if how == "mean":
        return mean
    with np.errstate(over="ignore"):
        return np.exp(mean if how == "geometric" else -mean)


def log_mean_exp(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """log 1/K sum_k exp(v_k): the log of a Monte Carlo average of probabilities; NaN for none."""
    values = np.asarray(values, np.float64)
    if not values.shape[axis]:
        return np.full(values.sum(axis=axis).shape, np.nan)
    top = values.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - top).mean(axis=axis)) + top.squeeze(axis)


def monte_carlo_perplexity(sums: np.ndarray, n_tokens: int) -> float:
    """exp(-1/n log 1/K sum_k exp(s_k)) of an answer of n tokens under K sampled thoughts.

    Args:
        sums: (K,) summed log-prob of the answer behind each thought.
    """
    return float(np.exp(-log_mean_exp(np.asarray(sums, np.float64)) / n_tokens))


def log_ratio(with_context: np.ndarray, without: np.ndarray) -> np.ndarray:
    """log p(x | context) - log p(x): what a context is worth to a text, in nats."""
    return np.asarray(with_context, np.float64) - np.asarray(without, np.float64)


def relative_perplexity_drop(
    perplexity: np.ndarray, alone: np.ndarray, floor: float = -1.0, eps: float = 1e-9
) -> np.ndarray:
    """max((ppl_alone - ppl) / (ppl_alone + eps), floor), below 1; float64."""
    alone = np.asarray(alone, np.float64)
    with np.errstate(invalid="ignore"):
        drop = (alone - perplexity) / (alone + eps)
    return np.where(np.isnan(drop), np.nan, np.maximum(drop, floor))
