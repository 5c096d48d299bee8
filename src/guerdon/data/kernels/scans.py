"""Segment scans: discounted sums and generalised advantages along every rollout at once."""

from __future__ import annotations

import numpy as np

from guerdon.data.kernels.arrays import NO_FLOATS, counted, flat, spans
from guerdon.data.kernels.compile import kernel, launch, parallel_kernel, prange


def segment_scan(
    values: np.ndarray,
    offsets: np.ndarray,
    decay: float = 1.0,
    reverse: bool = True,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Decayed running sum inside each segment.

    Backwards (`reverse`): y_t = x_t + decay * y_{t+1}; forwards: y_t = x_t + decay * y_{t-1}.

    Args:
        values: (total,) any float dtype; NaN makes every sum it enters NaN.
        offsets: int64 (S+1,).
        decay: factor per position.
        reverse: scan from the end (reward-to-go) or from the start.
        mask: bool (total,). Where False the position is passed over: its value is left out, the running
            sum goes by unchanged and without decay, and the output is 0.

    Returns:
        float64 (total,).

    Raises:
        DataError: offsets or mask that do not fit the values.
    """
    values = flat(values)
    n = len(values)
    out = np.empty(n)
    launch(_scan, n, values, spans(offsets, n), float(decay), bool(reverse), counted(mask, n), out)
    return out


def segment_gae(
    rewards: np.ndarray,
    values: np.ndarray,
    offsets: np.ndarray,
    gamma: float = 1.0,
    lam: float = 1.0,
    mask: np.ndarray | None = None,
    bootstrap: np.ndarray | None = None,
) -> np.ndarray:
    """Generalised advantage estimation inside each segment.

    delta_t = r_t + gamma * V_{t+1} - V_t and A_t = delta_t + gamma * lam * A_{t+1}, where V after the last
    position is `bootstrap` (0 by default: the rollout really ended there).

    Args:
        rewards, values: (total,) any float dtype.
        offsets: int64 (S+1,).
        gamma: discount per position.
        lam: trace decay; 1 gives returns minus values, 0 one-step temporal differences.
        mask: bool (total,). Where False the position is passed over (environment tokens): V_{t+1} and
            A_{t+1} are those of the next position that counts, and the output is 0.
        bootstrap: (S,) value of the state after each segment, for truncated rollouts.

    Returns:
        float64 (total,). Returns are this plus `values`.

    Raises:
        DataError: values, offsets, mask or bootstrap that do not fit the rewards.

    Reference: Schulman et al., High-Dimensional Continuous Control Using Generalized Advantage
    Estimation, arXiv 1506.02438.
    """
    rewards = flat(rewards, name="rewards")
    n = len(rewards)
    values, offsets = flat(values, n, "values"), spans(offsets, n)
    last = NO_FLOATS if bootstrap is None else flat(bootstrap, len(offsets) - 1, "bootstrap")
    last, mask, out = last.astype(np.float64), counted(mask, n), np.empty(n)
    launch(_gae, n, rewards, values, offsets, float(gamma), float(lam), mask, last, out)
    return out


@parallel_kernel
def _scan(values, offsets, decay, reverse, mask, out):
    for s in prange(len(offsets) - 1):
        start, end = offsets[s], offsets[s + 1]
        if len(mask) > 0:
            _scan_some(values[start:end], decay, reverse, mask[start:end], out[start:end])
        else:
            _scan_all(values[start:end], decay, reverse, out[start:end])


@kernel()
def _scan_all(values, decay, reverse, out):
    step = -1 if reverse else 1
    i = len(values) - 1 if reverse else 0
    left, running = len(values), 0.0
    while left >= 4:  # four at a time: only one product waits for the sum before it
        j, k, m = i + step, i + 2 * step, i + 3 * step
        one = np.float64(values[i])
        two = values[j] + decay * one
        three = values[k] + decay * two
        four = values[m] + decay * three
        out[i] = one + decay * running
        out[j] = two + decay * decay * running
        out[k] = three + decay * decay * decay * running
        running = four + (decay * decay) * (decay * decay) * running
        out[m] = running
        i += 4 * step
        left -= 4
    for _ in range(left):
        running = values[i] + decay * running
        out[i] = running
        i += step


@kernel()
def _scan_some(values, decay, reverse, mask, out):
    running = 0.0
    for k in range(len(values)):
        i = len(values) - 1 - k if reverse else k
        if mask[i]:
            running = values[i] + decay * running
            out[i] = running
        else:
            out[i] = 0.0


@parallel_kernel
def _gae(rewards, values, offsets, gamma, lam, mask, bootstrap, out):
    for s in prange(len(offsets) - 1):
        start, end = offsets[s], offsets[s + 1]
        last = bootstrap[s] if len(bootstrap) > 0 else 0.0
        reward, value, advantage = rewards[start:end], values[start:end], out[start:end]
        if len(mask) > 0:
            _differences_some(reward, value, gamma, last, mask[start:end], advantage)
            _scan_some(advantage, gamma * lam, True, mask[start:end], advantage)
        else:
            _differences_all(reward, value, gamma, last, advantage)
            _scan_all(advantage, gamma * lam, True, advantage)


@kernel()
def _differences_all(rewards, values, gamma, last, out):
    n = len(out)
    for i in range(n - 1):
        out[i] = rewards[i] + gamma * values[i + 1] - values[i]
    if n > 0:
        out[n - 1] = rewards[n - 1] + gamma * last - values[n - 1]


@kernel()
def _differences_some(rewards, values, gamma, last, mask, out):
    following = last
    for k in range(len(out)):
        i = len(out) - 1 - k
        if mask[i]:
            out[i] = rewards[i] + gamma * following - values[i]
            following = np.float64(values[i])
