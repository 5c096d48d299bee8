"""A factored belief over attributes, and what evidence is worth in entropy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from guerdon.errors import DataError


def entropy(p: np.ndarray, base: float = 2.0) -> float:
    """-sum p log p with 0 log 0 = 0; bits by default."""
    p = np.asarray(p, np.float64)
    p = p[p > 0]
    return float(max(0.0, -(p * np.log(p)).sum() / np.log(base)))


@dataclass(frozen=True)
class Belief:
    """Independent categorical beliefs: attribute -> value -> probability.

    Raises:
        DataError: probabilities that are negative or do not sum to 1; the attribute is named.
    """

    attributes: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        for name, p in self.attributes.items():
            values = np.array(list(p.values()), np.float64)
            if not len(values) or (values < 0).any() or abs(values.sum() - 1.0) > 1e-6:
                raise DataError(f"belief {name!r}: probabilities must be >= 0 and sum to 1, got {dict(p)}")

    def entropy(self, base: float = 2.0, weights: Mapping[str, float] | None = None) -> float:
        """sum_k w_k H(p_k); weights default to 1."""
        given = weights or {}
        return sum(
            given.get(name, 1.0) * entropy(np.array(list(p.values())), base)
            for name, p in self.attributes.items()
        )

    def without(self, name: str, excluded: Iterable[str]) -> Belief:
        """Rule values out; the remaining mass is renormalised.

        Raises:
            DataError: an unknown attribute or value, or nothing would be left.
        """
        if name not in self.attributes:
            raise DataError(f"belief has no attribute {name!r} (it has {', '.join(self.attributes)})")
        gone, known = set(excluded), self.attributes[name]
        if gone - known.keys():
            raise DataError(f"belief {name!r} has no value {sorted(gone - known.keys())[0]!r}")
        left = {value: p for value, p in known.items() if value not in gone}
        mass = sum(left.values())
        if mass <= 0:
            raise DataError(f"belief {name!r}: the evidence rules every value out")
        return Belief({**self.attributes, name: {value: p / mass for value, p in left.items()}})

    def given(self, name: str, value: str) -> Belief:
        """The attribute is known."""
        if name not in self.attributes or value not in self.attributes[name]:
            raise DataError(f"belief has no value {value!r} of an attribute {name!r}")
        return self.without(name, self.attributes[name].keys() - {value})


def information_gains(
    prior: Belief,
    evidence: Sequence[Mapping[str, str | Sequence[str]]],
    base: float = 2.0,
    weights: Mapping[str, float] | None = None,
    turn_cost: float = 0.0,
) -> np.ndarray:
    """r_t = H(B_{t-1}) - H(B_t) - cost, float64 (turns,); without a cost they sum to H(B_0) - H(B_T).

    Args:
        evidence: per turn, attribute -> its value (a text) or the values ruled out (a list).
    """
    belief, out = prior, []
    before = belief.entropy(base, weights)
    for turn in evidence:
        for name, fact in turn.items():
            belief = belief.given(name, fact) if isinstance(fact, str) else belief.without(name, fact)
        after = belief.entropy(base, weights)
        out.append(before - after - turn_cost)
        before = after
    return np.array(out, np.float64)
