"""verl's padded batch as Rollouts and advantages back as a padded array.

Enters: rewards, mask and prompt of each row, as every estimator gets them, and `Columns`: what else of the
batch is at hand. Leaves: `Batch`, rollouts with signals that know their way back into verl's rows. Several
rows of one session (an agent loop with several outputs) are one rollout; rows that only pad the batch are
none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guerdon.adapters import verl_records
from guerdon.adapters.verl_settings import Settings
from guerdon.context import Context
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError

_PADDING_UID = re.compile(r"pad[0-9a-f]{32}")  # verl's name for the prompt of rows that fill up a batch
TOKEN_COLUMNS = {
    "old_log_probs": "logprobs",
    "ref_log_prob": "ref_logprobs",
    "entropy": "entropy",
    "values": "values",
}


@dataclass(frozen=True)
class Columns:
    """What verl's batch holds besides an estimator's arguments; B rows, None where it is not there.

    Attributes:
        responses: int (B, T), token ids.
        scores: float (B, T), rewards before a KL penalty.
        tokenwise: guerdon's column -> float (B, T): `logprobs`, `ref_logprobs`, `entropy`, `values`.
        records: per row what a reward manager or an agent loop left in `guerdon`, see `verl_records`.
        sessions: per row the session it is an output of, and its place among them.
        lengths: int64 (B,), tokens of each response.
        padding: bool (B,), rows that only fill up the batch.
        tokenizer: for splitters.
        ctx: the moment of training.
    """

    responses: np.ndarray | None = None
    scores: np.ndarray | None = None
    tokenwise: Mapping[str, np.ndarray] = field(default_factory=dict)
    records: Sequence[Mapping[str, Any]] | None = None
    sessions: Sequence[tuple[str, int]] | None = None
    lengths: np.ndarray | None = None
    padding: np.ndarray | None = None
    tokenizer: Any = None
    ctx: Context | None = None


_AROUND: ContextVar[Columns | None] = ContextVar("guerdon_verl_columns", default=None)


@contextmanager
def around(columns: Columns | None) -> Iterator[None]:
    """Inside, every guerdon estimator sees these columns of the batch it is called on."""
    token = _AROUND.set(columns)
    try:
        yield
    finally:
        _AROUND.reset(token)


def around_now() -> Columns:
    """The columns at hand; none outside `around`."""
    return _AROUND.get() or Columns()


def columns_of(batch: Any, others: Mapping[str, Any], tokenizer: Any = None, **more: Any) -> Columns:
    """Columns of a padded TensorDict and of verl's non-tensor columns.

    Args:
        batch: tensors (B, T) by name.
        others: object arrays (B,) by name; `guerdon` or `extra_fields` may hold records.
        tokenizer, more: see `Columns`.
    """

    def array(name: str) -> np.ndarray | None:
        return batch[name].detach().cpu().numpy() if name in batch else None

    def floats(name: str) -> np.ndarray | None:
        return batch[name].detach().double().cpu().numpy() if name in batch else None

    found = {ours: floats(theirs) for theirs, ours in TOKEN_COLUMNS.items()}
    responses, attention = array("responses"), array("attention_mask")
    if responses is not None and attention is not None:
        more.setdefault("lengths", attention[:, -responses.shape[1] :].sum(axis=1).astype(np.int64))
    return Columns(
        responses=responses,
        scores=floats("rm_scores"),
        tokenwise={name: values for name, values in found.items() if values is not None},
        records=verl_records.read(others),
        tokenizer=tokenizer,
        **more,
    )


@dataclass(frozen=True)
class Batch:
    """Rollouts of a batch and their way back.

    Attributes:
        rollouts: with signals.
        ctx: the moment of training, where known.
        rows: verl's rows in the order in which their tokens stand in the rollouts.
        lengths: int64 (len(rows),), how many tokens each of them has.
    """

    rollouts: Rollouts
    ctx: Context | None
    rows: np.ndarray
    lengths: np.ndarray


def rollouts_of(
    rewards: np.ndarray,
    mask: np.ndarray,
    index: Any,
    columns: Columns | None = None,
    settings: Settings | None = None,
    baselines: np.ndarray | None = None,
) -> Batch:
    """Rollouts with signals from verl's arrays.

    Args:
        rewards: float64 (B, T), `token_level_rewards`; NaN where there is no verdict.
        mask: bool (B, T), `response_mask`: True on the policy's tokens. A row ends at its last such token or
            at its last reward, whichever is later, where `columns` do not know its length.
        index: (B,), equal for rows of one prompt; None: every row its own group.
        columns: what else is at hand.
        settings: how to read them.
        baselines: float64 (B,), `reward_baselines`.

    Raises:
        DataError: arrays that do not fit each other, or records that do not fit the tokens.
    """
    columns, settings = columns or Columns(), settings or Settings()
    _check_shapes(rewards, mask, index, columns)
    layout, rewards = _lay_out(rewards, mask, index, columns)
    rows, last = layout.rows, layout.last
    acted = layout.flat(mask)
    empty = acted.with_values(np.zeros(acted.total, np.int32))
    tokens = empty if columns.responses is None else layout.flat(columns.responses)
    rollouts = Rollouts(tokens=tokens, acted=acted, group=_groups(index, rows)[last])
    rollouts = rollouts.replace(**{name: layout.flat(each) for name, each in columns.tokenwise.items()})
    reward = Signal(Ragged.from_lengths(rewards[layout.inside], layout.per_rollout).values, "token", "reward")
    records = None if columns.records is None else [columns.records[row] for row in rows]
    rollouts = verl_records.with_steps(rollouts, reward, records, layout.session, settings, columns)
    signals = _signals(rollouts, reward, settings)
    if baselines is not None:
        signals["baseline"] = Signal(baselines[rows][last], "rollout", "baseline")
    if records is not None:
        final = [records[at] for at in np.flatnonzero(last)]
        signals = {**signals, **verl_records.signals_of(final, rollouts, kept=("outcome", "reward"))}
    return Batch(rollouts.replace(signals=signals), columns.ctx, rows, layout.lengths)


@dataclass(frozen=True)
class _Layout:
    """Which of verl's cells are tokens, in which order.

    Attributes:
        rows: verl's rows that count, the outputs of a session side by side.
        session: int64, rollout of each of them.
        last: bool, whether it is the final output of its session.
        lengths: int64, its tokens.
        inside: bool (len(rows), T), its cells that are tokens.
        per_rollout: int64, tokens of every rollout.
        in_place: whether `rows` are all of verl's rows in their order.
    """

    rows: np.ndarray
    session: np.ndarray
    last: np.ndarray
    lengths: np.ndarray
    inside: np.ndarray
    per_rollout: np.ndarray
    in_place: bool

    def flat(self, padded: np.ndarray) -> Ragged:
        """A padded array of verl's as a token column."""
        ordered = padded if self.in_place else padded[self.rows]
        return Ragged.from_lengths(ordered[self.inside], self.per_rollout)


