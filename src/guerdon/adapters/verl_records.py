"""What rides along with a row of verl's batch under the name `guerdon`: steps, states, step scores.

A record is a JSON object, or its text, with the fields of guerdon's own records: `steps` (end offsets in
tokens of the response), `state` (one value per step or turn: what the agent saw before it) and `signals`
(name -> level and values). The reward manager writes one; an agent loop may put one into `extra_fields`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from guerdon.data import spans
from guerdon.data.keys import stable_key, state_keys
from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.errors import DataError

if TYPE_CHECKING:
    from guerdon.adapters.verl_batch import Columns, Settings

KEY = "guerdon"


def read(others: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Records of every row from verl's non-tensor columns; None where there are none.

    Those of an agent loop (`extra_fields`) and of the reward manager (`extra_fields.reward_extra_info`, or a
    column of its own) are joined.

    Raises:
        DataError: a record that is no JSON object (row named).
    """
    columns: list[Sequence[Any]] = []
    if others.get("extra_fields") is not None:
        extra = [entry if isinstance(entry, Mapping) else {} for entry in others["extra_fields"]]
        columns.append([entry.get(KEY) for entry in extra])
        columns.append([(entry.get("reward_extra_info") or {}).get(KEY) for entry in extra])
    if others.get(KEY) is not None:
        columns.append(list(others[KEY]))
    found = [_joined(row, entries) for row, entries in enumerate(zip(*columns, strict=True))]
    return found if any(found) else None


def _joined(row: int, entries: Sequence[Any]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for entry in entries:
        if entry is None or entry == "":
            continue
        try:
            one = json.loads(entry) if isinstance(entry, str) else dict(entry)
            signals = {**record.get("signals", {}), **one.get("signals", {})}
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"row {row}: `{KEY}` must hold a JSON object: {error}") from error
        record = {**record, **one} | ({"signals": signals} if signals else {})
    return record


def with_steps(
    rollouts: Rollouts,
    reward: Signal,
    records: Sequence[Mapping[str, Any]] | None,
    session: np.ndarray,
    settings: Settings,
    columns: Columns,
) -> Rollouts:
    """The rollouts with turns, steps and states.

    Steps are those of the records, else those of the splitter, else turns; with `dense`, rewards cut as well.
    A reward cuts text into steps without knowing who wrote it: where such a step goes on after the end of a
    turn, the rollouts have no turns.

    Args:
        rollouts: without partitions.
        reward: per token.
        records: one per row of verl's, in the order of the rollouts' tokens.
        session: int64, rollout of each row.
        settings, columns: see `verl_batch`.

    Raises:
        DataError: step ends that do not fit the tokens, or a splitter without token ids.
    """
    turns = spans.acted_turns(rollouts)
    told = None if records is None else [record.get("steps") for record in records]
    if told is not None and any(ends is not None for ends in told):
        if len(told) != len(rollouts):
            raise DataError("a session has several outputs: records with `steps` cannot be laid over them")
        steps = _told_steps(told, turns, rollouts.lengths)
        nested = all(np.isin(turns[row], steps[row]).all() for row in range(len(rollouts)))
        cut = {"step": steps, "turn": turns} if nested else {"step": steps}
        return _with_states(rollouts.replace(partitions=cut), turns, records, session, settings, columns)
    rollouts = rollouts.replace(partitions={"step": turns, "turn": turns})
    if settings.steps is not None and settings.steps != "acted":
        if columns.responses is None or columns.tokenizer is None:
            raise DataError(
                "algorithm.guerdon.steps cuts text, and verl's own trainer hands over no token ids: set "
                "trainer.v1.trainer_mode=guerdon_sync"
            )
        rollouts = spans.split(rollouts, settings.steps, tokenizer=columns.tokenizer)
    if settings.dense:
        rollouts = rollouts.replace(partitions={"step": _cut_at_rewards(rollouts, reward)})
    return _with_states(rollouts, turns, records, session, settings, columns)


def _told_steps(told: Sequence[Any], turns: Ragged, lengths: np.ndarray) -> Ragged:
    """Ends as records tell them; the steps of a row without are its turns."""
    rows = []
    for row, ends in enumerate(told):
        own = turns[row] if ends is None else np.asarray(ends, np.int64)
        rising = not np.any(np.diff(own, prepend=0) <= 0)
        if not rising or (own[-1] if len(own) else 0) != lengths[row]:
            raise DataError(
                f"row {row}: step ends must rise and end at the row's {lengths[row]} tokens, got "
                f"{own[:12].tolist()}"
            )
        rows.append(own)
    return Ragged.from_lists(rows, np.int64)


