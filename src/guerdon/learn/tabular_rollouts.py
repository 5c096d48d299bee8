"""Episodes of a table as Rollouts: what a sampler records, in the columns credit methods read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal

if TYPE_CHECKING:
    from guerdon.learn.tabular import TabularPolicy


@dataclass
class Walks:
    """N episodes as padded tables of T columns.

    Attributes:
        problem: int64 (N,), the process of each.
        states, actions: int64 (N, T), before and at every step; rows of theta and its columns.
        lengths: int64 (N,). truncated: bool (N,). last: int64 (N,), the state after the last action.
    """

    problem: np.ndarray
    states: np.ndarray
    actions: np.ndarray
    lengths: np.ndarray
    truncated: np.ndarray
    last: np.ndarray

    @classmethod
    def empty(cls, problem: np.ndarray, width: int) -> Walks:
        n = len(problem)
        tables = np.zeros((n, width), np.int64), np.zeros((n, width), np.int64)
        return cls(problem, *tables, np.zeros(n, np.int64), np.zeros(n, bool), np.zeros(n, np.int64))

    @property
    def width(self) -> int:
        return self.states.shape[1]

    def select(self, rows: np.ndarray) -> Walks:
        """Some episodes, in the given order."""
        return Walks(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def joined(self, other: Walks) -> Walks:
        """These episodes, then the others."""
        width = max(self.width, other.width)
        pairs = (
            (_widened(getattr(self, name), width), _widened(getattr(other, name), width))
            for name in self.__dataclass_fields__
        )
        return Walks(*map(np.concatenate, pairs))


def _widened(column: np.ndarray, width: int) -> np.ndarray:
    return np.pad(column, ((0, 0), (0, width - column.shape[1]))) if column.ndim == 2 else column


def rollouts_of(policy: TabularPolicy, walks: Walks) -> Rollouts:
    """The episodes as Rollouts; see `TabularPolicy.sample`."""
    mdps, lengths = policy.mdps, walks.lengths
    states = Ragged.from_padded(walks.states, lengths)
    actions = Ragged.from_padded(walks.actions, lengths)
    log_p = policy.log_probabilities()
    every = _stacked(policy)
    here = states.values, actions.values
    ends = actions.with_values(
        np.concatenate([np.arange(1, n + 1) for n in lengths]) if len(lengths) else here[0]
    )
    final = actions.offsets[1:] - 1
    known = {name: not np.isnan(every[name]).all() for name in _STEP_SIGNALS}
    success = every["success"][here][final]
    texts = _texts(policy, walks, actions)
    return Rollouts(
        group=walks.problem,
        prompt=[mdps[i].prompt for i in walks.problem],
        completion=["\n".join(row) for row in texts],
        reference=[mdps[i].reference for i in walks.problem],
        meta=_metas(policy, walks, actions, states, texts, success),
        truncated=walks.truncated,
        tokens=actions,
        logprobs=actions.with_values(log_p[here]),
        entropy=actions.with_values(policy.entropies()[here[0]]),
        partitions={"step": ends, "turn": ends},
        state=every["keys"][here[0]],
        signals={
            "outcome": Signal(success, "rollout", "outcome"),
            **{name: Signal(every[name][here], "step", name) for name in _STEP_SIGNALS if known[name]},
        },
    )


_STEP_SIGNALS = ("env", "call_ok", "grounded", "useful")


def _stacked(policy: TabularPolicy) -> dict[str, np.ndarray]:
    """The tables of all processes, one below the other, padded to theta's width."""
    out = {name: np.zeros(policy.theta.shape) for name in (*_STEP_SIGNALS, "success")}
    for at, mdp in enumerate(policy.mdps):
        rows = slice(policy.first[at], policy.first[at + 1])
        for name, table in out.items():
            table[rows, : mdp.n_actions] = getattr(mdp, "reward" if name == "env" else name)
    return out | {"keys": np.concatenate([mdp.keys for mdp in policy.mdps])}


def _texts(policy: TabularPolicy, walks: Walks, actions: Ragged) -> list[list[str]]:
    names = [np.array(mdp.actions, dtype=object) for mdp in policy.mdps]
    return [names[i][row].tolist() for i, row in zip(walks.problem.tolist(), _rows(actions), strict=True)]


def _rows(ragged: Ragged) -> list[np.ndarray]:
    return np.split(ragged.values, ragged.offsets[1:-1]) if len(ragged) else []


def _metas(
    policy: TabularPolicy,
    walks: Walks,
    actions: Ragged,
    states: Ragged,
    texts: list[list[str]],
    success: np.ndarray,
) -> list[dict[str, Any]]:
    keys = np.concatenate([mdp.keys for mdp in policy.mdps])
    out = []
    visited = zip(_rows(states), _rows(actions), strict=True)
    for row, (problem, (s, a)) in enumerate(zip(walks.problem.tolist(), visited, strict=True)):
        mdp = policy.mdps[problem]
        meta = {
            **mdp.meta,
            "actions": texts[row],
            "final_state": int(keys[walks.last[row]]),
            "success": bool(success[row]),
        }
        if mdp.calls or mdp.notes:
            steps = list(zip((s - policy.first[problem]).tolist(), a.tolist(), strict=True))
            meta["calls"] = [mdp.calls.get(step, []) for step in steps]
            for step in steps:
                meta |= mdp.notes.get(step, {})
        out.append(meta)
    return out
