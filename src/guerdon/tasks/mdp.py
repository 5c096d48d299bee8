"""Worlds as tables: every state and action of a problem numbered, exact values by dynamic programming.

Enters: a world and a problem, or plain arrays. Leaves: `MDP`, with optimal and on-policy values and exact
success rates, against which advantages and sampled results can be compared.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from guerdon.errors import DataError

if TYPE_CHECKING:
    from guerdon.tasks.base import Problem
    from guerdon.tasks.worlds import World


@dataclass(frozen=True, eq=False)
class MDP:
    """A deterministic episodic decision process of S states and A actions.

    Attributes:
        next: int64 (S, A), state after each action.
        reward: float64 (S, A).
        done: bool (S, A), the action ends the episode.
        success: bool (S, A), it ends it well. Default: where it ends with a positive reward.
        call_ok: int64 (S, A), 1 carried out, 0 nothing was called, -1 error. Default: 1.
        grounded: bool (S, A), the action could be carried out. Default: `call_ok` >= 0.
        useful: float64 (S, A), 1 where the step brings a missing part of the gold plan, NaN: unknown.
        keys: int64 (S,), key of every state. Default: its number.
        actions: texts of the actions. Default: their numbers.
        calls: per state and action, the calls made. Default: none.
        notes: per state and action, entries for the rollout's meta. Default: none.
        start: the first state.
        horizon: actions before an episode is truncated.
        prompt, reference, meta: of the problem.

    Raises:
        DataError: tables whose shapes disagree, or a state outside 0..S-1.
    """

    next: np.ndarray
    reward: np.ndarray
    done: np.ndarray
    success: np.ndarray = None  # type: ignore[assignment]
    call_ok: np.ndarray = None  # type: ignore[assignment]
    grounded: np.ndarray = None  # type: ignore[assignment]
    useful: np.ndarray = None  # type: ignore[assignment]
    keys: np.ndarray = None  # type: ignore[assignment]
    actions: Sequence[str] = ()
    calls: dict[tuple[int, int], Any] = field(default_factory=dict)
    notes: dict[tuple[int, int], Any] = field(default_factory=dict)
    start: int = 0
    horizon: int = 20
    prompt: str = ""
    reference: Any = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        put("next", np.asarray(self.next, dtype=np.int64))
        if self.next.ndim != 2 or self.next.size == 0:
            raise DataError(f"an MDP needs a table next (S, A) with entries, got shape {self.next.shape}")
        put("reward", np.asarray(self.reward, dtype=np.float64))
        put("done", np.asarray(self.done, dtype=bool))
        put("success", self.done & (self.reward > 0) if self.success is None else np.asarray(self.success))
        put("call_ok", np.ones_like(self.next) if self.call_ok is None else np.asarray(self.call_ok))
        put("grounded", self.call_ok >= 0 if self.grounded is None else np.asarray(self.grounded))
        unknown = np.full(self.next.shape, np.nan)
        put("useful", unknown if self.useful is None else np.asarray(self.useful, dtype=np.float64))
        put("keys", np.arange(self.n_states) if self.keys is None else np.asarray(self.keys, np.int64))
        put("actions", tuple(self.actions) or tuple(map(str, range(self.n_actions))))
        for name in ("reward", "done", "success", "call_ok", "grounded", "useful"):
            if getattr(self, name).shape != self.next.shape:
                raise DataError(f"{name} has shape {getattr(self, name).shape}, next has {self.next.shape}")
        if self.keys.shape != (self.n_states,) or len(self.actions) != self.n_actions:
            raise DataError(
                f"{len(self.keys)} keys and {len(self.actions)} action texts do not fit {self.next.shape}"
            )
        if self.next.min() < 0 or self.next.max() >= self.n_states or not 0 <= self.start < self.n_states:
            raise DataError(f"next and start must name states 0..{self.n_states - 1}")
        if self.horizon < 1:
            raise DataError(f"horizon must be at least 1, got {self.horizon}")

    @property
    def n_states(self) -> int:
        return self.next.shape[0]

    @property
    def n_actions(self) -> int:
        return self.next.shape[1]

    # -- exact values --------------------------------------------------------------------------------

    def optimal(self, gamma: float = 0.95, tolerance: float = 1e-12) -> tuple[np.ndarray, np.ndarray]:
        """Optimal values by value iteration.

        Q(s, a) = r(s, a) + gamma * (1 - done(s, a)) * max_b Q(s', b)

        Returns:
            V float64 (S,), Q float64 (S, A).
        """
        value = np.zeros(self.n_states)
        for _ in range(_sweeps(gamma, self.n_states)):
            q = self._backed_up(value, gamma)
            after = q.max(axis=1)
            if np.abs(after - value).max() <= tolerance:
                break
            value = after
        q = self._backed_up(value, gamma)
        return q.max(axis=1), q

    def evaluate(self, policy: np.ndarray, gamma: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Values of a policy without a step limit, by solving V = sum_a pi (r + gamma (1 - done) V').

        Args:
            policy: (S, A), rows sum to 1.
            gamma: below 1, unless the policy ends every episode for certain.

        Returns:
            V float64 (S,), Q float64 (S, A).

        Raises:
            DataError: no unique solution: gamma is 1 and some episodes never end.
        """
        going = np.where(self.done, 0.0, policy) * gamma
        flow = np.zeros((self.n_states, self.n_states))
        np.add.at(
            flow, (np.repeat(np.arange(self.n_states), self.n_actions), self.next.ravel()), going.ravel()
        )
        try:
            value = np.linalg.solve(np.eye(self.n_states) - flow, (policy * self.reward).sum(axis=1))
        except np.linalg.LinAlgError as error:
            raise DataError(f"gamma={gamma}: this policy has episodes that never end") from error
        return value, self._backed_up(value, gamma)

    def evaluate_within(
        self, policy: np.ndarray, gamma: float = 1.0, horizon: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values of a policy with a step limit: V_H = 0, V_t = sum_a pi (r + gamma (1 - done) V_{t+1}').

        Returns:
            V float64 (H, S), Q float64 (H, S, A): by number of steps taken already.
        """
        steps = self.horizon if horizon is None else horizon
        value, q = np.zeros((steps + 1, self.n_states)), np.zeros((steps, *self.next.shape))
        for t in range(steps - 1, -1, -1):
            q[t] = self._backed_up(value[t + 1], gamma)
            value[t] = (policy * q[t]).sum(axis=1)
        return value[:-1], q

    def success_rate(self, policy: np.ndarray, horizon: int | None = None) -> float:
        """Exact chance that an episode from `start` succeeds within the horizon."""
        return float(self.success_after(policy, horizon)[-1, self.start])

    def success_after(self, policy: np.ndarray, horizon: int | None = None) -> np.ndarray:
        """Exact chance of success from every state with 0, 1, ..., H actions left, float64 (H + 1, S)."""
        steps = self.horizon if horizon is None else horizon
        value = np.zeros((steps + 1, self.n_states))
        for t in range(steps):
            ahead = self.success + np.where(self.done, 0.0, value[t][self.next])
            value[t + 1] = (policy * ahead).sum(axis=1)
        return value

    def _backed_up(self, value: np.ndarray, gamma: float) -> np.ndarray:
        return self.reward + gamma * np.where(self.done, 0.0, value[self.next])


def _sweeps(gamma: float, states: int) -> int:
    """Enough sweeps: a deterministic process reaches everything within S steps; discounts need more."""
    return (
        states + 1 if gamma >= 1 else max(states + 1, int(np.ceil(np.log(1e-14) / np.log(max(gamma, 1e-3)))))
    )


def tabulate(world: World, problem: Problem, limit: int = 100_000) -> MDP:
    """Every state of a problem that `world.actions` can reach, numbered from the start (number 0).

    A state in which an episode ends is a row of its own; actions there change nothing.

    Raises:
        DataError: more than `limit` states.
    """
    actions = world.actions(problem.meta)
    states: list[Hashable] = [world.start(problem.meta)]
    number = {states[0]: 0}
    rows: list[list[Any]] = []
    ended: set[int] = set()
    for at, state in enumerate(states):  # grows while we walk
        if at in ended:
            rows.append([])
            continue
        replies = [world.act(state, action) for action in actions]
        for reply in replies:
            if reply.state not in number:
                number[reply.state] = len(states)
                states.append(reply.state)
                if len(states) > limit:
                    raise DataError(
                        f"world {world.name!r}: this problem has more than {limit} states; make it smaller"
                    )
            if reply.done:
                ended.add(number[reply.state])
        rows.append(replies)
    return _tables(world, problem, actions, states, number, rows)


def _tables(
    world: World,
    problem: Problem,
    actions: tuple[str, ...],
    states: list[Any],
    number: dict[Hashable, int],
    rows: list[list[Any]],
) -> MDP:
    shape = len(states), len(actions)
    following = np.repeat(np.arange(shape[0])[:, None], shape[1], axis=1)
    reward, useful = np.zeros(shape), np.full(shape, np.nan)
    done, success, grounded = np.ones(shape, bool), np.zeros(shape, bool), np.zeros(shape, bool)
    call_ok = np.zeros(shape, np.int64)
    calls, notes = {}, {}
    for s, replies in enumerate(rows):
        for a, reply in enumerate(replies):
            following[s, a], reward[s, a] = number[reply.state], reply.reward
            done[s, a], success[s, a] = reply.done, reply.success
            call_ok[s, a], grounded[s, a] = reply.call_ok, reply.grounded
            useful[s, a] = np.nan if reply.useful is None else reply.useful
            if reply.calls:
                calls[s, a] = [dict(call) for call in reply.calls]
            if reply.notes:
                notes[s, a] = dict(reply.notes)
    return MDP(
        next=following,
        reward=reward,
        done=done,
        success=success,
        call_ok=call_ok,
        grounded=grounded,
        useful=useful,
        keys=np.array([world.state_key(state) for state in states], dtype=np.int64),
        actions=actions,
        calls=calls,
        notes=notes,
        horizon=world.max_turns,
        prompt=problem.prompt,
        reference=problem.reference,
        meta=problem.meta,
    )
