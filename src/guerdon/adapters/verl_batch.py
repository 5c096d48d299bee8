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
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from guerdon.adapters import verl_records
from guerdon.context import Context
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError, RecipeError
from guerdon.registry import nearest

_PADDING_UID = re.compile(r"pad[0-9a-f]{32}")  # verl's name for the prompt of rows that fill up a batch
TOKEN_COLUMNS = {
    "old_log_probs": "logprobs",
    "ref_log_prob": "ref_logprobs",
    "entropy": "entropy",
    "values": "values",
}


@dataclass(frozen=True)
class Settings:
    """`algorithm.guerdon` of verl's configuration.

    Attributes:
        credit: parameters of the credit method.
        dense: rewards stand on the last tokens of steps: each that is not 0 ends a step, and `process`, `prm`
            and `steps` hold them (`turn_reward` per turn). A step whose reward is exactly 0 is joined to the
            next one.
        steps: a splitter (`guerdon.data.spans.split`) that cuts turns into steps; needs token ids.
        state: "observation" takes what the environment wrote since the policy's last token (and what the
            policy has written of its turn) for the state before a step; "none" leaves states out.
    """

    credit: Mapping[str, Any] = field(default_factory=dict)
    dense: bool = False
    steps: Any = None
    state: str = "observation"

    def __post_init__(self) -> None:
        if self.state not in ("observation", "none"):
            raise RecipeError(
                f"algorithm.guerdon.state: got {self.state!r}, expected 'observation' or 'none'"
            )
        if not isinstance(self.credit, Mapping):
            raise RecipeError(f"algorithm.guerdon.credit: got {self.credit!r}, expected a mapping")

    @classmethod
    def of(cls, config: Any, defaults: Mapping[str, Any] | None = None) -> Settings:
        """Settings from verl's algorithm configuration, over `defaults`.

        Raises:
            RecipeError: an unknown field.
        """
        section = config.get("guerdon", None) if hasattr(config, "get") else None
        given = {**(defaults or {}), **plain_section(section, "algorithm.guerdon")}
        known = [each.name for each in fields(cls)]
        for key in given:
            if key not in known:
                raise RecipeError(f"algorithm.guerdon.{key}: unknown field{nearest(key, known)}")
        return cls(**given)


def plain_section(section: Any, where: str) -> dict[str, Any]:
    """A section of verl's configuration as plain dicts and lists.

    Raises:
        RecipeError: not a mapping.
    """
    if section is None:
        return {}
    if type(section).__module__.startswith("omegaconf"):
        from omegaconf import OmegaConf  # of verl

        section = OmegaConf.to_container(section, resolve=True)
    if not isinstance(section, Mapping):
        raise RecipeError(f"{where}: got {section!r}, expected a mapping")
    return dict(section)


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
    rows, session = _order(mask, index, columns)
    rewards, mask = rewards[rows], mask[rows]
    last = np.append(session[1:] != session[:-1], True)[: len(rows)]  # a session's final output
    if not last.all():
        rewards = _without_copied_scores(rewards, rows, last, columns)
    places = np.arange(1, mask.shape[1] + 1)
    lengths = ((mask | (rewards != 0)) * places).max(axis=1, initial=0)
    if columns.lengths is not None:
        lengths = np.maximum(lengths, columns.lengths[rows])
    per_rollout = np.bincount(session, lengths, minlength=int(last.sum())).astype(np.int64)

    def flat(padded: np.ndarray) -> Ragged:
        return Ragged.from_lengths(Ragged.from_padded(padded, lengths).values, per_rollout)

    whole = np.zeros(mask.shape, np.int32) if columns.responses is None else columns.responses[rows]
    rollouts = Rollouts(tokens=flat(whole), acted=flat(mask), group=_groups(index, rows)[last])
    rollouts = rollouts.replace(**{name: flat(column[rows]) for name, column in columns.tokenwise.items()})
    reward = Signal(flat(rewards).values, "token", "reward")
    records = None if columns.records is None else [columns.records[row] for row in rows]
    rollouts = verl_records.with_steps(rollouts, reward, records, session, settings, columns)
    signals = _signals(rollouts, reward, settings)
    if baselines is not None:
        signals["baseline"] = Signal(baselines[rows][last], "rollout", "baseline")
    if records is not None:
        final = [records[at] for at in np.flatnonzero(last)]
        signals = {**signals, **verl_records.signals_of(final, rollouts, kept=("outcome", "reward"))}
    return Batch(rollouts.replace(signals=signals), columns.ctx, rows, lengths)


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
    out[batch.rows] = Ragged.from_lengths(advantage.values, batch.lengths).to_padded(0.0, shape[1])
    return out


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
