"""Uniform numbers addressed by what they are for, so that no batch order or size changes a sample.

    u(seed, context, draw, position) = hash(blake2b(seed, context ids), draw, position) / 2^53

A counter hash has no state to carry along: any worker can compute any number of the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_DRAW = np.uint64(0xD1B54A32D192ED03)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def context_key(seed: int, prompt_ids: Sequence[int], prefix_ids: Sequence[int] = ()) -> int:
    """64-bit key of a seed and the tokens the completion continues from.

    The length of the prompt is hashed too: moving a token from the prompt to the prefix is another key.
    """
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{int(seed)}:{len(prompt_ids)}:".encode())
    digest.update(np.asarray([*prompt_ids, *prefix_ids], dtype="<i8").tobytes())
    return int.from_bytes(digest.digest(), "little")


def uniforms(keys: np.ndarray, draws: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) with 53 random bits.

    Args:
        keys: uint64, `context_key` of every row; broadcast with the two others.
        draws: index of the sample of that context, from 0.
        positions: index of the token in the completion, from 0.

    Returns:
        float64 of the broadcast shape; e.g. keys (N, 1), draws (N, 1), positions (T,) -> (N, T).

    Reference: Steele, Lea, Flood, Fast splittable pseudorandom number generators (OOPSLA 2014); the
        finaliser is SplitMix64's.
    """
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is the point
        row = _mix(np.asarray(keys, np.uint64) + (np.asarray(draws).astype(np.uint64) + np.uint64(1)) * _DRAW)
        bits = _mix(row + (np.asarray(positions).astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))