def _cut_at_rewards(rollouts: Rollouts, reward: Signal) -> Ragged:
    """Step ends where steps end already and after every reward that is not 0."""
    assert rollouts.tokens is not None
    tokens, step = rollouts.tokens, rollouts.partitions["step"]
    at = reward.values != 0
    at[step.values + np.repeat(tokens.offsets[:-1], step.lengths) - 1] = True
    ends = np.flatnonzero(at)
    row = tokens.row_ids()[ends]
    return Ragged.from_lengths(
        ends + 1 - tokens.offsets[row], np.bincount(row, minlength=len(rollouts)).astype(np.int64)
    )


def _with_states(
    rollouts: Rollouts,
    turns: Ragged,
    records: Sequence[Mapping[str, Any]] | None,
    session: np.ndarray,
    settings: Settings,
    columns: Columns,
) -> Rollouts:
    told = None if records is None else [record.get("state") for record in records]
    if told is not None and any(states is not None for states in told):
        return rollouts.replace(state=_told_states(told, rollouts, turns, session))
    if settings.state == "none" or columns.responses is None:
        return rollouts
    return rollouts.replace(state=_observed_states(rollouts, turns))


def _told_states(told: Sequence[Any], rollouts: Rollouts, turns: Ragged, session: np.ndarray) -> np.ndarray:
    """Keys of the states that records tell, one per step, or one per turn for all of its steps."""
    values: list[list[Any]] = [[] for _ in range(len(rollouts))]
    for row, states in zip(session.tolist(), told, strict=True):
        values[row] += list(states or [])
    steps = rollouts.partitions["step"]
    out: list[Any] = []
    for row, states in enumerate(values):
        if len(states) == len(steps[row]):
            out += states
        elif len(states) == len(turns[row]):
            out += [states[turn] for turn in np.searchsorted(turns[row], steps[row])]  # both are ends
        else:
            raise DataError(
                f"row {row}: `state` has {len(states)} entries, expected one for each of {len(steps[row])} "
                f"steps or {len(turns[row])} turns"
            )
    return state_keys(out)


def _observed_states(rollouts: Rollouts, turns: Ragged) -> np.ndarray:
    """Key of the tokens between the policy's last token of an earlier turn and the step."""
    assert rollouts.tokens is not None and rollouts.acted is not None
    keys = []
    for row in range(len(rollouts)):
        tokens, acted = rollouts.tokens[row], np.flatnonzero(rollouts.acted[row])
        ends, steps = turns[row], rollouts.partitions["step"][row]
        starts = np.concatenate([np.zeros(1, np.int64), steps[:-1]])[: len(steps)]
        for start, turn in zip(starts, np.searchsorted(ends, starts, side="right"), strict=True):
            opened = ends[turn - 1] if turn else 0
            before = acted[: np.searchsorted(acted, opened)]
            seen = tokens[(before[-1] + 1 if len(before) else 0) : start]
            keys.append(stable_key(np.ascontiguousarray(seen, "<i4").tobytes()))
    return np.array(keys, np.int64)


def signals_of(
    records: Sequence[Mapping[str, Any]], rollouts: Rollouts, kept: Sequence[str]
) -> dict[str, Signal]:
    """Signals that the records carry, one record per rollout; a row without one is missing there.

    Args:
        kept: names that verl's rewards give already, with what it took off them; left out.

    Raises:
        DataError: a signal that is malformed, at two levels, or does not fit its row.
    """
    carried = [record.get("signals") or {} for record in records]
    names = [name for name in dict.fromkeys(n for one in carried for n in one) if name not in kept]
    return {name: _signal(name, [one.get(name) for one in carried], rollouts) for name in names}


def _signal(name: str, entries: Sequence[Any], rollouts: Rollouts) -> Signal:
    level = next(entry["level"] for entry in entries if entry is not None)
    counts = np.diff(rollouts.offsets(level))
    parts = []
    for row, (entry, count) in enumerate(zip(entries, counts.tolist(), strict=True)):
        if entry is None:
            parts.append(np.full(count, np.nan))
            continue
        values = np.array([np.nan if v is None else v for v in entry["values"]], np.float64)
        if entry["level"] != level or len(values) != count:
            raise DataError(
                f"row {row}: the signal {name!r} has {len(values)} values per {entry['level']}, expected "
                f"{count} per {level}"
            )
        parts.append(values)
    return Signal(np.concatenate(parts) if parts else np.empty(0), level, name)
