"""Rollouts: N rollouts as ragged columns. Plain data; everything else in guerdon is a function of it.

Enters: columns (from an engine, a file, a trainer). Leaves: the same columns selected, joined, or with
signals moved between levels. Levels are, from fine to coarse, `token`, the partitions (`step`, `turn` or
any other named one), `rollout` and `group`. Text without tokens counts characters instead of tokens, and
its finest level is its finest partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from guerdon.data import checks
from guerdon.data import levels as lv
from guerdon.data.ragged import Ragged, row_index
from guerdon.data.signal import Signal
from guerdon.errors import DataError

TOKEN_COLUMNS = {
    "tokens": np.int32,
    "acted": np.bool_,
    "logprobs": np.float32,
    "ref_logprobs": np.float32,
    "entropy": np.float32,
    "values": np.float32,
    "advantages": np.float64,
}
ROW_COLUMNS = ("id", "prompt", "completion", "reference", "meta", "images")
STEP_COLUMNS = ("state", "node")


@dataclass(frozen=True, eq=False, kw_only=True)
class Rollouts:
    """N rollouts, one column per field; all but one of `completion` and `tokens` may be None.

    Attributes:
        id, prompt, completion, reference, meta, images: lists of N entries. `completion` and `prompt`
            are text or chat messages.
        group: int64 (N,): samples of one prompt share it. Default: every rollout its own group.
        truncated: bool (N,): cut by a length or step limit.
        tokens: int32 ragged completion tokens, chosen by the policy or inserted by an environment.
        acted: bool ragged: True where the policy chose the token.
        logprobs, ref_logprobs, entropy, values: float32 ragged, one per token.
        advantages: float64 ragged, one per token.
        partitions: level name -> int64 ragged end offsets inside each rollout, counted in tokens
            (characters of the completion's text where there are no tokens). Strictly increasing, the
            last equals the length: every token lies in exactly one span. A finer partition refines
            every coarser one.
        state, node: int64, one per step: key of what the agent saw before it; id of its tree node.
        signals: name -> Signal.

    Raises:
        DataError: a column whose shape disagrees with the others; row and column are named.
    """

    id: list[str] | None = None
    group: np.ndarray = None  # type: ignore[assignment]
    prompt: list[Any] | None = None
    completion: list[Any] | None = None
    reference: list[Any] | None = None
    meta: list[dict[str, Any]] | None = None
    images: list[Any] | None = None
    truncated: np.ndarray = None  # type: ignore[assignment]
    tokens: Ragged | None = None
    acted: Ragged | None = None
    logprobs: Ragged | None = None
    ref_logprobs: Ragged | None = None
    entropy: Ragged | None = None
    values: Ragged | None = None
    advantages: Ragged | None = None
    partitions: Mapping[str, Ragged] = field(default_factory=dict)
    state: np.ndarray | None = None
    node: np.ndarray | None = None
    signals: Mapping[str, Signal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tokens is None and self.completion is None:
            raise DataError("rollouts need `completion` or `tokens`; both are missing")
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        for name in ROW_COLUMNS:
            column = getattr(self, name)
            put(name, None if column is None else checks.entries(column, name))
        for name, dtype in TOKEN_COLUMNS.items():
            column = getattr(self, name)
            if column is not None:
                put(name, _typed(checks.ragged(column, f"column {name!r}"), dtype))
        n = len(self.tokens if self.tokens is not None else self.completion or [])
        put("group", np.arange(n) if self.group is None else checks.integers(self.group, "group"))
        cut = np.zeros(n) if self.truncated is None else np.atleast_1d(self.truncated)
        put("truncated", cut.astype(bool))
        if self.acted is None and self.tokens is not None:
            put("acted", self.tokens.with_values(np.ones(self.tokens.total, bool)))
        for name, ends in self.partitions.items():
            checks.ragged(ends, f"partition {name!r}")
        ordered = lv.order_partitions(self.partitions)
        put("partitions", {name: _typed(ends, np.int64) for name, ends in ordered})
        for name in STEP_COLUMNS:
            column = getattr(self, name)
            put(name, None if column is None else checks.integers(column, name))
        put("signals", dict(self.signals))
        checks.check_rollouts(self)

    # -- size and levels ---------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.group)

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """Levels from fine to coarse; "token" only where there are tokens."""
        finest = ("token",) if self.tokens is not None else ()
        return (*finest, *self.partitions, "rollout", "group")

    @cached_property
    def lengths(self) -> np.ndarray:
        """Length of every rollout in tokens (characters where there are no tokens), int64 (N,)."""
        if self.tokens is not None:
            return self.tokens.lengths
        return np.array([len(self.text(i)) for i in range(len(self))], dtype=np.int64)

    @cached_property
    def all_acted(self) -> bool:
        """True where the policy chose every token."""
        return self.acted is None or bool(self.acted.values.all())

    def offsets(self, level: str) -> np.ndarray:
        """Spans of `level` per rollout as offsets int64 (N+1,)."""
        if level == "token" and self.tokens is not None:
            return self.tokens.offsets
        if level in self.partitions:
            return self.partitions[level].offsets
        if level == "rollout":
            return np.arange(len(self) + 1, dtype=np.int64)
        raise DataError(f"these rollouts have no {level!r} spans (levels: {', '.join(self.levels)})")

    def count(self, level: str) -> int:
        """Number of spans of `level` over all rollouts."""
        return self.groups()[1] if level == "group" else int(self.offsets(level)[-1])

    def groups(self) -> tuple[np.ndarray, int]:
        """Dense group labels int64 (N,), numbered by sorted group, and how many groups there are."""
        return self._groups

    @cached_property
    def _groups(self) -> tuple[np.ndarray, int]:
        distinct, labels = np.unique(self.group, return_inverse=True)
        return labels.astype(np.int64).reshape(-1), len(distinct)

    def text(self, row: int) -> str:
        """Completion of one rollout as text; messages (and the text parts in one) are joined by newlines.

        Raises:
            DataError: there is no text, or the completion is neither text nor messages.
        """
        if self.completion is None:
            raise DataError("these rollouts have tokens only; decode them with a tokenizer first")
        completion = self.completion[row]
        if isinstance(completion, str):
            return completion
        try:
            return "\n".join(_content(message.get("content")) for message in completion)
        except (AttributeError, TypeError):
            kind = type(completion).__name__
            raise DataError(f"row {row}: completion must be text or chat messages, got {kind}") from None

    # -- moving signals between levels ---------------------------------------------------------------

    def reduce(self, signal: Signal, to: str, how: str = "sum", skip_missing: bool = False) -> Signal:
        """Move a signal up to a coarser level: one value per coarser span.

        Args:
            signal: values at a finer level.
            to: the coarser level.
            how: "sum", "mean", "min", "max", "last", "first" or "prod". A span without parts has
                sum 0, prod 1 and is otherwise missing.
            skip_missing: leave NaN out. Default: a span with a missing part is missing.

        Raises:
            DataError: `to` is not coarser, the signal does not fit, or `how` is unknown.
        """
        self.check_signal(signal)
        return lv.reduce(self, signal, to, how, skip_missing)

    def spread(self, signal: Signal, to: str, how: str = "all") -> Signal:
        """Move a signal down to a finer level.

        Args:
            signal: values at a coarser level.
            to: the finer level.
            how: "all" copies the value to every part, "last" / "first" put it on one part and 0 on
                the others, "share" divides it equally among the parts.

        Raises:
            DataError: `to` is not finer, the signal does not fit, or `how` is unknown.
        """
        self.check_signal(signal)
        return lv.spread(self, signal, to, how)

    def check_signal(self, signal: Signal, name: str | None = None) -> None:
        """Raise DataError where a signal's length disagrees with the spans of its level."""
        if not isinstance(signal, Signal):
            raise DataError(f"signal {name!r} must be a Signal(values, level), not {type(signal).__name__}")
        expected = self.count(signal.level)
        if len(signal) != expected:
            raise DataError(
                f"signal {name or signal.name!r} has {len(signal)} values at level {signal.level!r}, "
                f"but these rollouts have {expected} such spans"
            )

    # -- new rollouts from old -------------------------------------------------------------------------

    def replace(self, **columns: Any) -> Rollouts:
        """Copy with some columns replaced; `partitions` and `signals` are merged into the old ones."""
        for name in ("partitions", "signals"):
            if name in columns:
                columns[name] = {**getattr(self, name), **columns[name]}
        return replace(self, **columns)

    def with_signal(self, signal: Signal) -> Rollouts:
        """Copy that carries `signal` under its name.

        Raises:
            DataError: it has no name.
        """
        if not signal.name:
            raise DataError("a signal is carried under its name, and this one has none; see Signal.renamed")
        return self.replace(signals={signal.name: signal})

    def select(self, rows: Sequence[int] | np.ndarray) -> Rollouts:
        """The given rollouts (indices or boolean mask), in that order; group signals keep their groups."""
        index = row_index(rows, len(self))
        new: dict[str, Any] = {"group": self.group[index], "truncated": self.truncated[index]}
        for name in ROW_COLUMNS:
            column = getattr(self, name)
            new[name] = None if column is None else [column[i] for i in index]
        at = {level: self._span_positions(level, index) for level in self.levels}
        if self.tokens is not None:
            tokens = Ragged.from_lengths(self.tokens.values[at["token"]], self.tokens.lengths[index])
            for name in TOKEN_COLUMNS:
                column = getattr(self, name)
                new[name] = None if column is None else tokens.with_values(column.values[at["token"]])
        new["partitions"] = {name: ends.select(index) for name, ends in self.partitions.items()}
        for name in STEP_COLUMNS:
            column = getattr(self, name)
            new[name] = None if column is None else column[at["step"]]
        new["signals"] = {name: s.with_values(s.values[at[s.level]]) for name, s in self.signals.items()}
        return Rollouts(**new)

    def _span_positions(self, level: str, rows: np.ndarray) -> np.ndarray:
        if level == "group":
            return np.unique(self.groups()[0][rows])
        offsets = self.offsets(level)
        return rows if level == "rollout" else Ragged(np.empty(offsets[-1], np.int8), offsets).positions(rows)

    @staticmethod
    def concat(parts: Sequence[Rollouts]) -> Rollouts:
        """All rollouts one after the other. Equal `group` values are the same group.

        Raises:
            DataError: a column, partition or signal present in some parts only (named).
        """
        return lv.concat(list(parts))

    def validate(self) -> Rollouts:
        """Check every column against every other (done on construction too); returns self."""
        checks.check_rollouts(self)
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rollouts):
            return NotImplemented
        return all(lv.same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        n_groups = self.groups()[1]
        counts = ", ".join(f"{self.count(level)} {level}s" for level in self.levels[:-2])
        carried = ", ".join(self.signals) or "none"
        return f"Rollouts({len(self)} in {n_groups} groups; {counts or 'text'}; signals: {carried})"


def _typed(column: Ragged, dtype: Any) -> Ragged:
    return Ragged(column.values.astype(dtype, copy=False), column.offsets)


def _content(content: Any) -> str:
    """Text of one message: a string, or a list of parts of which some hold text."""
    if isinstance(content, list):
        texts = (part if isinstance(part, str) else part.get("text") for part in content)
        return "\n".join(text for text in texts if text)
    return str(content or "")
