"""Judging pairs in both orders: what two verdicts on (A, B) and (B, A) say together. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from guerdon.errors import RecipeError

RULES = ("mean", "agree", "sign")


def resolve(forward: float, backward: float, rule: str = "mean") -> float:
    """Win share of X over Y from two verdicts.

    With f = share of X when shown first, b = share of X when shown second, both in [0, 1]:

        mean:   (f + b) / 2
        agree:  1 or 0 where both orders prefer the same one, else 0.5
        sign:   1, 0.5 or 0 by the sign of (f - 1/2) + (b - 1/2) after rounding each to win, tie, loss

    so that a win and a tie are .75, .5 and 1 in this order, and a win and a loss .5 in all three. NaN
    where either is missing.

    Args:
        forward: f.
        backward: b, already seen from X (one minus the share of the answer shown first).
        rule: what disagreeing orders are worth.

    Reference: "sign" is the two-game counter of JudgeBench, arXiv 2410.12784.
    """
    if rule not in RULES:
        raise RecipeError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    if math.isnan(forward) or math.isnan(backward):
        return math.nan
    if rule == "mean":
        return (forward + backward) / 2.0
    first, second = side(forward), side(backward)
    if rule == "agree":
        return (1.0 + first) / 2.0 if first == second else 0.5
    return (1.0 + float(np.sign(first + second))) / 2.0


def side(share: float) -> int:
    """1 for a win, -1 for a loss, 0 for a tie."""
    return (share > 0.5) - (share < 0.5)


def consistent(forward: float, backward: float) -> float:
    """1 where both orders prefer the same answer (or both see a tie), else 0; NaN where one is missing."""
    if math.isnan(forward) or math.isnan(backward):
        return math.nan
    return float(side(forward) == side(backward))


def schedule(players: int, opponents: int | None = None) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j: all, or a circle in which each player meets about `opponents` others.

    In the circle i meets i+1 ... i+k (mod n) with k = ceil(opponents / 2): the same games for everybody, and
    no random choice.
    """
    if opponents is None or opponents >= players - 1:
        return [(i, j) for i in range(players) for j in range(i + 1, players)]
    reach = -(-opponents // 2)
    met = {tuple(sorted((i, (i + step) % players))) for i in range(players) for step in range(1, reach + 1)}
    return sorted((i, j) for i, j in met if i != j)


def win_rates(
    shares: np.ndarray, player: Sequence[int], min_share: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Mean win share of every row against the other rows.

        r_i = mean over j != i of S[p_i, p_j]

    over the scheduled pairs that have a result; rows of the same player tie (.5).

    Args:
        shares: (P, P); S[a, b] is the win share of player a over b, NaN where missing, infinite where
            not scheduled.
        player: player of every row (equal answers are one player).
        min_share: with a smaller share of results among the scheduled pairs a row is NaN.

    Returns:
        (win rate, share of scheduled pairs with a result), float64 (rows,) each.
    """
    index = np.asarray(player, dtype=np.int64)
    rates, known = np.full(len(index), np.nan), np.full(len(index), np.nan)
    for row, own in enumerate(index):
        against = np.where(index == own, 0.5, shares[own, index])
        against = np.delete(against, row)
        scheduled = against[~np.isinf(against)]
        if len(scheduled):
            results = scheduled[~np.isnan(scheduled)]
            known[row] = len(results) / len(scheduled)
            if len(results) and known[row] >= min_share:
                rates[row] = results.mean()
    return rates, known
