"""Pairing rows with columns of a score matrix: the best one-to-one pairing, and the greedy one."""

from __future__ import annotations

import math
from collections.abc import Sequence

Scores = Sequence[Sequence[float]]


def best_pairs(scores: Scores) -> list[tuple[int, int]]:
    """One-to-one pairing of rows and columns with the largest total score, as (row, column) by row.

    min(rows, columns) pairs. The Hungarian algorithm with potentials, O(rows^2 columns): made for the
    handful of tool calls or boxes of one answer.

    Args:
        scores: (rows, columns), finite.
    """
    rows, columns = len(scores), len(scores[0]) if scores else 0
    if rows > columns:
        turned = [[scores[i][j] for i in range(rows)] for j in range(columns)]
        return sorted((i, j) for j, i in best_pairs(turned))
    row_potential, column_potential = [0.0] * (rows + 1), [0.0] * (columns + 1)
    owner = [0] * (columns + 1)  # row (from 1) that holds each column (from 1); 0: free
    for row in range(1, rows + 1):
        owner[0] = row
        column = 0
        slack = [math.inf] * (columns + 1)
        came_from = [0] * (columns + 1)
        seen = [False] * (columns + 1)
        while owner[column]:
            seen[column] = True
            at, step, following = owner[column], math.inf, 0
            for j in range(1, columns + 1):
                if seen[j]:
                    continue
                cost = -scores[at - 1][j - 1] - row_potential[at] - column_potential[j]
                if cost < slack[j]:
                    slack[j], came_from[j] = cost, column
                if slack[j] < step:
                    step, following = slack[j], j
            for j in range(columns + 1):
                if seen[j]:
                    row_potential[owner[j]] += step
                    column_potential[j] -= step
                else:
                    slack[j] -= step
            column = following
        while column:
            owner[column] = owner[came_from[column]]
            column = came_from[column]
    return sorted((owner[j] - 1, j - 1) for j in range(1, columns + 1) if owner[j])


def greedy_pairs(scores: Scores) -> list[tuple[int, int]]:
    """Each row in order takes the free column with its highest score above 0, the first of equals.

    Never better than `best_pairs`; what several released rewards do.
    """
    taken: set[int] = set()
    pairs = []
    for i, row in enumerate(scores):
        free = [j for j in range(len(row)) if j not in taken and row[j] > 0]
        if free:
            best = max(free, key=lambda j: (row[j], -j))
            taken.add(best)
            pairs.append((i, best))
    return pairs


def total(scores: Scores, pairs: Sequence[tuple[int, int]]) -> float:
    """Sum of the scores of the pairs."""
    return math.fsum(scores[i][j] for i, j in pairs)