def _lay_out(
    rewards: np.ndarray, mask: np.ndarray, index: Any, columns: Columns
) -> tuple[_Layout, np.ndarray]:
    """The layout, and the rewards of its rows."""
    rows, session = _order(mask, index, columns)
    in_place = np.array_equal(rows, np.arange(len(mask)))
    own, chosen = (rewards, mask) if in_place else (rewards[rows], mask[rows])
    last = np.append(session[1:] != session[:-1], True)[: len(rows)]
    if not last.all():
        own = _without_copied_scores(own, rows, last, columns)
    lengths = _last_used(chosen | (own != 0))
    if columns.lengths is not None:
        lengths = np.maximum(lengths, columns.lengths[rows])
    inside = np.arange(mask.shape[1]) < lengths[:, None]
    per_rollout = np.bincount(session, lengths, minlength=int(last.sum())).astype(np.int64)
    return _Layout(rows, session, last, lengths, inside, per_rollout, in_place), own


def token_values(batch: Batch, advantage: Signal, shape: tuple[int, int], name: str) -> np.ndarray:
    """Advantages per token as verl's rows, float64 (B, T), 0 outside.

    Raises:
        DataError: values that are not one finite number per token.
    """
    if advantage.level != "token":
        raise DataError(f"{name} gave values per {advantage.level}, expected one per token")
    if not np.isfinite(advantage.values).all():
        row = int(batch.rows[np.searchsorted(np.cumsum(batch.lengths), _first_bad(advantage), "right")])
        raise DataError(f"{name}: the advantage of row {row} is not a finite number")
    out = np.zeros(shape)
    if np.all(batch.rows[1:] > batch.rows[:-1]):
        lengths = np.zeros(shape[0], np.int64)
        lengths[batch.rows] = batch.lengths
        out[np.arange(shape[1]) < lengths[:, None]] = advantage.values
    else:
        out[batch.rows] = Ragged.from_lengths(advantage.values, batch.lengths).to_padded(0.0, shape[1])
    return out


