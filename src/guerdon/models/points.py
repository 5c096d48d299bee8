"""Where a head reads: for every span of a level, the prefix before it and the prefix at its end.

Enters: rollouts with tokens (or text alone, which is tokenised here) and a level. Leaves: indices into the
prefixes of `TorchEngine.prefix_states`. A span is read after the last token *the policy chose* in it, so that
a turn's score never sees the tool's reply to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from guerdon.data.levels import bounds
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError

NOT_CHOSEN = "the policy chose no token of this span"
NOTHING = "nothing was written"


@dataclass(frozen=True)
class Points:
    """Reading points of one level.

    Attributes:
        rollouts: rollouts with tokens.
        level: of the spans.
        before, after: int64 (spans,), prefix before the span and after its last chosen token (-1: none).
        row: int64 (spans,), rollout of each span.
        causes: span -> why it cannot be read.
    """

    rollouts: Rollouts
    level: str
    before: np.ndarray
    after: np.ndarray
    row: np.ndarray
    causes: Mapping[int, str]

    @property
    def prefixes(self) -> int:
        """Number of prefixes of all rollouts."""
        return int(self.rollouts.lengths.sum()) + len(self.rollouts)

    def gather(self, per_prefix: np.ndarray, name: str) -> Signal:
        """Values (prefixes,) as a signal: one per span, NaN with a cause where a span cannot be read."""
        values = np.full(len(self.after), np.nan)
        readable = self.after >= 0
        values[readable] = per_prefix[self.after[readable]]
        return Signal(values, self.level, name, dict(self.causes))

    def scatter(self, values: np.ndarray) -> np.ndarray:
        """Span values at their prefixes, float64 (prefixes,), NaN elsewhere."""
        out = np.full(self.prefixes, np.nan)
        readable = self.after >= 0
        out[self.after[readable]] = values[readable]
        return out


def reading_points(engine: Any, rollouts: Rollouts, level: str) -> Points:
    """Reading points of every span of `level`.

    Raises:
        DataError: the level does not exist in these rollouts (its name and the known levels are given).
    """
    row = np.repeat(np.arange(len(rollouts)), np.diff(rollouts.offsets(level)))
    if rollouts.tokens is None:
        tokenised, ends = _tokenised(engine, rollouts, level)
        first = np.ones(len(row), bool)
        first[1:] = row[1:] != row[:-1]
        starts = np.where(first, 0, np.roll(ends, 1))
        base = (tokenised.offsets("token")[:-1] + np.arange(len(rollouts)))[row]
        written = ends > 0
        points = tokenised, base + starts, np.where(written, base + ends, -1)
        return _points(*points, row, level)
    starts = token_bounds(rollouts, level)[:-1]
    last = last_chosen(rollouts, level)
    return _points(rollouts, starts + row, np.where(last >= 0, last + row + 1, -1), row, level)


def token_bounds(rollouts: Rollouts, level: str) -> np.ndarray:
    """Offsets int64 (spans + 1,) of the spans of `level` into the tokens."""
    return np.arange(rollouts.count("token") + 1) if level == "token" else bounds(rollouts, "token", level)


def last_chosen(rollouts: Rollouts, level: str) -> np.ndarray:
    """Flat index of the last token the policy chose in every span of `level`, int64; -1 where none."""
    if rollouts.acted is None:
        raise DataError("these rollouts have no tokens")
    ends = token_bounds(rollouts, level)
    chosen = rollouts.acted.values
    latest = np.maximum.accumulate(np.where(chosen, np.arange(len(chosen)), -1))
    last = np.full(len(ends) - 1, -1)
    filled = ends[1:] > ends[:-1]
    last[filled] = latest[ends[1:][filled] - 1]
    return np.where(last >= ends[:-1], last, -1)


def _points(rollouts: Rollouts, before: np.ndarray, after: np.ndarray, row: np.ndarray, level: str) -> Points:
    lengths = rollouts.lengths[row]
    causes = {i: NOT_CHOSEN if lengths[i] else NOTHING for i in np.flatnonzero(after < 0).tolist()}
    return Points(rollouts, level, before, after, row, causes)


def with_tokens(engine: Any, rollouts: Rollouts, eos: bool = True) -> Rollouts:
    """Rollouts with tokens: themselves, or text encoded and (with `eos`) ended as when it was sampled."""
    if rollouts.tokens is not None:
        return rollouts
    end = [engine.tokenizer.eos] if eos else []
    ids = [[*engine.tokenizer.encode(rollouts.text(i)), *end] for i in range(len(rollouts))]
    return Rollouts(
        id=rollouts.id,
        prompt=rollouts.prompt,
        completion=rollouts.completion,
        group=rollouts.group,
        tokens=Ragged.from_lists(ids, dtype=np.int32),
    )


def _tokenised(engine: Any, rollouts: Rollouts, level: str) -> tuple[Rollouts, np.ndarray]:
    """Text rollouts with tokens, and for every span how many tokens of its rollout reach to its end.

    A token that straddles a boundary belongs to the earlier span, as in `guerdon.data.spans`.
    """
    tokenised = with_tokens(engine, rollouts, eos=False)
    assert tokenised.tokens is not None
    ids = tokenised.tokens.to_lists()
    ends: list[np.ndarray] = []
    for i in range(len(rollouts)):
        text = rollouts.text(i)
        if level == "rollout":
            ends.append(np.array([len(ids[i])]))
            continue
        if level not in rollouts.partitions:
            raise DataError(
                f"rollouts of text have no {level!r} spans (levels: {', '.join(rollouts.levels)})"
            )
        sizes = np.cumsum([len(piece) for piece in engine.tokenizer.token_bytes(ids[i])])
        reach = [len(text[:end].encode("utf-8", "surrogatepass")) for end in rollouts.partitions[level][i]]
        ends.append(np.minimum(np.searchsorted(sizes, reach) + 1, len(ids[i])))
    return tokenised, np.concatenate([np.empty(0, np.int64), *ends])
