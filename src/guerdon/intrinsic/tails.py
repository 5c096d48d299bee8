"""Losses besides the objective's, in the same optimiser step: what they add to the rollouts they read.

An extra loss is called with the rollouts of a step and the engine. It returns them with tokens of its own
behind some rows, or with further rows, and what it takes of the log-probs of all of them. What it added is
not acted: no objective reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.engines.protocol import LossFn

_PER_ROW = ("id", "prompt", "completion", "reference", "meta")
_PER_TOKEN = ("acted", "logprobs", "ref_logprobs", "advantages")


class Extended(NamedTuple):
    """Rollouts with what a loss reads in them, and the loss: (stats, rows) -> (scalar, metrics).

    The scalars of all micro-batches add up to the step's loss, and so do the metrics.
    """

    rollouts: Rollouts
    loss: LossFn


class ExtraLoss(Protocol):
    """See the module's text."""

    def __call__(self, rollouts: Rollouts, engine: Any) -> Extended: ...


def with_rows(rollouts: Rollouts, like: Sequence[int], ids: Sequence[Sequence[int]]) -> Rollouts:
    """Further rows behind the given ones: what the rows in `like` have, and tokens that are not acted.

    Signals of rollouts stay and are missing there; those of groups, and partitions, are left out.
    """
    own = with_tails(rollouts, [()] * len(rollouts))
    tokens = Ragged.from_lists([list(row) for row in ids], dtype=np.int32)
    index = np.asarray(like, np.int64)
    signals = {name: s for name, s in own.signals.items() if s.level == "rollout"}
    own = replace(own, signals=signals)
    columns: dict[str, Any] = {
        "group": own.group[index],
        "truncated": np.zeros(len(index), bool),
        "tokens": tokens,
        "signals": {name: s.with_values(np.full(len(index), np.nan)) for name, s in signals.items()},
    }
    for name in _PER_ROW:
        column = getattr(own, name)
        columns[name] = None if column is None else [column[i] for i in index]
    for name in _PER_TOKEN:
        values = getattr(own, name)
        if values is not None:
            columns[name] = tokens.with_values(np.zeros(tokens.total, values.values.dtype))
    further = Rollouts(**columns)
    return Rollouts.concat([own, further]) if len(index) else own


def with_tails(rollouts: Rollouts, tails: Sequence[Sequence[int]]) -> Rollouts:
    """Token ids behind every row, not acted, with zeros in the other columns; partitions are left out.

    Signals of rollouts and groups stay.
    """
    assert rollouts.tokens is not None
    old, added = rollouts.tokens, np.array([len(tail) for tail in tails], np.int64)
    lengths = old.lengths + added
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    column = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    before = column < np.repeat(old.lengths, lengths)
    ids = np.empty(offsets[-1], np.int32)
    ids[before] = old.values
    ids[~before] = np.array([token for tail in tails for token in tail], np.int32)
    columns: dict[str, Any] = {}
    for name in _PER_TOKEN:
        values = getattr(rollouts, name)
        if values is not None:
            wider = np.zeros(offsets[-1], values.values.dtype)
            wider[before] = values.values
            columns[name] = Ragged(wider, offsets)
    columns.setdefault("acted", Ragged(before, offsets))
    coarse = {name: s for name, s in rollouts.signals.items() if s.level in ("rollout", "group")}
    row_columns = {
        n: getattr(rollouts, n) for n in ("id", "group", "prompt", "completion", "reference", "meta")
    }
    return Rollouts(
        **row_columns, truncated=rollouts.truncated, tokens=Ragged(ids, offsets), signals=coarse, **columns
    )