def _last_used(used: np.ndarray) -> np.ndarray:
    """Place behind the last True of every row, 0 where there is none; int64 (B,)."""
    if not used.shape[1]:
        return np.zeros(len(used), np.int64)
    behind = used.shape[1] - np.argmax(used[:, ::-1], axis=1)
    return np.where(used[np.arange(len(used)), behind - 1], behind, 0).astype(np.int64)


def _first_bad(advantage: Signal) -> int:
    return int(np.flatnonzero(~np.isfinite(advantage.values))[0])


def _check_shapes(rewards: np.ndarray, mask: np.ndarray, index: Any, columns: Columns) -> None:
    if rewards.shape != mask.shape or rewards.ndim != 2:
        raise DataError(
            f"expected rewards and mask of one shape (B, T), got {rewards.shape} and {mask.shape}"
        )
    if index is not None and len(index) != len(mask):
        raise DataError(f"expected {len(mask)} prompts, one per row, got {len(index)}")
    padded = {"responses": columns.responses, "rm_scores": columns.scores, **columns.tokenwise}
    for name, values in padded.items():
        if values is not None and values.shape != mask.shape:
            raise DataError(f"column {name!r} has the shape {values.shape}, expected {mask.shape}")
    for name, entries in {"records": columns.records, "sessions": columns.sessions}.items():
        if entries is not None and len(entries) != len(mask):
            raise DataError(f"{name}: expected {len(mask)} entries, one per row, got {len(entries)}")


def _order(mask: np.ndarray, index: Any, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Rows that count, those of one session side by side, and the dense session of each."""
    if columns.padding is not None:
        keep = ~columns.padding
    else:
        named = [bool(_PADDING_UID.fullmatch(str(uid))) for uid in (() if index is None else index)]
        keep = mask.any(axis=1) | ~np.array(named or [False] * len(mask), bool)
    rows = np.flatnonzero(keep)
    if columns.sessions is None:
        return rows, np.arange(len(rows))
    first: dict[str, int] = {}
    outputs = [columns.sessions[row] for row in rows.tolist()]
    label = np.array([first.setdefault(session, len(first)) for session, _ in outputs], np.int64)
    place = np.array([place for _, place in outputs], np.int64)
    order = np.lexsort((place, label))
    return rows[order], label[order]


def _without_copied_scores(
    rewards: np.ndarray, rows: np.ndarray, last: np.ndarray, columns: Columns
) -> np.ndarray:
    """verl copies a session's score to each of its outputs; it is kept on the last one."""
    if columns.scores is None:
        raise DataError("a session has several outputs, and `rm_scores`, which verl copied, is not at hand")
    copied = np.where(last[:, None], 0.0, columns.scores[rows])
    return np.where(copied == 0, rewards, np.where(np.isnan(copied), 0.0, rewards - copied))


def _groups(index: Any, rows: np.ndarray) -> np.ndarray:
    if index is None:
        return rows.astype(np.int64)
    labels = np.unique(np.asarray(index).astype(str), return_inverse=True)[1]
    return labels.reshape(-1).astype(np.int64)[rows]


def _signals(rollouts: Rollouts, reward: Signal, settings: Settings) -> dict[str, Signal]:
    found = {"reward": reward}
    found["outcome"] = rollouts.reduce(reward, "rollout").renamed("outcome")
    if settings.dense and "turn" in rollouts.partitions:
        found["turn_reward"] = rollouts.reduce(reward, "turn").renamed("turn_reward")
    for name in ("env", "process", "prm", "steps") if settings.dense else ("env",):
        found[name] = rollouts.reduce(reward, "step").renamed(name)
    return found
