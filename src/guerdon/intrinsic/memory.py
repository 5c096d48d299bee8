"""An episodic memory: what was answered to which query, read back by its nearest queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from guerdon.errors import DataError, RecipeError

METRICS = ("cosine", "l2")
SAME = 1e-5
"""Largest difference, relative to the largest number, of two embeddings of one query."""


class EpisodicMemory:
    """Up to `queries` keys, each with up to `responses` vectors; the oldest leave first, both ways.

    Args:
        queries, responses: capacities.
        metric: nearness of queries, "cosine" or "l2"; brute force.
    """

    def __init__(self, queries: int = 10_000, responses: int = 100, metric: str = "cosine") -> None:
        if queries < 1 or responses < 1 or metric not in METRICS:
            raise RecipeError(
                f"memory: expected queries and responses >= 1 and metric out of {METRICS}, "
                f"got {queries!r}, {responses!r}, {metric!r}"
            )
        self.queries, self.responses, self.metric = queries, responses, metric
        self.entries: dict[tuple[float, ...], list[tuple[float, ...]]] = {}
        self._keys: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def write(self, query: np.ndarray, response: np.ndarray) -> None:
        """Store a response under its query.

        Raises:
            DataError: a vector of another width than those stored, or one that is not finite.
        """
        key, value = _vector(query, "query"), _vector(response, "response")
        if self.entries:
            known = next(iter(self.entries.items()))
            if len(key) != len(known[0]) or len(value) != len(known[1][0]):
                raise DataError(
                    f"memory holds queries of width {len(known[0])} and responses of {len(known[1][0])}, "
                    f"got {len(key)} and {len(value)}: keep one embedder"
                )
        stored = self.entries[self._place(key)]
        stored.append(value)
        del stored[: -self.responses]
        while len(self.entries) > self.queries:
            self._keys = self._matrix()[1:]
            del self.entries[next(iter(self.entries))]

    def _place(self, key: tuple[float, ...]) -> tuple[float, ...]:
        """The stored key this one equals, up to the rounding of an embedder's batches; else a new one."""
        if key in self.entries:
            return key
        keys, wanted = self._matrix(), np.array(key)
        if self.entries:
            far = np.abs(keys - wanted).max(axis=1)
            nearest = int(far.argmin())
            if far[nearest] <= SAME * max(1.0, float(np.abs(wanted).max())):
                return list(self.entries)[nearest]
        self._keys = np.vstack([keys, wanted]) if self.entries else wanted[None]
        self.entries[key] = []
        return key

    def _matrix(self) -> np.ndarray:
        """All keys, float64 (queries, D)."""
        if self._keys is None:
            self._keys = np.array(list(self.entries))
        return self._keys

    def read(self, query: np.ndarray, k: int = 1) -> np.ndarray:
        """Responses of the k nearest queries, float64 (found, D); (0, 0) from an empty memory."""
        if not self.entries:
            return np.empty((0, 0))
        keys = self._matrix()
        wanted = np.asarray(query, np.float64)
        if self.metric == "cosine":
            far = -(keys @ wanted) / np.maximum(np.linalg.norm(keys, axis=1) * np.linalg.norm(wanted), 1e-12)
        else:
            far = np.linalg.norm(keys - wanted, axis=1)
        nearest = np.argsort(far, kind="stable")[:k]
        stored = list(self.entries.values())
        return np.array([value for i in nearest.tolist() for value in stored[i]])

    def state_dict(self) -> dict[str, Any]:
        return {"entries": [[list(key), [list(v) for v in values]] for key, values in self.entries.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.entries = {tuple(key): [tuple(v) for v in values] for key, values in state["entries"]}
        self._keys = None


def distance_to_centroid(response: np.ndarray, stored: np.ndarray) -> float:
    """||a - mean(B)||_2; NaN where nothing is stored."""
    if not len(stored):
        return float("nan")
    return float(np.linalg.norm(np.asarray(response, np.float64) - stored.mean(axis=0)))


def novelty(response: np.ndarray, stored: np.ndarray) -> float:
    """1 - max_b cos(a, b); NaN where nothing is stored."""
    if not len(stored):
        return float("nan")
    a = np.asarray(response, np.float64)
    norms = np.maximum(np.linalg.norm(stored, axis=1) * np.linalg.norm(a), 1e-12)
    return float(1.0 - (stored @ a / norms).max())


def _vector(values: np.ndarray, what: str) -> tuple[float, ...]:
    flat = np.asarray(values, np.float64)
    if flat.ndim != 1 or not len(flat) or not np.isfinite(flat).all():
        raise DataError(f"memory: a {what} must be one finite vector, got shape {flat.shape}")
    return tuple(flat.tolist())
